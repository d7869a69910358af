"""Losses that methods share."""
from .audio_visual_matching import AudioVisualMatchingLoss, foreground_features
from .dice import dice_loss
from .prototype_contrast import PACLoss, prototype_audio_contrast
from .set_criterion import SetCriterion

__all__ = [
    'AudioVisualMatchingLoss', 'PACLoss', 'SetCriterion', 'dice_loss', 'foreground_features', 'prototype_audio_contrast'
]
