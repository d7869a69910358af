"""What every source of synthetic clips produces and every layout writes."""
from dataclasses import dataclass, field

import numpy as np


@dataclass
class ObjectSound:
    """The sound of one visible object.

    Attributes:
        category: Of the object.
        waveform: (L,) float32, 16 kHz.
        position: Of the object, 0 at the left edge of the picture and 1 at the right.
    """

    category: str
    waveform: np.ndarray
    position: float


@dataclass
class SyntheticClip:
    """One clip with pixels and samples.

    Attributes:
        name: Unique within a data set.
        split: 'train', 'val' or 'test'.
        frames: (T, H, W, 3) uint8 RGB.
        masks: (T, H, W) uint8 class index of what sounds, 0 elsewhere.
        waveform: (L,) float32 in [-1, 1], 16 kHz; the mix of ``sounds`` where there are any.
        sounding: Categories that sound and are visible at any time, the main one first.
        description: What was put together; kept in the manifest.
        sounds: Of single objects, for VPO.
        heard: Categories that sound, visible or not, as far as they are known.
        visible: Categories of all that is seen, sounding or not.
    """

    name: str
    split: str
    frames: np.ndarray
    masks: np.ndarray
    waveform: np.ndarray
    sounding: list[str]
    description: dict = field(default_factory=dict)
    sounds: list[ObjectSound] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    visible: list[str] = field(default_factory=list)
