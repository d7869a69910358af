"""Predicted masks as images."""
import numpy as np
from PIL import Image

from .palette import voc_palette


def mask_palette(dataset_meta: dict | None) -> list[int] | None:
    """Return the colors of the classes of a dataset for :func:`mask_image`, None for one foreground class.

    Args:
        dataset_meta: Meta information with ``classes`` and ``palette``; without a palette, the PASCAL-VOC color map.
    """
    meta = dataset_meta or {}
    if len(meta.get('classes') or ()) <= 2:
        return None
    return np.array(meta.get('palette') or voc_palette(256), np.uint8).ravel().tolist()


def mask_image(mask: np.ndarray, palette: list[int] | None) -> Image.Image:
    """Make an image of a mask that any program shows: class indices with colors, or 0 and 255 without a palette.

    Args:
        mask: (H, W) uint8, class of every pixel.
        palette: Of :func:`mask_palette`.
    """
    image = Image.fromarray(mask if palette else (mask != 0) * np.uint8(255))
    if palette:
        image.putpalette(palette)
    return image
