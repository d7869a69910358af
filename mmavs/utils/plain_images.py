"""Decode plain PNG and JPEG files with OpenCV: the pixels of Pillow in less time."""
import io
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

PNG_SIGNATURE, JPEG_SIGNATURE = b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff'
# Chunks of PNG files that change neither the pixels nor their orientation.
PNG_CHUNKS = (b'IHDR', b'IDAT', b'IEND', b'pHYs', b'tIME', b'gAMA', b'cHRM', b'sRGB', b'iCCP')
GRAY, COLOR = 0, 2
# Segments of JPEG files: frames of 8 bits (baseline, extended, progressive), other frames, the begin of the pixels, and
# those that may hold an orientation (Exif, XMP), other images (MPF) or other colors (Adobe).
JPEG_FRAMES, OTHER_FRAMES = (0xC0, 0xC1, 0xC2), (0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
JPEG_SCAN, APP1, APP2, ADOBE, MPF = 0xDA, 0xE1, 0xE2, 0xEE, b'MPF\0'
JPEG_END = b'\xff\xd9'


def read_plain_image(path: str | Path, mode: str | None, max_pixels: int) -> np.ndarray | None:
    """Decode a file if it is plain: a complete PNG file of 8-bit gray or color, or a color JPEG file, without metadata
    that turn it.

    Args:
        path: The file.
        mode: 'RGB', 'L' or None for the stored values.
        max_pixels: The most pixels to decode.

    Returns:
        What Pillow decodes, (H, W) or (H, W, 3) uint8; None for any other file, for a damaged one, and if the installed
        OpenCV decodes JPEG files differently than Pillow.
    """
    if not decodes_as_pillow():
        return None
    try:
        with open(path, 'rb') as file:
            begin = file.read(len(PNG_SIGNATURE))
            if begin != PNG_SIGNATURE and not begin.startswith(JPEG_SIGNATURE):
                return None
            data = begin + file.read()
        height, width, color = _png_size(data) if begin == PNG_SIGNATURE else _jpeg_size(data)
        if mode not in (None, 'RGB' if color else 'L') or height * width > max_pixels:
            return None
        flags = cv2.IMREAD_COLOR_RGB if color else cv2.IMREAD_GRAYSCALE
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except (OSError, _NotPlainError, struct.error, IndexError, cv2.error):
        return None
    return image if image is not None and image.shape[:2] == (height, width) else None


@cache
def decodes_as_pillow() -> bool:
    """Check if OpenCV decodes JPEG files to the pixels of Pillow: two builds of libjpeg may round differently."""
    if not hasattr(cv2, 'IMREAD_COLOR_RGB'):  # before OpenCV 4.11
        return False
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (37, 51, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(noise[:6, :6]).resize((51, 37)))
    for image in (noise, smooth):
        for options in ({}, dict(subsampling=0), dict(subsampling=1), dict(progressive=True)):
            file = io.BytesIO()
            Image.fromarray(image).save(file, 'JPEG', **options)
            decoded = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR_RGB)
            if not np.array_equal(decoded, np.asarray(Image.open(file))):
                return False
    return True


class _NotPlainError(Exception):
    """The file is damaged, or has what OpenCV and Pillow treat differently."""


def _png_size(data: bytes) -> tuple[int, int, bool]:
    """Height, width and whether a PNG file has color; checks every chunk, because OpenCV does not."""
    position, name, view = len(PNG_SIGNATURE), b'', memoryview(data)
    while name != b'IEND':
        length, name = struct.unpack_from('>I4s', data, position)
        end = position + 8 + length
        if name not in PNG_CHUNKS or struct.unpack_from('>I', data, end)[0] != zlib.crc32(view[position + 4:end]):
            raise _NotPlainError
        if position == len(PNG_SIGNATURE):
            if name != b'IHDR':
                raise _NotPlainError
            width, height, bits, colors, _, _, interlaced = struct.unpack_from('>IIBBBBB', data, position + 8)
        position = end + 4
    if position != len(data) or bits != 8 or colors not in (GRAY, COLOR) or interlaced:
        raise _NotPlainError
    return height, width, colors == COLOR


def _jpeg_size(data: bytes) -> tuple[int, int, bool]:
    """Height and width of a JPEG file of three channels, and True."""
    if not data.endswith(JPEG_END):
        raise _NotPlainError
    size = None
    for marker, segment in _jpeg_segments(data):
        if marker in OTHER_FRAMES or marker in (APP1, ADOBE) or marker == APP2 and segment.startswith(MPF):
            raise _NotPlainError
        if marker in JPEG_FRAMES:
            bits, height, width, channels = struct.unpack_from('>BHHB', segment)
            if size is not None or bits != 8 or channels != 3 or not height:
                raise _NotPlainError
            size = height, width
    if size is None:
        raise _NotPlainError
    return *size, True


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the markers before the pixels, with the content of their segments."""
    position, marker = 2, None
    while marker != JPEG_SCAN:
        start, marker, length = struct.unpack_from('>BBH', data, position)
        if start != 0xFF or not 0xC0 <= marker <= 0xFE or length < 2:
            raise _NotPlainError
        yield marker, data[position + 4:position + 2 + length]
        position += 2 + length
