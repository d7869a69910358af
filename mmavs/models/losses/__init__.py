"""Losses of the methods."""
from .audio_visual_matching import AudioVisualMatchingLoss, foreground_features
from .dice import dice_loss
from .evidence import EvidenceLoss
from .frame_losses import (
    frame_binary_cross_entropy,
    frame_cross_entropy,
    frame_dice_loss,
    frame_overlap_losses,
    mean_of_frames,
)
from .mask_losses import (
    FrameBinaryCrossEntropyLoss,
    FrameCrossEntropyLoss,
    FrameDiceLoss,
    FrameLoss,
    IntermediateMaskLoss,
    MaskLoss,
    MixLoss,
)
from .prototype_contrast import PACLoss, prototype_audio_contrast
from .response_contrast import ResponseContrastLoss
from .set_criterion import SetCriterion
from .temporal_consistency import TemporalConsistencyLoss

__all__ = [
    'AudioVisualMatchingLoss', 'EvidenceLoss', 'FrameBinaryCrossEntropyLoss', 'FrameCrossEntropyLoss', 'FrameDiceLoss',
    'FrameLoss', 'IntermediateMaskLoss', 'MaskLoss', 'MixLoss', 'PACLoss', 'ResponseContrastLoss', 'SetCriterion',
    'TemporalConsistencyLoss', 'dice_loss', 'foreground_features', 'frame_binary_cross_entropy', 'frame_cross_entropy',
    'frame_dice_loss', 'frame_overlap_losses', 'mean_of_frames', 'prototype_audio_contrast'
]
