"""Visual backbones beyond those of mmseg and mmpretrain."""
from .swin import SwinTransformer

__all__ = ['SwinTransformer']
