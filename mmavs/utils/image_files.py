"""Encode images and write them."""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from .files import atomic_write


def encode_image(image: np.ndarray, suffix: str, options: Sequence[int] = ()) -> bytes:
    """Encode an image.

    In memory, because OpenCV does not always notice that a file could not be written, for example to a full disk.

    Args:
        image: (H, W) or (H, W, 3), RGB, uint8.
        suffix: Suffix of the format, such as '.png'.
        options: Options of OpenCV's encoder.
    """
    return cv2.imencode(suffix, image[..., ::-1] if image.ndim == 3 else image, options)[1].tobytes()


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write an image atomically, in the format of the suffix; see :func:`encode_image`.

    Raises:
        OSError: The file cannot be written, for example because the disk is full; names the file.
    """
    encoded = encode_image(image, Path(path).suffix)
    with atomic_write(path) as partial:
        partial.write_bytes(encoded)
