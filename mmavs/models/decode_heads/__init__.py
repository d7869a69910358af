"""Heads: one file per method."""
from .avsegformer import AVSegFormerHead
from .ravs import RAVSHead
from .tpavi import TPAVIHead
from .vct import VCTHead

__all__ = ['AVSegFormerHead', 'RAVSHead', 'TPAVIHead', 'VCTHead']
