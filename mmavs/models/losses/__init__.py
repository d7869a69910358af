"""Losses that methods share."""
from .audio_visual_matching import AudioVisualMatchingLoss, foreground_features
from .dice import dice_loss
from .frame_losses import frame_cross_entropy, frame_dice_loss, mean_of_frames
from .prototype_contrast import PACLoss, prototype_audio_contrast
from .set_criterion import SetCriterion

__all__ = [
    'AudioVisualMatchingLoss', 'PACLoss', 'SetCriterion', 'dice_loss', 'foreground_features', 'frame_cross_entropy',
    'frame_dice_loss', 'mean_of_frames', 'prototype_audio_contrast'
]
