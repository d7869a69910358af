"""What every source of synthetic clips produces and every layout writes."""
from dataclasses import dataclass, field

import numpy as np


@dataclass
class SyntheticClip:
    """One clip with pixels and samples.

    Attributes:
        name: Unique within a data set.
        split: 'train', 'val' or 'test'.
        frames: (T, H, W, 3) uint8 RGB.
        masks: (T, H, W) uint8 class index of what sounds, 0 elsewhere.
        waveform: (L,) float32 in [-1, 1], 16 kHz.
        sounding: Categories that sound and are visible at any time, the main one first.
        description: What was put together; kept in the manifest.
    """

    name: str
    split: str
    frames: np.ndarray
    masks: np.ndarray
    waveform: np.ndarray
    sounding: list[str]
    description: dict = field(default_factory=dict)
