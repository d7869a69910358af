"""Segmentors: where the visual and the audio branch meet."""
from mmavs.models.backbones.mask_prior import MaskPriorBranch

from .audio_visual_segmentor import AudioVisualSegmentor

__all__ = ['AudioVisualSegmentor', 'MaskPriorBranch']
