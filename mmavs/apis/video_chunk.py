"""Results of a part of a video."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class VideoChunk:
    """Consecutive frames of a video with their predictions.

    Attributes:
        start: Index of the first frame.
        times: (t,) seconds from the first frame of the video.
        frames: t frames (H, W, 3) uint8 RGB; none if nothing that takes the chunk needs them.
        masks: (t, H, W) uint8, class of every pixel.
        foreground_prob: (t, H, W) float16, above 0.5 where an object sounds; None unless requested.
    """
    start: int
    times: np.ndarray
    frames: list[np.ndarray]
    masks: np.ndarray
    foreground_prob: np.ndarray | None = None
