"""Read the pictures of a clip."""
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmavs.registry import TRANSFORMS
from mmavs.utils.palette import voc_palette

UNLABELLED = 255

# The last bytes of a complete file.
IMAGE_ENDS = {'.png': b'\x00\x00\x00\x00IEND\xaeB`\x82', '.jpg': b'\xff\xd9', '.jpeg': b'\xff\xd9'}

# The mean of the normalisation that all methods use.
PADDING_COLOUR = (124, 116, 104)


@TRANSFORMS.register_module()
class LoadClipFrames(BaseTransform):
    """Read the frames of a clip in RGB.

    Padding frames get the colour (124, 116, 104); the data preprocessor sets them to 0 after normalisation.

    Required keys: ``frame_paths``. Added keys: ``frames``, a list of T arrays (H, W, 3) uint8; ``ori_shape``, (H, W).

    Raises:
        FileNotFoundError: A frame is missing.
        ValueError: A frame cannot be decoded, or the frames differ in size.
    """

    path_key = 'frame_paths'

    def transform(self, results: dict) -> dict:
        """Read the frames."""
        paths = results['frame_paths']
        frames = [read_image(path, 'frame', 'RGB') if path is not None else None for path in paths]
        results['ori_shape'] = _common_shape(frames, paths)
        padding = np.empty((*results['ori_shape'], 3), np.uint8)
        padding[:] = PADDING_COLOUR
        results['frames'] = [padding if frame is None else frame for frame in frames]
        return results

    def check_files(self, clip: dict) -> None:
        """Raise an error where a frame of a clip is damaged or has another size than the others."""
        inspect_images(clip['frame_paths'], 'frame')


@TRANSFORMS.register_module()
class LoadMaskPrior(BaseTransform):
    """Read the mask prior (a rendered segmentation) of each frame in RGB, where the data set is set up to have one.

    Without ``mask_prior`` in the data set's ``data_prefix`` it does nothing, so that one pipeline serves both.

    Required keys: ``mask_prior_paths``. Added keys: ``mask_prior``, a list of T arrays (H, W, 3) uint8, black for
    padding frames.

    Raises:
        FileNotFoundError: A mask prior is missing.
        ValueError: A mask prior cannot be decoded, or those of a clip differ in size.
    """

    path_key = 'mask_prior_paths'

    def transform(self, results: dict) -> dict:
        """Read the mask priors."""
        paths = results.get('mask_prior_paths')
        if paths is None:
            return results
        priors = [read_image(path, 'mask prior', 'RGB') if path is not None else None for path in paths]
        padding = np.zeros((*_common_shape(priors, paths), 3), np.uint8)
        results['mask_prior'] = [padding if prior is None else prior for prior in priors]
        return results

    def check_files(self, clip: dict) -> None:
        """Raise an error where a mask prior of a clip is damaged or has another size than the others."""
        inspect_images(clip.get('mask_prior_paths') or (), 'mask prior')


@TRANSFORMS.register_module()
class LoadClipMasks(BaseTransform):
    """Read the ground truth of a clip: the class of every pixel, 255 in frames without ground truth.

    How a mask is stored is told by ``results['mask_encoding']``:

    - 'binary': grey, palette, bilevel or RGB pictures of 0 and 255; values of 128 and more are foreground. More greys
      than 255s are an error (class indices were stored, or something else).
    - 'index': the stored value (of a grey or palette picture) is the class. Other values than classes are an error.
    - 'palette': RGB in PASCAL-VOC colours.
    - 'category': the stored value (of a grey or palette picture) is the id of a category, whose class is its place in
      ``results['category_ids']``; 255 is unlabelled. Other values are an error.

    Nothing is added for clips without any ground truth.

    Args:
        off_palette: What a colour of no class in 'palette' masks means: 'error', or 'background', as the released
            code of AVSBench and AVSegFormer read it.

    Required keys: ``mask_paths``, ``mask_encoding``, ``num_classes``; ``category_ids`` for 'category'. Added keys:
    ``masks``, a list of T arrays (H, W) uint8.

    Raises:
        FileNotFoundError: A mask is missing.
        ValueError: A mask cannot be decoded, holds something else than the classes, or the masks differ in size.
    """

    path_key = 'mask_paths'

    def __init__(self, off_palette: str = 'error') -> None:
        if off_palette not in ('error', 'background'):
            raise ValueError(f"off_palette is {off_palette!r}, expected 'error' or 'background'")
        self.off_palette = off_palette

    def transform(self, results: dict) -> dict:
        """Read the masks."""
        paths = results['mask_paths']
        if all(path is None for path in paths):
            return results
        masks = [
            read_mask(path, results['mask_encoding'], results['num_classes'], self.off_palette,
                      results.get('category_ids', ())) if path is not None else None for path in paths
        ]
        unlabelled = np.full(_common_shape(masks, paths), UNLABELLED, np.uint8)
        results['masks'] = [unlabelled if mask is None else mask for mask in masks]
        return results

    def check_files(self, clip: dict) -> None:
        """Raise an error where a mask of a clip cannot be used; masks are decoded for it."""
        self.transform(dict(clip))


def read_image(path: str, kind: str, mode: str | None = None) -> np.ndarray:
    """Decode a picture with Pillow.

    Args:
        path: The file.
        kind: What the file is, for messages.
        mode: Pillow's mode to convert to; None keeps the stored values (indices of a palette picture).

    Returns:
        (H, W) or (H, W, channels), uint8 (bool for bilevel pictures that are not converted).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is truncated or not a picture.
    """
    try:
        with Image.open(path) as image:
            return np.array(image if mode is None or image.mode == mode else image.convert(mode))
    except FileNotFoundError:
        raise FileNotFoundError(f'{path}: the {kind} is missing') from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f'{path}: the {kind} cannot be decoded, it is truncated or no picture ({error})') from error


def inspect_images(paths: Sequence[str | None], kind: str) -> None:
    """Raise the errors of :func:`read_image` and those of differing sizes, without decoding complete pictures.

    A picture that ends like a PNG or JPEG file is complete; any other is decoded.
    """
    shapes = []
    for path in paths:
        shape = None
        if path is not None and Path(path).suffix.lower() in IMAGE_ENDS:
            shape = _complete_shape(path)
        if path is not None and shape is None:
            shape = read_image(path, kind).shape[:2]
        shapes.append(shape)
    _require_one_shape(shapes, paths)


def _complete_shape(path: str) -> tuple[int, int] | None:
    """Height and width of a picture whose header is sound and whose end is there, else None."""
    end = IMAGE_ENDS[Path(path).suffix.lower()]
    try:
        with Image.open(path) as image, open(path, 'rb') as file:
            file.seek(-len(end), os.SEEK_END)
            return (image.height, image.width) if file.read() == end else None
    except (OSError, SyntaxError, ValueError):
        return None


def read_mask(path: str,
              encoding: str,
              num_classes: int,
              off_palette: str = 'error',
              category_ids: Sequence[int] = ()) -> np.ndarray:
    """Decode one ground-truth mask; see :class:`LoadClipMasks`. Returns classes, (H, W) uint8."""
    if encoding == 'binary':
        return _decode_binary(read_image(path, 'mask', 'L'), path)
    if encoding == 'index':
        return _check_index(read_image(path, 'mask'), path, num_classes)
    if encoding == 'palette':
        return _decode_palette(read_image(path, 'mask', 'RGB'), path, num_classes, off_palette)
    if encoding == 'category':
        return _decode_category(read_image(path, 'mask'), path, tuple(category_ids))
    raise ValueError(f"{path}: mask_encoding is {encoding!r}, expected 'binary', 'index', 'palette' or 'category'")


def _decode_binary(values: np.ndarray, path: str) -> np.ndarray:
    # A few greys may lie along outlines that a conversion has softened.
    grey = (values != 0) & (values != 255)
    if np.count_nonzero(grey) > np.count_nonzero(values == 255):
        raise ValueError(f'{path}: mask value {values[grey].max()} ({np.count_nonzero(grey)} pixels are neither 0 nor '
                         '255) is outside the classes, expected 0 (background) and 255 (sounding object)')
    return (values >= 128).view(np.uint8)


def _check_index(values: np.ndarray, path: str, num_classes: int) -> np.ndarray:
    _require_one_channel(values, path, 'class indices')
    largest = int(values.max())
    if largest >= num_classes or int(values.min()) < 0:
        wrong = largest if largest >= num_classes else int(values.min())
        raise ValueError(f'{path}: mask value {wrong} is outside the classes, expected 0 to {num_classes - 1}')
    return values.astype(np.uint8, copy=False)


def _decode_category(values: np.ndarray, path: str, category_ids: tuple[int, ...]) -> np.ndarray:
    _require_one_channel(values, path, 'category ids')
    largest = int(values.max())
    # All ids are looked up at once: replaced one after the other, a new value may be taken for an id.
    table = _category_table(category_ids)
    unknown = [largest] if largest > UNLABELLED else np.flatnonzero(
        (table < 0) & (np.bincount(values.ravel(), minlength=UNLABELLED + 1) > 0)).tolist()
    if unknown:
        raise ValueError(f'{path}: mask value {unknown[0]} is the id of no class, expected '
                         f"{', '.join(map(str, sorted(category_ids)))}, or {UNLABELLED} where unlabelled")
    return table.astype(np.uint8)[values]


@cache
def _category_table(category_ids: tuple[int, ...]) -> np.ndarray:
    """Class of each of the 256 values, (256,) int16: 255 of 255, -1 of a value that is no id."""
    table = np.full(UNLABELLED + 1, -1, np.int16)
    table[UNLABELLED] = UNLABELLED
    table[list(category_ids)] = np.arange(len(category_ids))
    return table


def _require_one_channel(values: np.ndarray, path: str, content: str) -> None:
    if values.ndim != 2:
        raise ValueError(f'{path}: the mask has {values.shape[2]} channels, expected one that holds {content}')


def _decode_palette(colours: np.ndarray, path: str, num_classes: int, off_palette: str) -> np.ndarray:
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]
    # VOC colours of less than 512 classes differ in the three highest bits of each channel, the other bits are 0.
    key = (red & 0xE0).astype(np.uint16) << 1 | (green & 0xE0).astype(np.uint16) >> 2 | blue >> 5
    mask = _palette_table(num_classes)[key]
    mask[((red | green | blue) & 0x1F) != 0] = UNLABELLED
    unknown = mask == UNLABELLED
    if unknown.any():
        if off_palette == 'error':
            colour = tuple(colours[unknown][0].tolist())
            raise ValueError(
                f'{path}: the colour {colour} ({np.count_nonzero(unknown)} pixels) is none of the {num_classes} '
                "classes, expected PASCAL-VOC colours; LoadClipMasks(off_palette='background') reads it as background")
        mask[unknown] = 0
    return mask


def _palette_table(num_classes: int) -> np.ndarray:
    """Class of the VOC colour with the high bits RRRGGGBBB, 255 where no class has it."""
    if num_classes not in _PALETTE_TABLES:
        table = np.full(512, UNLABELLED, np.uint8)
        red, green, blue = np.array(voc_palette(num_classes)).T >> 5
        table[red << 6 | green << 3 | blue] = np.arange(num_classes)
        _PALETTE_TABLES[num_classes] = table
    return _PALETTE_TABLES[num_classes]


_PALETTE_TABLES: dict[int, np.ndarray] = {}


def _common_shape(images: list[np.ndarray | None], paths: list[str | None]) -> tuple[int, int]:
    """Height and width of the images that are there."""
    shapes = [None if image is None else image.shape[:2] for image in images]
    _require_one_shape(shapes, paths)
    return next(shape for shape in shapes if shape is not None)


def _require_one_shape(shapes: Sequence[tuple[int, int] | None], paths: Sequence[str | None]) -> None:
    first = {}
    for shape, path in zip(shapes, paths):
        if shape is not None:
            first.setdefault(shape, path)
    if len(first) > 1:
        sizes = ', '.join(f'{path} is {height}x{width}' for (height, width), path in first.items())
        raise ValueError(f'the pictures of a clip differ in size: {sizes} (height x width)')
