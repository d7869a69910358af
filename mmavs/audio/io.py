"""Read audio files."""
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from .log_mel import SAMPLE_RATE
from .resampling import resample

# A float file whose samples exceed this was never scaled to [-1, 1].
MAX_PEAK = 8.0
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


def read_waveform(path: str | Path, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Read an audio file as one channel at the given rate.

    Integer samples are divided by their full scale (int16 / 32768), float samples beyond [-1, 1] are clipped, channels
    are averaged, then the waveform is resampled (:func:`resample`).

    Args:
        path: A file of any format that libsndfile reads (wav, flac, ogg, mp3, ...), any rate, any number of channels.
        rate: Samples per second of the result.

    Returns:
        Waveform of shape (L,), float32 in [-1, 1], except for the overshoot of resampling.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file cannot be decoded, is truncated, holds no sample, or holds NaN, infinite or unscaled
            samples.
    """
    with _open_audio(path) as file:
        samples = _read_samples(file)
        return resample(samples.clip(-1, 1).mean(1), file.samplerate, rate)


def read_stereo_waveform(path: str | Path, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Read an audio file of two channels at the given rate; see :func:`read_waveform`.

    Returns:
        Waveform of shape (2, L), left and right, float32.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: As for :func:`read_waveform`, or the file does not have two channels.
    """
    require_stereo(path)
    with _open_audio(path) as file:
        samples = _read_samples(file)
        return np.stack([resample(channel, file.samplerate, rate) for channel in samples.clip(-1, 1).T])


def require_stereo(path: str | Path) -> None:
    """Raise a ValueError if an audio file does not have two channels."""
    with _open_audio(path) as file:
        if file.channels != 2:
            raise ValueError(f'{path}: the audio has {file.channels} channel(s), expected 2 for stereo; with '
                             "audio_mode='mono' the dataset reads mono files")


def audio_seconds(path: str | Path) -> float:
    """Measure an audio file in seconds and raise the errors of :func:`read_waveform`, in a fraction of its time.

    PCM files are not decoded, because their header is sufficient. Other files are, to find float samples that are NaN
    or unscaled and compressed files that are incomplete.
    """
    with _open_audio(path) as file:
        if not file.subtype.startswith('PCM_'):
            _read_samples(file)
        return file.frames / file.samplerate


@contextmanager
def _open_audio(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """Open an audio file and check its length against its header; errors of libsndfile become a ValueError."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such audio file')
    missing = _missing_wav_bytes(path)
    if missing > 1:  # One byte is the padding of an odd chunk, which some writers count but leave out.
        raise ValueError(f'{path}: truncated audio file, {missing} of the bytes that its header announces are missing')
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames == 0:
                raise ValueError(f'{path}: the audio file holds no sample')
            yield file
    except (soundfile.SoundFileError, RuntimeError) as error:
        reason = getattr(error, 'error_string', error)
        raise ValueError(f'{path}: not a readable audio file ({reason})') from error


def _read_samples(file: soundfile.SoundFile) -> np.ndarray:
    """Decode all samples, (L, channels) float32, finite and scaled."""
    samples = file.read(dtype='float32', always_2d=True)
    if len(samples) < file.frames:
        raise ValueError(f'{file.name}: truncated audio file, {len(samples)} of {file.frames} samples can be decoded')
    check_samples(samples, str(file.name))
    return samples


def check_samples(samples: np.ndarray, name: str) -> None:
    """Raise a ValueError that begins with ``name`` if samples are NaN, infinite or not scaled to [-1, 1]."""
    bad = samples.size - np.count_nonzero(np.isfinite(samples))
    if bad:
        raise ValueError(f'{name}: {bad} of {samples.size} samples are NaN or infinite, expected finite samples')
    peak = np.abs(samples).max(initial=0)
    if peak > MAX_PEAK:
        raise ValueError(f'{name}: the largest sample is {peak:g}, expected float samples in [-1, 1]: divide by the '
                         'full scale (32768 for 16 bit) when writing floats')


def _missing_wav_bytes(path: Path) -> int:
    """Bytes by which a RIFF file is shorter than its header states. libsndfile reads such files without an error."""
    with path.open('rb') as file:
        header = file.read(8)
        size = file.seek(0, 2)
    announced = int.from_bytes(header[4:], 'little')
    streamed = announced in (0, 0xFFFFFFFF)  # Written to a pipe: the length was unknown.
    if header[:4] != b'RIFF' or streamed:
        return 0
    return max(0, announced + 8 - size)
