"""Segmentors, which combine the visual branch, the audio branch and a head."""
from .audio_visual_segmentor import AudioVisualSegmentor
from .presence import AudioPresence

__all__ = ['AudioPresence', 'AudioVisualSegmentor']
