"""Transforms that load clips, apply image transforms to all frames, and pack clips for the model."""
from .audio import FlipAudio, LoadAudio, LoadMixedAudio, MuteAudio
from .audio_augmentation import AugmentAudio
from .caching import CachedTransforms
from .formatting import GenerateEventLabels, PackClipInputs
from .geometry import ClipBroadcaster, Pad, ResizeShortSide, ResizeToSquare
from .loading import FillMaskPrior, LoadClipFrames, LoadClipMasks, LoadMaskPrior

__all__ = [
    'AugmentAudio', 'CachedTransforms', 'ClipBroadcaster', 'FillMaskPrior', 'FlipAudio', 'GenerateEventLabels',
    'LoadAudio', 'LoadClipFrames', 'LoadClipMasks', 'LoadMaskPrior', 'LoadMixedAudio', 'MuteAudio', 'PackClipInputs',
    'Pad', 'ResizeShortSide', 'ResizeToSquare'
]
