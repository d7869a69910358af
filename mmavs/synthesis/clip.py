"""Data classes of a synthetic clip, which scenes and compositions produce and layouts write."""
from dataclasses import dataclass, field

import numpy as np


@dataclass
class ObjectAudio:
    """The audio of one visible object.

    Attributes:
        category: Category of the object.
        waveform: (L,) float32, 16 kHz.
        position: Position of the object, 0 at the left edge of the image and 1 at the right.
    """

    category: str
    waveform: np.ndarray
    position: float


@dataclass
class SyntheticClip:
    """One clip: frames, masks, audio and the classes in it.

    Attributes:
        name: Name, unique within a dataset.
        split: 'train', 'val' or 'test'.
        frames: (T, H, W, 3) uint8 RGB.
        masks: (T, H, W) uint8, class index of sounding objects, 0 elsewhere.
        waveform: (L,) float32 in [-1, 1], 16 kHz; the mix of ``object_audio`` if there is any.
        targets: Categories in the masks: sounding and visible at any time, the main one first.
        description: Entry of the manifest: the parts of the clip.
        object_audio: Audio of single objects, for VPO.
        sounding: Known sounding categories, visible or not.
        visible: Categories of all visible objects, sounding or not.
    """

    name: str
    split: str
    frames: np.ndarray
    masks: np.ndarray
    waveform: np.ndarray
    targets: list[str]
    description: dict = field(default_factory=dict)
    object_audio: list[ObjectAudio] = field(default_factory=list)
    sounding: list[str] = field(default_factory=list)
    visible: list[str] = field(default_factory=list)
