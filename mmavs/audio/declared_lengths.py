"""Compare the lengths that audio files announce with their sizes, because libsndfile reads truncated files silently."""
import io
import os
import struct
from pathlib import Path
from typing import BinaryIO

# Programs that write to a pipe put the largest number, or one near it, in the place of a length.
UNKNOWN_LENGTH = 0x7FFF0000
# The longest page of an Ogg file, its fixed header, and the flag of the last page of a stream.
OGG_PAGE, OGG_HEADER, OGG_END = 65307, 27, 4


def check_length(path: Path) -> dict[int, bytes]:
    """Raise a ValueError if an audio file is shorter than it announces.

    Checked are WAV, RF64, W64, AIFF, AU and CAF, which state a length, and Ogg (Vorbis, Opus), whose last page is
    marked.

    Returns:
        Lengths of a WAV file to replace, by their position: its header says that it holds no sample although samples
        follow, as recorders leave it that fill in the lengths at the end and did not get there, or got to one of two.
    """
    with path.open('rb') as file:
        header = file.read(28)
        size = file.seek(0, os.SEEK_END)
        if header[:4] == b'RIFF' and header[8:12] == b'WAVE':
            missing, replaced = _wav_lengths(file, size)
        elif header[:4] == b'OggS':
            _check_ogg_end(file, size, path)
            return {}
        elif header[:4] == b'caff':
            missing, replaced = _missing_in_caf(file, size), {}
        else:
            missing, replaced = max(0, _announced(header) - size), {}
    if missing > 1:  # One byte is the padding of an odd chunk, which some writers count but leave out.
        raise ValueError(f'{path}: truncated audio file, {missing} of the bytes that its header announces are missing')
    return replaced


def _announced(header: bytes) -> int:
    """Size that the first 28 bytes of a file other than WAV and Ogg announce; 0 if they state none."""
    kind, length = header[:4], 0
    if len(header) < 28:
        return 0
    if kind == b'FORM':  # AIFF, and 8SVX
        length = int.from_bytes(header[4:8], 'big') + 8
    elif kind in (b'.snd', b'dns.'):
        offset, samples = struct.unpack('>II' if kind == b'.snd' else '<II', header[4:12])
        length = offset + samples
    elif kind == b'RF64' and header[12:16] == b'ds64':
        return int.from_bytes(header[20:28], 'little') + 8
    elif header[:5] == b'riff.':
        return int.from_bytes(header[16:24], 'little')
    return 0 if length > UNKNOWN_LENGTH else length


def _missing_in_caf(file: BinaryIO, size: int) -> int:
    """The bytes by which a CAF file is shorter than its chunks; a data chunk of length -1 reaches to the end."""
    end = 8
    while 0 <= end <= size - 12:
        file.seek(end)
        length = struct.unpack('>4sq', file.read(12))[1]
        if length < 0:
            return 0
        end += 12 + length
    return max(0, end - size)


def _check_ogg_end(file: BinaryIO, size: int, path: Path) -> None:
    """Raise a ValueError if the last page of an Ogg file is cut off, or not marked as the end of its stream."""
    file.seek(-min(size, OGG_PAGE), os.SEEK_END)
    tail = file.read()
    start = tail.rfind(b'OggS')
    page = tail[start:] if start >= 0 else b''
    segments = page[OGG_HEADER:OGG_HEADER + page[OGG_HEADER - 1]] if len(page) >= OGG_HEADER else b''
    if not segments or len(page) < OGG_HEADER + len(segments) + sum(segments) or not page[5] & OGG_END:
        raise ValueError(f'{path}: truncated audio file, its last page is not the end of an Ogg stream; if nothing is '
                         'missing, rewrite it (ffmpeg -i OLD.ogg -c copy NEW.ogg)')


def _wav_lengths(file: BinaryIO, size: int) -> tuple[int, dict[int, bytes]]:
    """The bytes by which a WAV file is shorter than announced, and the lengths to replace, see :func:`check_length`."""
    file.seek(4)
    announced = int.from_bytes(file.read(4), 'little') + 8
    # Written to a pipe: the length was unknown. Programs put 0 or the largest number in its place.
    streamed = announced == 8 or announced > max(size, UNKNOWN_LENGTH)
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


class FileWithLengths(io.FileIO):
    """A file in which some bytes are replaced, by their position."""

    def __init__(self, path: Path, replaced: dict[int, bytes]) -> None:
        super().__init__(path)
        self.replaced = replaced

    def readinto(self, buffer: memoryview) -> int:
        """Read bytes, see :class:`io.FileIO`."""
        start, count = self.tell(), super().readinto(buffer)
        view = memoryview(buffer).cast('B')
        for position, value in self.replaced.items():
            for index, byte in enumerate(value, position - start):
                if 0 <= index < count:
                    view[index] = byte
        return count
