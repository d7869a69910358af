"""Visual backbones beyond those of mmseg and mmpretrain."""
from .audio_guided import AudioGuidedBackbone
from .pvt_v2 import PVTv2
from .swin import SwinTransformer

__all__ = ['AudioGuidedBackbone', 'PVTv2', 'SwinTransformer']
