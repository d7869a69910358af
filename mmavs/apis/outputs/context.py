"""Facts about a video that the files written for it need."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass(frozen=True)
class OutputContext:
    """Facts about a video that the files written for it need, beside the chunks.

    Attributes:
        dataset_meta: Of the model: classes and palette.
        palette: (K, 3) uint8 colors to draw the classes with, background first.
        fps: Frames per second that are segmented.
        audio: Arguments of :func:`mmavs.visualization.write_video` for the audio of the video.
        name: Name of the video, for titles.
    """
    dataset_meta: dict
    palette: np.ndarray
    fps: Fraction
    audio: dict
    name: str = ''

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, background first; empty if they are not known."""
        return self.dataset_meta.get('classes', ())
