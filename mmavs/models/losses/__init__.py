"""Losses that methods share."""
from .dice import dice_loss
from .prototype_contrast import PACLoss, prototype_audio_contrast
from .set_criterion import SetCriterion

__all__ = ['PACLoss', 'SetCriterion', 'dice_loss', 'prototype_audio_contrast']
