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
    """Overlay label maps on frames: translucent areas with a light contour.

    Args:
        frames: (T, H, W, 3) uint8, RGB.
        masks: (T, h, w) class of every pixel, resized to the frames by nearest neighbor; background (0) is left
            unchanged, unlabelled pixels (255) fade to gray.
        palette: Color [R, G, B] of each class, background first.
        alpha: Opacity of the areas in [0, 1].

    Returns:
        (T, H, W, 3) uint8, RGB.
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
        image = frame.astype(np.float32)
        image[mask == UNLABELLED] = 0.3 * image[mask == UNLABELLED] + 0.7 * FADED
        image[area] = (1 - alpha) * image[area] + alpha * colors[mask[area]]
        image = image.round().astype(np.uint8)
        for label in np.unique(mask[area]):
            contours, _ = cv2.findContours((mask == label).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            color = tuple(int(c) for c in 0.2 * colors[label] + 0.8 * 255)
            cv2.drawContours(image, contours, -1, color, max(1, round(min(height, width) / 200)), cv2.LINE_AA)
        painted.append(image)
    return np.stack(painted)
