"""Overlay masks on the frames of a clip."""
from collections.abc import Sequence

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
