"""Mask priors, the second image branch of COMBO and VCT: the regions of a frame as an image of colors.

A mask prior is made of class-agnostic masks. They are sorted by area; the id of a pixel is the rank of the smallest
mask that covers it, counted from 1, and 0 without one. Ids are stored as a PNG file with the 150 colors of ADE20K,
which models get as an RGB image. A color therefore tells how large a region is among those of its frame, not what it
is.

Source: avs_tools/pre_mask and pre_mask2rgb of the released code of COMBO, which VCT uses too.
"""
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from mmcv import imresize
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmavs.utils.files import atomic_write, require_regular
from mmavs.utils.images import open_image, read_image

#: End of the names of the files: ``0_mask_color.png`` belongs to the frame ``0.jpg``.
PRIOR_SUFFIX = '_mask_color.png'
#: End of the names of Semantic-SAM's masks in the authors' preparation.
MASKS_SUFFIX = '_mask.npy'
#: Color of the id 0, pixels that no mask covers.
UNCOVERED_COLOR = (120, 120, 120)
# Entry of the PNG files that says of which frame and with which settings they were made.
KEY_ENTRY = 'mmavs'


def ids_from_masks(masks: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """Combine the masks of a frame into an id map.

    Masks are sorted by area, those of equal area in the given order. The id of a pixel is the rank, from 1 on, of the
    smallest mask that covers it. Ids are bytes and wrap, as in the released code under NumPy 1: rank 257 is stored as
    1. Rank 256 is stored as 0, so its pixels go to the next larger mask that covers them.

    Args:
        masks: (N, H, W) bool. N may be 0 if the array has that shape.

    Returns:
        (H, W) uint8, 0 where no mask is.

    Raises:
        TypeError: The masks are not bool.
        ValueError: They have another shape.
    """
    masks = np.asarray(masks)
    if masks.ndim != 3:
        raise ValueError(f'masks have the shape {masks.shape}, expected (N, H, W)')
    if masks.dtype != bool:
        raise TypeError(f'masks are of type {masks.dtype}, expected bool')
    ids = np.zeros(masks.shape[1:], np.uint8)
    order = np.argsort(masks.sum((1, 2)), kind='stable')
    for rank, index in enumerate(order, 1):
        ids[masks[index] & (ids == 0)] = rank % 256
    return ids


def resize_ids(ids: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize an id map (H, W) to the nearest pixels, as Pillow does; ``shape`` is (height, width)."""
    return ids if ids.shape == shape else imresize(ids, shape[::-1], interpolation='nearest', backend='pillow')


@cache
def prior_palette() -> np.ndarray:
    """Colors of the ids, (256, 3) uint8: the 150 of ADE20K, then black."""
    from mmseg.datasets import ADE20KDataset
    palette = np.zeros((256, 3), np.uint8)
    palette[:150] = ADE20KDataset.METAINFO['palette']
    palette.flags.writeable = False
    return palette


def render_prior(ids: np.ndarray) -> np.ndarray:
    """Color an id map (H, W): (H, W, 3) uint8 RGB, as :func:`write_prior` stores it and the datasets read it."""
    return prior_palette()[ids]


def write_prior(path: str | Path, ids: np.ndarray, key: str = '') -> None:
    """Write an id map (H, W) uint8 as a PNG file with its palette, atomically.

    Args:
        path: The file, whose name ends with ``_mask_color.png`` for the datasets.
        ids: The id map.
        key: Of :func:`prior_key`, stored as text in the file.
    """
    image = Image.fromarray(ids)
    image.putpalette(prior_palette().tobytes())
    info = PngInfo()
    if key:
        info.add_text(KEY_ENTRY, key)
    with atomic_write(path) as partial:
        image.save(partial, 'PNG', pnginfo=info)


def stored_key(path: str | Path) -> str | None:
    """Return the key with which a mask prior was written; None if there is no such file, it has none or is damaged."""
    try:
        with open_image(path, 'mask prior') as image:
            key = image.info.get(KEY_ENTRY)
            image.load()  # an incomplete file does not count
        return key
    except Exception:  # Pillow raises any error on damaged files.
        return None


def prior_key(frame: np.ndarray, settings: Mapping[str, Any], fingerprint: str = '') -> str:
    """Identify a mask prior by what decides its content.

    Args:
        frame: (H, W, 3) uint8.
        settings: Settings of the generator.
        fingerprint: Digest of the file of masks that it is made of, if there is one.

    Returns:
        A SHA-256 in hexadecimal.
    """
    head = json.dumps([frame.shape, settings, fingerprint], sort_keys=True)
    return hashlib.sha256(head.encode() + np.ascontiguousarray(frame).data).hexdigest()


def read_masks(path: str | Path) -> np.ndarray:
    """Read the masks of a frame from a ``*_mask.npy`` file of the authors' preparation with Semantic-SAM.

    Returns:
        (N, H, W) bool; N is 0 for the zeros (1, H, W) of any type that stand for a frame without masks.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not an array of that kind. Pickled objects are never loaded.
    """
    masks = _load_array(path, 'masks')
    if masks.ndim != 3 or 0 in masks.shape[1:]:
        raise ValueError(f'{path}: the array has the shape {masks.shape}, expected masks (N, H, W)')
    if masks.dtype == bool:
        return np.array(masks)
    if masks.dtype.kind in 'uif' and len(masks) == 1 and not masks.any():
        return np.zeros((0, *masks.shape[1:]), bool)
    raise ValueError(f'{path}: the array is of type {masks.dtype}, expected bool, or zeros (1, H, W) for a frame '
                     'without masks')


def read_id_map(path: str | Path) -> np.ndarray:
    """Read an id map from a PNG file (gray, or with a palette) or an array (``.npy``).

    Returns:
        (H, W) uint8.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be decoded, or is not an id map: one channel, ids from 0 to 255.
    """
    ids = _load_array(path, 'id map') if str(path).endswith('.npy') else read_image(path, 'id map')
    if ids.ndim != 2 or 0 in ids.shape or ids.dtype.kind not in 'ui':
        raise ValueError(f'{path}: the id map has the shape {ids.shape} and the type {ids.dtype}, expected (H, W) of '
                         'integers: one channel that holds ids, not colors')
    if ids.min() < 0 or ids.max() > 255:
        raise ValueError(f'{path}: ids from {ids.min()} to {ids.max()}, expected 0 to 255')
    return ids.astype(np.uint8)


def _load_array(path: str | Path, content: str) -> np.ndarray:
    try:
        require_regular(path, 'an array of NumPy')
        # Mapped, not read: the size that the header claims is then compared with that of the file.
        array = np.load(path, mmap_mode='r', allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f'{path}: the {content} file is missing') from None
    except Exception as error:  # NumPy raises any error on damaged files.
        raise ValueError(f'{path}: not a complete .npy file of numbers ({error})') from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f'{path}: an archive of arrays, expected a .npy file')
    return array
