"""Read image files: the one reader of frames, masks, mask priors and photos."""
import os
import stat
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from .plain_images import read_plain_image

# Formats that Pillow may open, whatever the suffix of a file says. Others, such as EPS, start programs or have no use
# as frames or masks.
IMAGE_FORMATS = ('PNG', 'JPEG', 'WEBP', 'BMP', 'TIFF', 'PPM', 'GIF', 'JPEG2000', 'AVIF')
Image.init()
#: Suffixes of those formats that this Pillow reads, in lower case: .png, .jpg, .jpeg, .webp, .bmp, .tif, ...
IMAGE_SUFFIXES = tuple(suffix for suffix, name in Image.registered_extensions().items()
                       if name in IMAGE_FORMATS and name in Image.OPEN)
# 8192 x 8192, twice a frame of 8K video: a file of a few kB can decode to gigabytes. Pillow's own limit is higher.
MAX_PIXELS = 2**26
# The last bytes of a complete file, and how many are read: those hold metadata that follow the pixels.
PNG_END, JPEG_END = b'\x00\x00\x00\x00IEND\xaeB`\x82', b'\xff\xd9'
TAIL = 1 << 16
EXCHANGES_SIDES = (5, 6, 7, 8)
# Entries of a PNG file in which Pillow finds an orientation, as in its ``info``; 'exif' is the chunk eXIf.
PNG_ORIENTATIONS = ('exif', 'eXIf', 'Raw profile type exif', 'XML:com.adobe.xmp')


def read_image(path: str | Path, kind: str = 'image', mode: str | None = None, wide: bool = False) -> np.ndarray:
    """Decode an image file, as it is to be displayed: its EXIF orientation is applied.

    Of animations and files of several pages, the first image is read. Plain PNG and JPEG files are decoded by OpenCV,
    which takes less time, if it gives the same pixels as Pillow, see :mod:`mmavs.utils.plain_images`.

    Args:
        path: The file, of one of ``IMAGE_FORMATS``.
        kind: Kind of the file, for messages: 'frame', 'mask', ...
        mode: Pillow's mode to convert to, 'RGB' or 'L'. Samples of 16 bits keep their high byte, in gray images as in
            color ones; transparency is dropped. None keeps the stored values: the indices of a palette, 16-bit gray.
        wide: Keep 16-bit gray with a ``mode``, too.

    Returns:
        (H, W) or (H, W, channels), uint8; without ``mode``, or with ``wide``, uint16 for 16-bit gray. Bilevel images
        have the values 0 and 1 without ``mode``, those of 2 and 4 bits 0 to 3 and 0 to 15.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a regular one, truncated, not an image of a known format, has more than
            ``MAX_PIXELS`` pixels, or holds samples of 32 bits, whose range is unknown. Damage inside a JPEG file is
            not found: libjpeg fills in gray, and Pillow does not pass its warnings on.
    """
    _require_regular(path, kind)
    plain = read_plain_image(path, mode, MAX_PIXELS)
    if plain is not None:
        return plain
    with open_image(path, kind) as image:
        largest = _largest_gray(image)
        try:
            image.load()
        except Exception as error:  # The decoders of Pillow raise any error on damaged files.
            raise ValueError(_undecodable(path, kind, error)) from error
        if _orientation(image) != 1:
            ImageOps.exif_transpose(image, in_place=True)
        if image.mode.startswith('I') or image.mode == 'F':
            values = _gray_16_bit(image, path, kind)
            if mode is None or wide:
                return values
            image = Image.fromarray((values >> 8).astype(np.uint8))
        if mode is None:
            values = np.array(image, np.uint8 if image.mode == '1' else None)
            return _stored_gray(values, largest)
        return np.array(image if image.mode == mode else image.convert(mode))


def image_shape(path: str | Path, kind: str = 'image') -> tuple[int, int]:
    """Height and width of an image as :func:`read_image` returns it, with its errors.

    PNG and JPEG files are not decoded: one with a readable header and the end of a file counts as complete.
    """
    with open_image(path, kind) as image, open(path, 'rb') as file:
        file.seek(-min(TAIL, os.path.getsize(path)), os.SEEK_END)
        tail = file.read()
        if image.format in ('JPEG', 'MPO') and tail.endswith(JPEG_END):
            turned = _orientation(image) in EXCHANGES_SIDES
            return (image.width, image.height) if turned else (image.height, image.width)
        # The orientation of a PNG file may follow its pixels; Pillow decodes them to look for it.
        if image.format == 'PNG' and tail.endswith(PNG_END):
            if not any(name in image.info or name.encode() in tail for name in PNG_ORIENTATIONS):
                return image.height, image.width
    return read_image(path, kind).shape[:2]


def open_image(path: str | Path, kind: str) -> Image.Image:
    """Open an image file without decoding it; see :func:`read_image` for its errors."""
    _require_regular(path, kind)
    try:
        image = Image.open(path, formats=IMAGE_FORMATS)
    except Image.DecompressionBombError as error:
        raise ValueError(f'{path}: the {kind} is too large, expected at most {MAX_PIXELS} pixels ({error})') from error
    except Exception as error:
        raise ValueError(_undecodable(path, kind, error)) from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise ValueError(f'{path}: the {kind} is too large, {image.width}x{image.height}, expected at most '
                         f'{MAX_PIXELS} pixels')
    return image


def _require_regular(path: str | Path, kind: str) -> None:
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        raise FileNotFoundError(f'{path}: the {kind} is missing') from None
    if not regular:  # Opening a pipe would wait forever.
        raise ValueError(f'{path}: the {kind} is not a regular file')


def _undecodable(path: str | Path, kind: str, error: Exception) -> str:
    return (f'{path}: the {kind} cannot be decoded, it is truncated or not an image of the formats '
            f"{', '.join(IMAGE_FORMATS)} ({error})")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 (as stored) if there is none or if the metadata are damaged."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow raises any error; other readers ignore damaged metadata as well.
        return 1


def _largest_gray(image: Image.Image) -> int:
    """The stored value that Pillow scales to 255 when it decodes gray images of less than 8 bits; 255 for others."""
    options = image.tile[0][3] if image.mode == 'L' and image.tile else None
    raw_mode, *rest = options if isinstance(options, tuple) else (options, )
    if image.format == 'PPM' and rest:  # the raw mode and the largest value, unless that is 255
        return rest[0]
    return {'L;2': 3, 'L;2R': 3, 'L;4': 15, 'L;4R': 15}.get(raw_mode, 255)


def _stored_gray(values: np.ndarray, largest: int) -> np.ndarray:
    """Undo Pillow's scaling of gray values from ``largest`` to 255."""
    return values if largest == 255 else np.rint(values * (largest / 255)).astype(np.uint8)


def _gray_16_bit(image: Image.Image, path: str | Path, kind: str) -> np.ndarray:
    """Values of an image of more than 8 bits in one channel, (H, W) uint16."""
    values = np.asarray(image)
    # Pillow reads 16-bit PGM files as 32-bit integers, scaled to 65535.
    if image.mode == 'F' or values.dtype.itemsize > 2 and image.format != 'PPM':
        raise ValueError(f'{path}: the {kind} has samples of 32 bits ({image.mode}), whose range is unknown, expected '
                         '8 or 16 bits: scale and convert it')
    return values.astype(np.uint16)
