"""Segmentors: where the visual and the audio branch meet."""
from .audio_visual_segmentor import AudioVisualSegmentor
from .mask_prior import MaskPriorBranch

__all__ = ['AudioVisualSegmentor', 'MaskPriorBranch']
