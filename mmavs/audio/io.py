"""Read audio files."""
import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from .log_mel import SAMPLE_RATE
from .resampling import resample, resampled_section

# A float file whose samples exceed this was never scaled to [-1, 1].
MAX_PEAK = 8.0
# Samples of each channel that are decoded at a time.
BLOCK = 2**20
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
        ValueError: The file cannot be decoded, is truncated, holds no sample, or holds NaN, infinite or unscaled
            samples.
    """
    with _open_audio(path) as file:
        begin, end, keep = _section(file, rate, start, stop)
        samples = [block.clip(-1, 1).mean(1) for block in _decode(file, path, begin, end)]
        return resample(np.concatenate(samples or [np.zeros(0, np.float32)]), file.samplerate, rate)[keep]


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
        begin, end, keep = _section(file, rate, start, stop)
        samples = [block.clip(-1, 1) for block in _decode(file, path, begin, end)]
        channels = np.concatenate(samples or [np.zeros((0, 2), np.float32)]).T
        return np.stack([resample(channel, file.samplerate, rate)[keep] for channel in channels])


def require_stereo(path: str | Path) -> None:
    """Raise a ValueError if an audio file does not have two channels."""
    with _open_audio(path) as file:
        if file.channels != 2:
            raise ValueError(f'{path}: the audio has {file.channels} channel(s), expected 2 for stereo; with '
                             "audio_mode='mono' the dataset reads mono files")


def audio_seconds(path: str | Path, used: float | None = None) -> float:
    """Measure an audio file in seconds and raise the errors of :func:`read_waveform`, in a fraction of its time.

    PCM files are not decoded, because their header is sufficient. Other files are, to find float samples that are NaN
    or unscaled and compressed files that are incomplete.

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


@contextmanager
def _open_audio(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """Open an audio file and check its length against its header; errors of libsndfile become a ValueError."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such audio file')
    missing, lengths = _check_wav_lengths(path)
    if missing > 1:  # One byte is the padding of an odd chunk, which some writers count but leave out.
        raise ValueError(f'{path}: truncated audio file, {missing} of the bytes that its header announces are missing')
    try:
        opened = _FileWithLengths(path, lengths) if lengths else nullcontext(path)
        with opened as source, soundfile.SoundFile(source) as file:
            if file.frames == 0:
                raise ValueError(f'{path}: the audio file holds no sample by its header; if it was not closed, '
                                 'rewrite it (ffmpeg -i OLD.wav -c copy NEW.wav)')
            yield file
    except (soundfile.SoundFileError, RuntimeError) as error:
        reason = getattr(error, 'error_string', error)
        raise ValueError(f'{path}: not a readable audio file ({reason})') from error


def _section(file: soundfile.SoundFile, rate: int, start: int, stop: int | None) -> tuple[int, int, slice]:
    """The samples of a file to decode, from and to, and the section of the result of resampling them."""
    length = file.frames * rate // file.samplerate
    stop = length if stop is None else min(stop, length)
    if stop <= start:
        return 0, 0, slice(0)
    begin, end, skip = resampled_section(start, stop, file.samplerate, rate)
    return begin, min(end, file.frames), slice(skip, skip + stop - start)


def _decode(file: soundfile.SoundFile, path: str | Path, begin: int, end: int) -> Iterator[np.ndarray]:
    """Decode the samples from ``begin`` to ``end`` in blocks, (n, channels) float32, finite and scaled."""
    position = 0
    # Seeking is inexact in compressed formats, and impossible in some.
    if begin and file.seekable() and file.subtype.startswith(('PCM_', 'FLOAT', 'DOUBLE', 'ULAW', 'ALAW')):
        position = file.seek(begin)
    while position < end:
        block = file.read(min(BLOCK, end - position), dtype='float32', always_2d=True)
        if not len(block):
            raise ValueError(f'{path}: truncated audio file, {position} of {file.frames} samples can be decoded')
        check_samples(block, str(path))
        yield block[max(0, begin - position):]
        position += len(block)


def _check_wav_lengths(path: Path) -> tuple[int, dict[int, bytes]]:
    """Compare the lengths that a WAV file announces with its size.

    Returns:
        The bytes by which the file is shorter than announced, because libsndfile reads such files without an error. And
        by their position the lengths of a file whose header says that it holds no sample although samples follow, as
        recorders leave it that fill in the lengths at the end and did not get there, or got to one of the two.
    """
    with path.open('rb') as file:
        header = file.read(12)
        size = file.seek(0, 2)
        if header[:4] != b'RIFF' or header[8:] != b'WAVE':
            return 0, {}
        announced = int.from_bytes(header[4:8], 'little') + 8
        # Written to a pipe: the length was unknown. Programs put 0 or the largest number in its place.
        streamed = announced == 8 or announced > max(size, 0x7FFF0000)
        file.seek(12)
        while len(chunk := file.read(8)) == 8:
            name, length = struct.unpack('<4sI', chunk)
            samples = file.tell()
            if name == b'data':
                if length == 0 and samples < size and (
                        streamed or announced <= samples or not _holds_chunks(file, samples, size)):
                    return 0, {4: struct.pack('<I', size - 8), samples - 4: struct.pack('<I', size - samples)}
                break
            file.seek(samples + length + length % 2)
    return 0 if streamed else max(0, announced - size), {}


def _holds_chunks(file: BinaryIO, position: int, size: int) -> bool:
    """Check if the rest of a WAV file is a row of chunks, such as a LIST of tags, not samples."""
    while position < size:
        file.seek(position)
        chunk = file.read(8)
        if len(chunk) < 8 or not chunk[:4].isascii() or not chunk[:4].decode().isprintable():
            return False
        length = int.from_bytes(chunk[4:], 'little')
        position += 8 + length + length % 2
    return position - size in (0, 1)  # The padding of the last chunk may be missing.


class _FileWithLengths(io.FileIO):
    """A file in which some bytes are replaced, by their position."""

    def __init__(self, path: Path, replaced: dict[int, bytes]) -> None:
        super().__init__(path)
        self.replaced = replaced

    def readinto(self, buffer: memoryview) -> int:
        start, count = self.tell(), super().readinto(buffer)
        view = memoryview(buffer).cast('B')
        for position, value in self.replaced.items():
            for index, byte in enumerate(value, position - start):
                if 0 <= index < count:
                    view[index] = byte
        return count
