"""Load the frames, mask priors and masks of a clip."""
from collections.abc import Sequence
from functools import cache

import numpy as np
from mmcv.transforms import BaseTransform

from mmavs.registry import TRANSFORMS
from mmavs.structures import UNLABELLED
from mmavs.utils.images import image_shape, read_image
from mmavs.utils.palette import voc_palette

from ..mask_priors import UNCOVERED_COLOR

# The mean that all methods normalize with.
PADDING_COLOR = (124, 116, 104)
# VOC's color of unlabelled pixels, that of class 255.
UNLABELLED_COLOR = voc_palette(UNLABELLED + 1)[UNLABELLED]


@TRANSFORMS.register_module()
class LoadClipFrames(BaseTransform):
    """Read the frames of a clip in RGB, see :func:`mmavs.utils.images.read_image`.

    Padding frames get the color (124, 116, 104); the data preprocessor sets them to 0 after normalization.

    Required keys: ``frame_paths``. Added keys: ``frames``, a list of T arrays (H, W, 3) uint8; ``ori_shape``, (H, W).

    Raises:
        FileNotFoundError: A frame is missing.
        ValueError: A frame cannot be decoded, the frames differ in size, or masks that have been loaded before have
            another aspect ratio.
    """

    path_key = 'frame_paths'

    def transform(self, results: dict) -> dict:
        """Read the frames."""
        paths = results['frame_paths']
        frames = [read_image(path, 'frame', 'RGB') if path is not None else None for path in paths]
        results['ori_shape'] = _common_shape(frames, paths)
        padding = np.empty((*results['ori_shape'], 3), np.uint8)
        padding[:] = PADDING_COLOR
        results['frames'] = [padding if frame is None else frame for frame in frames]
        if 'masks' in results:
            _require_same_aspect(results, results['ori_shape'], results['masks'][0].shape)
        return results

    def check_files(self, clip: dict) -> None:
        """Raise an error if a frame of a clip is damaged or differs in size from the others."""
        check_images(clip['frame_paths'], 'frame')


@TRANSFORMS.register_module()
class LoadMaskPrior(BaseTransform):
    """Read the mask prior (a rendered segmentation) of each frame in RGB.

    Does nothing without ``mask_prior`` in the dataset's ``data_prefix``: one pipeline serves both cases.

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
        """Raise an error if a mask prior of a clip is damaged or differs in size from the others."""
        check_images(clip.get('mask_prior_paths') or (), 'mask prior')


@TRANSFORMS.register_module()
class FillMaskPrior(BaseTransform):
    """Make mask priors without regions, of the constant gray (120, 120, 120), in place of :class:`LoadMaskPrior`.

    Required keys: ``frames``. Added keys: ``mask_prior``, a list of T arrays of the size of the frames.
    """

    def transform(self, results: dict) -> dict:
        """Make the mask priors."""
        results['mask_prior'] = [np.full_like(frame, UNCOVERED_COLOR) for frame in results['frames']]
        return results


@TRANSFORMS.register_module()
class LoadClipMasks(BaseTransform):
    """Read the ground truth of a clip: the class of every pixel, 255 in frames without ground truth.

    ``results['mask_encoding']`` states how masks are stored:

    - 'binary': gray, palette, bilevel or RGB images of 0 and 255 (or 65535); values of 128 and more are foreground.
      More pixels between 0 and 255 than at 255 are an error (class indices were stored, for example).
    - 'index': the stored value (of a gray or palette image) is the class. Other values are an error.
    - 'palette': RGB in PASCAL-VOC colors. Other colors are an error.
    - 'nonzero': every value but 0, of a gray or palette image of classes, or color but black, is foreground; 255 is
      unlabelled.
    - 'category': the stored value (of a gray or palette image) is the id of a category, whose class is its position in
      ``results['category_ids']``; 255 is unlabelled. Other values are an error.

    Clips without any ground truth get no ``masks``.

    Args:
        off_palette: Treatment of colors of 'palette' masks that belong to no class: 'error', or 'background' as in the
            released code of AVSBench and AVSegFormer, which take the argmax over the colors that a pixel equals: 0 if
            none does. (VCT reads class indices.) Their published numbers include that rule; whether the published
            masks have such pixels is not known.
        allow_unlabelled: Whether 255 in masks of 'index' and 'nonzero', and VOC's (224, 224, 192) in 'palette' masks,
            are unlabelled pixels instead of an error. Losses of frames and the dataset protocol skip such pixels; for
            the segments of VCT's set criterion they are outside of every segment, as in Mask2Former. The avsbench
            protocol scores every pixel and refuses them.

    Required keys: ``mask_paths``, ``mask_encoding``, ``num_classes``; ``category_ids`` for 'category'. Added keys:
    ``masks``, a list of T arrays (H, W) uint8.

    Raises:
        FileNotFoundError: A mask is missing.
        ValueError: A mask cannot be decoded, holds other values than the classes, the masks differ in size, or have
            another aspect ratio than the frames: their pixels would not be those of the frames.
    """

    path_key = 'mask_paths'

    def __init__(self, off_palette: str = 'error', allow_unlabelled: bool = False) -> None:
        if off_palette not in ('error', 'background'):
            raise ValueError(f"off_palette is {off_palette!r}, expected 'error' or 'background'")
        self.off_palette = off_palette
        self.allow_unlabelled = allow_unlabelled
        # The flags of mmavs check-data for this treatment.
        self.check_flags = ['--off-palette', off_palette] * (off_palette != 'error')
        self.check_flags += ['--allow-unlabelled'] * allow_unlabelled

    def transform(self, results: dict) -> dict:
        """Read the masks."""
        paths = results['mask_paths']
        if all(path is None for path in paths):
            return results
        masks = [
            read_mask(path, results['mask_encoding'], results['num_classes'], self.off_palette,
                      results.get('category_ids', ()), self.allow_unlabelled) if path is not None else None
            for path in paths
        ]
        unlabelled = np.full(_common_shape(masks, paths), UNLABELLED, np.uint8)
        results['masks'] = [unlabelled if mask is None else mask for mask in masks]
        if 'frames' in results:
            _require_same_aspect(results, results['ori_shape'], unlabelled.shape)
        return results

    def check_files(self, clip: dict) -> None:
        """Raise an error if a mask of a clip cannot be used; this decodes the masks."""
        masks = self.transform(dict(clip)).get('masks')
        frame = next((path for path in clip.get('frame_paths', ()) if path is not None), None)
        if masks and frame is not None:
            _require_same_aspect(clip, image_shape(frame, 'frame'), masks[0].shape)


def check_images(paths: Sequence[str | None], kind: str) -> None:
    """Raise the errors of :func:`image_shape`, and one if sizes differ."""
    _require_one_shape([None if path is None else image_shape(path, kind) for path in paths], paths)


def same_aspect(shape: tuple[int, int], other: tuple[int, int]) -> bool:
    """Check if one size (height, width) is the other one, scaled and rounded to whole pixels."""
    (height, width), (other_height, other_width) = shape, other
    return abs(height * other_width - width * other_height) <= max(height + width, other_height + other_width)


def _require_same_aspect(clip: dict, frames: tuple[int, int], masks: tuple[int, int]) -> None:
    if not same_aspect(frames, masks):
        first = next(path for path in clip['mask_paths'] if path is not None)
        raise ValueError(f'{first}: the mask is {masks[0]}x{masks[1]}, the frames are {frames[0]}x{frames[1]} (height '
                         'x width): expected the same aspect ratio, since both are resized to one size; were the masks '
                         'made of rotated or cropped frames?')


def read_mask(path: str,
              encoding: str,
              num_classes: int,
              off_palette: str = 'error',
              category_ids: Sequence[int] = (),
              allow_unlabelled: bool = False) -> np.ndarray:
    """Decode one mask to classes, (H, W) uint8; see :class:`LoadClipMasks`.

    Args:
        path: The image file.
        encoding: 'binary', 'index', 'palette' or 'category'; 'auto' takes 'palette' for a color image, 'index' for one
            channel, and with two classes 'binary' unless all values are 0 or 1.
        num_classes: K, background included.
        off_palette: See :class:`LoadClipMasks`.
        category_ids: Ids of the K classes in masks of 'category'.
        allow_unlabelled: See :class:`LoadClipMasks`.
    """
    if encoding == 'auto':
        values = read_image(path, 'mask')
        if num_classes > 2:
            encoding = 'index' if values.ndim == 2 else 'palette'
        else:
            encoding = 'index' if values.ndim == 2 and values.max() <= 1 else 'binary'
        if encoding == 'index':
            return _check_index(values, path, num_classes, allow_unlabelled)
    if encoding == 'binary':
        return _decode_binary(_read_binary(path), path)
    if encoding == 'index':
        return _check_index(read_image(path, 'mask'), path, num_classes, allow_unlabelled)
    if encoding == 'palette':
        return _decode_palette(read_image(path, 'mask', 'RGB'), path, num_classes, off_palette, allow_unlabelled)
    if encoding == 'nonzero':
        return _decode_nonzero(read_image(path, 'mask'), path, allow_unlabelled)
    if encoding == 'category':
        return _decode_category(read_image(path, 'mask'), path, tuple(category_ids))
    raise ValueError(f"{path}: mask_encoding is {encoding!r}, expected 'binary', 'index', 'palette', "
                     "'nonzero', 'category' or 'auto'")


def _read_binary(path: str) -> np.ndarray:
    """Gray values of a binary mask; those of 16 bits may reach from 0 to 255 or to 65535."""
    values = read_image(path, 'mask', 'L', wide=True)
    if values.dtype == np.uint16:
        return (values if values.max() <= 255 else values >> 8).astype(np.uint8)
    return values


def _decode_binary(values: np.ndarray, path: str) -> np.ndarray:
    # Conversions may have softened outlines to a few gray values.
    gray = (values != 0) & (values != 255)
    if np.count_nonzero(gray) > np.count_nonzero(values == 255):
        raise ValueError(f'{path}: mask value {values[gray].max()} ({np.count_nonzero(gray)} pixels are neither 0 nor '
                         '255) is outside the classes, expected 0 (background) and 255 (sounding object)')
    return (values >= 128).view(np.uint8)


def _check_index(values: np.ndarray, path: str, num_classes: int, allow_unlabelled: bool) -> np.ndarray:
    _require_one_channel(values, path, 'class indices')
    wrong = values >= num_classes
    if allow_unlabelled:
        wrong &= values != UNLABELLED
    if wrong.any():
        value, hint = int(values[wrong].max()), ''
        if value == UNLABELLED:
            hint = '; LoadClipMasks(allow_unlabelled=True) reads 255 as unlabelled'
        raise ValueError(f'{path}: mask value {value} is outside the classes, expected 0 to {num_classes - 1}{hint}')
    return values.astype(np.uint8, copy=False)


def _decode_nonzero(values: np.ndarray, path: str, allow_unlabelled: bool) -> np.ndarray:
    if values.ndim == 3:  # colors, without an alpha channel
        return values[..., :3].any(-1).view(np.uint8)
    unlabelled = values == UNLABELLED
    if unlabelled.any() and not allow_unlabelled:
        raise ValueError(f'{path}: mask value 255 is outside the classes, expected class indices, 0 for the '
                         'background; LoadClipMasks(allow_unlabelled=True) reads 255 as unlabelled')
    mask = (values != 0).view(np.uint8)
    mask[unlabelled] = UNLABELLED
    return mask


def _decode_category(values: np.ndarray, path: str, category_ids: tuple[int, ...]) -> np.ndarray:
    _require_one_channel(values, path, 'category ids')
    largest = int(values.max())
    # Map all ids at once. If they were replaced one by one, a new value could be taken for another id.
    table = _category_table(category_ids)
    unknown = [largest] if largest > UNLABELLED else np.flatnonzero(
        (table < 0) & (np.bincount(values.ravel(), minlength=UNLABELLED + 1) > 0)).tolist()
    if unknown:
        raise ValueError(f'{path}: mask value {unknown[0]} is not the id of a class, expected '
                         f"{', '.join(map(str, sorted(category_ids)))}, or {UNLABELLED} for unlabelled pixels")
    return table.astype(np.uint8)[values]


@cache
def _category_table(category_ids: tuple[int, ...]) -> np.ndarray:
    """Class of each of the 256 values, (256,) int16; -1 for values that are not an id, 255 stays 255."""
    table = np.full(UNLABELLED + 1, -1, np.int16)
    table[UNLABELLED] = UNLABELLED
    table[list(category_ids)] = np.arange(len(category_ids))
    return table


def _require_one_channel(values: np.ndarray, path: str, content: str) -> None:
    if values.ndim != 2:
        raise ValueError(f'{path}: the mask has {values.shape[2]} channels, expected one that holds {content}')


def _decode_palette(colors: np.ndarray, path: str, num_classes: int, off_palette: str,
                    allow_unlabelled: bool) -> np.ndarray:
    red, green, blue = colors[..., 0], colors[..., 1], colors[..., 2]
    # VOC colors of less than 512 classes differ in the three highest bits of each channel; the other bits are 0.
    key = (red & 0xE0).astype(np.uint16) << 1 | (green & 0xE0).astype(np.uint16) >> 2 | blue >> 5
    mask = _palette_table(num_classes)[key]
    mask[((red | green | blue) & 0x1F) != 0] = UNLABELLED
    unknown = mask == UNLABELLED
    if allow_unlabelled and unknown.any():
        unknown &= (colors != UNLABELLED_COLOR).any(-1)
    if unknown.any():
        if off_palette == 'error':
            color = tuple(colors[unknown][0].tolist())
            raise ValueError(
                f'{path}: the color {color} ({np.count_nonzero(unknown)} pixels) is none of the {num_classes} '
                "classes, expected PASCAL-VOC colors; LoadClipMasks(off_palette='background') reads it as background")
        mask[unknown] = 0
    return mask


@cache
def _palette_table(num_classes: int) -> np.ndarray:
    """Class of the VOC color with the high bits RRRGGGBBB, (512,) uint8; 255 for colors of no class."""
    table = np.full(512, UNLABELLED, np.uint8)
    red, green, blue = np.array(voc_palette(num_classes)).T >> 5
    table[red << 6 | green << 3 | blue] = np.arange(num_classes)
    return table


def _common_shape(images: list[np.ndarray | None], paths: list[str | None]) -> tuple[int, int]:
    """Height and width of the images that are not None."""
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
        raise ValueError(f'the images of a clip differ in size: {sizes} (height x width)')
