"""Read audio files."""
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import soundfile

from .declared_lengths import FileWithLengths, check_length
from .resampling import SAMPLE_RATE, resample, resampled_section

# A float file whose samples exceed this was never scaled to [-1, 1].
MAX_PEAK = 8.0
# Samples that are decoded at a time, of all channels together.
BLOCK = 2**20
# Rates and channels of real audio, up to ambisonics of the seventh order; a damaged header may ask for terabytes.
MIN_RATE, MAX_RATE, MAX_CHANNELS = 1000, 384000, 64
# The longest file, of which sections are read, and the most samples of a channel that are read at once (1 GiB).
MAX_SECONDS, MAX_SAMPLES = 24 * 3600, 2**28
# Suffixes of libsndfile's formats that differ from the name of the format. None: files without a header, and
# containers of data other than audio.
_OTHER_SUFFIXES = dict(
    AIFF=('.aiff', '.aif', '.aifc'), AU=('.au', '.snd'), IRCAM=('.sf', '.ircam'), MP3=('.mp3', '.mp2'),
    MPC2K=('.snd', ), NIST=('.sph', '.nist'), OGG=('.ogg', '.oga', '.opus'), SVX=('.8svx', '.16sv', '.iff', '.svx'),
    WAVEX=(), MAT4=(), MAT5=(), RAW=(), SD2=())
#: Suffixes of the audio files that the installed libsndfile reads, in lower case: '.wav', '.flac', '.mp3', ...
AUDIO_SUFFIXES = tuple(
    dict.fromkeys(suffix for name in ('WAV', 'FLAC', 'OGG', 'MP3', *sorted(soundfile.available_formats()))
                  if name in soundfile.available_formats()
                  for suffix in _OTHER_SUFFIXES.get(name, (f'.{name.lower()}', ))))


def read_waveform(path: str | Path, rate: int = SAMPLE_RATE, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Read an audio file, or a section of it, as one channel at the given rate.

    Integer samples are divided by their full scale (int16 / 32768), float samples beyond [-1, 1] are clipped, channels
    are averaged, then the waveform is resampled (:func:`resample`). A section equals that of the whole waveform, but
    only the samples that it depends on are decoded (formats that cannot seek: and those before them).

    Args:
        path: A file of any format that libsndfile reads (wav, flac, ogg, mp3, ...), any rate, any number of channels.
        rate: Samples per second of the result.
        start: First sample of the result.
        stop: End of the result in samples, exclusive, possibly beyond the end of the file; None: the end of the file.

    Returns:
        Waveform of shape (L,), float32 in [-1, 1], except for the overshoot of resampling.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file cannot be decoded, is truncated, holds no sample, holds NaN, infinite or unscaled samples,
            or has a rate, channels or a length beyond ``MIN_RATE``, ``MAX_RATE``, ``MAX_CHANNELS``, ``MAX_SECONDS``.
    """
    with _open_audio(path) as file:
        begin, end, keep = _section(file, path, rate, start, stop)
        samples = [_average(block) for block in _decode(file, path, begin, end)]
        return resample(_join(samples, ()), file.samplerate, rate)[keep]


def read_stereo_waveform(path: str | Path,
                         rate: int = SAMPLE_RATE,
                         start: int = 0,
                         stop: int | None = None) -> np.ndarray:
    """Read an audio file of two channels, or a section of it, at the given rate; see :func:`read_waveform`.

    Returns:
        Waveform of shape (2, L), left and right, float32.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: As for :func:`read_waveform`, or the file does not have two channels.
    """
    require_stereo(path)
    with _open_audio(path) as file:
        begin, end, keep = _section(file, path, rate, start, stop)
        channels = _join(list(_decode(file, path, begin, end)), (2, )).T
        return np.stack([resample(channel, file.samplerate, rate)[keep] for channel in channels])


def require_stereo(path: str | Path) -> None:
    """Raise a ValueError if an audio file does not have two channels."""
    with _open_audio(path) as file:
        if file.channels != 2:
            raise ValueError(f'{path}: the audio has {file.channels} channel(s), expected 2 for stereo; with '
                             "audio_mode='mono' the dataset reads mono files")


def audio_seconds(path: str | Path, used: float | None = None) -> float:
    """Measure an audio file in seconds and raise the errors of :func:`read_waveform`, in a fraction of its time.

    PCM and FLAC files are not decoded, because header and end are sufficient. Other files are, to find float samples
    that are NaN or unscaled and compressed files that are incomplete.

    Args:
        path: The file.
        used: Seconds at its beginning that are used; the rest is not decoded. None: all.
    """
    with _open_audio(path) as file:
        if not file.subtype.startswith('PCM_'):
            end = file.frames if used is None else min(file.frames, int(used * file.samplerate) + 1)
            for _ in _decode(file, path, 0, end):
                pass
        return file.frames / file.samplerate


def waveform_length(path: str | Path, rate: int = SAMPLE_RATE) -> int:
    """Number of samples that :func:`read_waveform` gives, from the header of the file."""
    with _open_audio(path) as file:
        return file.frames * rate // file.samplerate


def check_samples(samples: np.ndarray, name: str) -> None:
    """Raise a ValueError that begins with ``name`` if samples are NaN, infinite or not scaled to [-1, 1]."""
    bad = samples.size - np.count_nonzero(np.isfinite(samples))
    if bad:
        raise ValueError(f'{name}: {bad} of {samples.size} samples are NaN or infinite, expected finite samples')
    peak = np.abs(samples).max(initial=0)
    if peak > MAX_PEAK:
        raise ValueError(f'{name}: the largest sample is {peak:g}, expected float samples in [-1, 1]: divide by the '
                         'full scale (32768 for 16 bit) when writing floats')


def float_samples(samples: np.ndarray) -> np.ndarray:
    """Convert samples to float32: integers are divided by their full scale (int16 / 32768), floats stay as they are."""
    if np.issubdtype(samples.dtype, np.signedinteger):
        samples = samples / (np.iinfo(samples.dtype).max + 1)
    return samples.astype(np.float32, copy=False)


def check_rate(rate: int, name: str) -> None:
    """Raise a ValueError that begins with ``name`` if a rate is not from ``MIN_RATE`` to ``MAX_RATE``."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(f'{name}: {rate} samples per second, expected {MIN_RATE} to {MAX_RATE}')


def check_channels(channels: int, name: str) -> None:
    """Raise a ValueError that begins with ``name`` if there are more channels than ``MAX_CHANNELS``."""
    if channels > MAX_CHANNELS:
        raise ValueError(f'{name}: {channels} channels, expected at most {MAX_CHANNELS}')


@contextmanager
def _open_audio(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """Open an audio file; before anything is decoded, check its rate, its channels and the length that it announces."""
    path = Path(path)
    if not path.is_file():
        if path.exists():  # Opening a pipe would wait forever.
            raise ValueError(f'{path}: not a regular file, expected an audio file')
        raise FileNotFoundError(f'{path}: no such audio file')
    lengths = check_length(path)
    with FileWithLengths(path, lengths) if lengths else nullcontext(path) as source:
        with _decoder_errors(path):
            file = soundfile.SoundFile(source)
        with file:
            check_rate(file.samplerate, f'{path}: damaged header')
            check_channels(file.channels, f'{path}: damaged header')
            if file.frames == 0:
                raise ValueError(f'{path}: the audio file holds no sample by its header; if it was not closed, '
                                 'rewrite it (ffmpeg -i OLD.wav -c copy NEW.wav)')
            if file.frames > MAX_SECONDS * file.samplerate:
                raise ValueError(f'{path}: the header announces {file.frames} samples or states no length, expected '
                                 f'at most {MAX_SECONDS // 3600} hours; if it is no longer, rewrite it '
                                 '(ffmpeg -i OLD NEW.wav)')
            if file.format == 'FLAC':
                _check_flac_end(file, path)
            yield file


def _check_flac_end(file: soundfile.SoundFile, path: Path) -> None:
    """Raise a ValueError if the last sample of a FLAC file is missing; FLAC states samples, but no bytes."""
    try:
        with _decoder_errors(path):
            file.seek(file.frames - 1)
            complete = len(file.read(1)) == 1
            file.seek(0)
    except ValueError as error:
        raise ValueError(f'{path}: truncated or damaged audio file, the last of its {file.frames} samples cannot be '
                         'decoded') from error
    if not complete:
        raise ValueError(f'{path}: truncated audio file, the last of its {file.frames} samples is missing')


@contextmanager
def _decoder_errors(path: str | Path) -> Iterator[None]:
    """Make one ValueError with the name of the file of any exception of libsndfile and of its Python package."""
    try:
        yield
    except Exception as error:
        reason = getattr(error, 'error_string', None) or str(error) or type(error).__name__
        raise ValueError(f'{path}: not a readable audio file ({reason})') from error


def _section(file: soundfile.SoundFile, path: str | Path, rate: int, start: int,
             stop: int | None) -> tuple[int, int, slice]:
    """The samples of a file to decode, from and to, and the section of the result of resampling them."""
    length = file.frames * rate // file.samplerate
    stop = length if stop is None else min(stop, length)
    if stop <= start:
        return 0, 0, slice(0)
    begin, end, skip = resampled_section(start, stop, file.samplerate, rate)
    if max(min(end, file.frames) - begin, stop - start) > MAX_SAMPLES:
        raise ValueError(f'{path}: {(stop - start) / rate:.0f} s of audio at {file.samplerate} Hz are more than '
                         f'{MAX_SAMPLES} samples, which are read at once at most: read sections, or cut the file')
    return begin, min(end, file.frames), slice(skip, skip + stop - start)


def _decode(file: soundfile.SoundFile, path: str | Path, begin: int, end: int) -> Iterator[np.ndarray]:
    """Decode the samples from ``begin`` to ``end`` in blocks, (n, channels) float32, finite and in [-1, 1]."""
    position = 0
    integers = file.subtype.startswith('PCM_')  # always finite and in [-1, 1]
    # Seeking is inexact in compressed formats, and impossible in some.
    if begin and file.seekable() and file.subtype.startswith(('PCM_', 'FLOAT', 'DOUBLE', 'ULAW', 'ALAW')):
        with _decoder_errors(path):
            position = file.seek(begin)
    while position < end:
        with _decoder_errors(path):
            block = file.read(min(BLOCK // file.channels, end - position), dtype='float32', always_2d=True)
        if not len(block):
            raise ValueError(f'{path}: truncated audio file, {position} of {file.frames} samples can be decoded')
        if not integers:
            check_samples(block, str(path))
            block = block.clip(-1, 1)
        yield block[max(0, begin - position):]
        position += len(block)


def _average(block: np.ndarray) -> np.ndarray:
    """Mean of the channels of a block (n, channels), without a copy of a single one."""
    return block[:, 0] if block.shape[1] == 1 else block.mean(1)


def _join(blocks: list[np.ndarray], channels: tuple[int, ...]) -> np.ndarray:
    """Concatenate blocks (n, *channels), without a copy of a single one."""
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks or [np.zeros((0, *channels), np.float32)])
