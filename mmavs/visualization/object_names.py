"""Names of objects on frames: where they are written, and the writing."""
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmavs.structures import UNLABELLED

# Height of letters as a fraction of the shorter side of a frame, and the least number of pixels.
LETTER_SIZE, MIN_LETTERS = 1 / 26, 9
# Shorter side of the masks in which objects are located: names need no more precision.
LOCATING_SIDE = 360


class ObjectName(NamedTuple):
    """Name of an object in a frame, and the point to write it at.

    Attributes:
        text: The name.
        x: Position from the left, as a fraction of the width.
        y: Position from the top, as a fraction of the height.
    """
    text: str
    x: float
    y: float


def locate_names(masks: np.ndarray, classes: Sequence[str]) -> list[list[ObjectName]]:
    """Find a point inside each object of each frame where its name can be written.

    An object is a connected area of one class. Specks (below a thousandth of the frame) get no name unless they are
    the largest area of their class.

    Args:
        masks: (T, h, w) class of every pixel, 0 background, 255 unlabelled.
        classes: Names of the classes, background first.

    Returns:
        Names of each of the T frames, the largest object first. The point is the one farthest from the outline.
    """
    return [_locate_names_of_frame(np.asarray(mask, np.uint8), classes) for mask in masks]


def _locate_names_of_frame(mask: np.ndarray, classes: Sequence[str]) -> list[ObjectName]:
    height, width = mask.shape
    found = []
    for label in np.unique(mask[(mask != 0) & (mask != UNLABELLED)]):
        count, areas, stats, _ = cv2.connectedComponentsWithStats((mask == label).astype(np.uint8))
        sizes = stats[:, cv2.CC_STAT_AREA]
        for index in range(1, count):
            if sizes[index] < max(1, mask.size / 1000) and sizes[index] < sizes[1:].max():
                continue
            # The frame's edge counts as outline, so that the point is not on it.
            inside = np.pad((areas == index).astype(np.uint8), 1)
            y, x = np.unravel_index(cv2.distanceTransform(inside, cv2.DIST_L2, 3).argmax(), inside.shape)
            found.append((sizes[index], ObjectName(class_name(classes, label), (x - 0.5) / width, (y - 0.5) / height)))
    return [name for _, name in sorted(found, key=lambda entry: -entry[0])]


def class_name(classes: Sequence[str], label: int) -> str:
    """Name of a class; ``class 7`` if the dataset names fewer."""
    return classes[label] if label < len(classes) else f'class {label}'


def place_names(names: Sequence[ObjectName], width: float, height: float, line: float,
                measure: Callable[[str], float]) -> list[tuple[str, float, float]]:
    """Find places for names on an image: inside its edges, and one below the other if they overlap.

    Args:
        names: The names, the most important first.
        width: Width of the image, in any unit.
        height: Height of the image.
        line: Height of a line of text.
        measure: Width of a text.

    Returns:
        Text, center x and center y of each name. Those wider than the image are cut, those without room left out.
    """
    placed: list[tuple[str, float, float]] = []
    taken: list[tuple[float, float, float]] = []
    for name in names:
        text = shorten_text(name.text, width, measure)
        half = measure(text) / 2
        center = min(max(name.x * width, half), max(width - half, half))
        for step in (0, 1, -1, 2, -2):
            middle = min(max(name.y * height, line / 2), height - line / 2) + step * line
            overlaps = any(abs(center - a) < half + h and abs(middle - b) < 0.99 * line for a, b, h in taken)
            if not overlaps and line / 2 - 1e-9 <= middle <= height - line / 2 + 1e-9:
                taken.append((center, middle, half))
                placed.append((text, center, middle))
                break
    return placed


def shorten_text(text: str, width: float, measure: Callable[[str], float]) -> str:
    """Cut a text that is wider than ``width``, and end it with an ellipsis."""
    if measure(text) <= width:
        return text
    while text and measure(f'{text}…') > width:
        text = text[:-1]
    return f'{text}…'


def write_names(image: np.ndarray, mask: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Write the names of its objects on a frame: white letters with a black edge, legible on any background.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) class of every pixel.
        classes: Names of the classes, background first.

    Returns:
        The frame with the names; the same array if there are none.
    """
    height, width = image.shape[:2]
    step = max(1, min(height, width) // LOCATING_SIDE)
    names, = locate_names(mask[None, ::step, ::step], classes)
    if not names:
        return image
    size = max(MIN_LETTERS, round(min(height, width) * LETTER_SIZE))
    edge, font = max(1, round(size / 9)), _font(size)
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for text, x, y in place_names(names, width, height, 1.3 * size, lambda text: font.getlength(text) + 2 * edge):
        draw.text((x, y), text, (255, 255, 255), font, 'mm', stroke_width=edge, stroke_fill=(0, 0, 0))
    return np.asarray(canvas)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # The font of the figures, which comes with Matplotlib.
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / 'fonts/ttf/DejaVuSans.ttf', size)
