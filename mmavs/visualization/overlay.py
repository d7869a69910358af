"""Overlay masks on the frames of a clip."""
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mmavs.structures import UNLABELLED

FADED = 225


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
        area = (mask != 0) & (mask != UNLABELLED)
        labels = np.unique(mask[area])
        if len(labels) and labels[-1] >= len(palette):
            raise ValueError(f'a mask holds class {labels[-1]}, but the palette has {len(palette)} colors, background '
                             'included: expected a color for each class')
        image = frame.astype(np.float32)
        image[mask == UNLABELLED] = 0.3 * image[mask == UNLABELLED] + 0.7 * FADED
        image[area] = (1 - alpha) * image[area] + alpha * colors[mask[area]]
        image = image.round().astype(np.uint8)
        _draw_outlines(image, mask, area, labels, colors)
        painted.append(image)
    return np.stack(painted)


def _draw_outlines(image: np.ndarray, mask: np.ndarray, area: np.ndarray, labels: np.ndarray,
                   colors: np.ndarray) -> None:
    """Draw the outlines of all classes: outside a white and a black edge, with which any color shows anywhere."""
    width = max(1, round(min(mask.shape) / 200))
    outlines = [
        (cv2.findContours((mask == label).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0],
         tuple(int(value) for value in colors[label])) for label in labels
    ]
    inside = image[area]
    for edge, times in (((0, 0, 0), 5), ((255, 255, 255), 3)):
        for contours, _ in outlines:
            cv2.drawContours(image, contours, -1, edge, times * width, cv2.LINE_AA)
    image[area] = inside
    for contours, color in outlines:
        cv2.drawContours(image, contours, -1, color, width, cv2.LINE_AA)


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
