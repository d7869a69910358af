"""Visual backbones beyond those of mmseg and mmpretrain."""
from .pvt_v2 import PVTv2
from .swin import SwinTransformer

__all__ = ['PVTv2', 'SwinTransformer']
