"""Overlay masks on the frames of a clip."""
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mmavs.structures import UNLABELLED

FADED = 225


def overlay_masks(frames: np.ndarray,
                  masks: np.ndarray,
                  palette: Sequence[Sequence[int]],
                  alpha: float = 0.5) -> np.ndarray:
    """Overlay label maps on frames: translucent areas with a line of their color, edged in white and black.

    Args:
        frames: (T, H, W, 3) uint8, RGB.
        masks: (T, h, w) class of every pixel, resized to the frames by nearest neighbor; background (0) is left
            unchanged, unlabelled pixels (255) fade to gray.
        palette: Color [R, G, B] of each class, background first.
        alpha: Opacity of the areas in [0, 1].

    Returns:
        (T, H, W, 3) uint8, RGB.

    Raises:
        ValueError: The numbers of frames and masks differ, or a class has no color in the palette.
    """
    if len(frames) != len(masks):
        raise ValueError(f'{len(frames)} frames, but {len(masks)} masks: expected one mask for each frame')
    height, width = frames.shape[1:3]
    colors = np.zeros((256, 3), np.float32)
    colors[:len(palette)] = palette
    painted = []
    for frame, mask in zip(frames, masks):
        mask = cv2.resize(np.asarray(mask, np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        labels = [int(label) for label in np.flatnonzero(cv2.calcHist([mask], [0], None, [256], [0, 256])) if label]
        classes = [label for label in labels if label != UNLABELLED]
        if classes and classes[-1] >= len(palette):
            raise ValueError(f'a mask holds class {classes[-1]}, but the palette has {len(palette)} colors, background '
                             'included: expected a color for each class')
        image, areas = np.array(frame, np.uint8, order='C'), {label: _area(mask, label) for label in labels}
        for label, area in areas.items():
            if label == UNLABELLED:
                _paint(image, area, np.full(3, FADED), 0.7)
            else:
                _paint(image, area, colors[label], alpha)
        _draw_outlines(image, {label: areas[label] for label in classes}, colors)
        painted.append(image)
    return np.stack(painted)


class _Area(NamedTuple):
    """Pixels of a class in a frame.

    Attributes:
        mask: (h, w) uint8, 255 in the area, inside of the box around it.
        box: Rows and columns of the box.
    """
    mask: np.ndarray
    box: tuple[slice, slice]


def _area(mask: np.ndarray, label: int) -> _Area:
    area = cv2.compare(mask, label, cv2.CMP_EQ)
    left, top, width, height = cv2.boundingRect(area)
    box = slice(top, top + height), slice(left, left + width)
    return _Area(area[box], box)


def _paint(image: np.ndarray, area: _Area, color: np.ndarray, alpha: float) -> None:
    """Blend a color into an area, by a table of the 256 values of a pixel: frames of videos have millions of pixels."""
    values = (1 - alpha) * np.arange(256, dtype=np.float32)[:, None] + alpha * np.asarray(color, np.float32)
    table = values.round().astype(np.uint8)[:, None]
    view = image[area.box]
    cv2.copyTo(cv2.LUT(view, table), area.mask, view)


def _draw_outlines(image: np.ndarray, areas: dict[int, _Area], colors: np.ndarray) -> None:
    """Draw the outlines of all classes: outside a white and a black edge, with which any color shows anywhere."""
    width = max(1, round(min(image.shape[:2]) / 200))
    outlines = []
    for label, area in areas.items():
        offset = area.box[1].start, area.box[0].start
        contours, _ = cv2.findContours(area.mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=offset)
        outlines.append((contours, tuple(int(value) for value in colors[label])))
    inside = {label: image[area.box].copy() for label, area in areas.items()}
    for edge, times in (((0, 0, 0), 5), ((255, 255, 255), 3)):
        for contours, _ in outlines:
            cv2.drawContours(image, contours, -1, edge, times * width, cv2.LINE_AA)
    for label, area in areas.items():
        cv2.copyTo(inside[label], area.mask, image[area.box])
    for contours, color in outlines:
        cv2.drawContours(image, contours, -1, color, width, cv2.LINE_AA)
