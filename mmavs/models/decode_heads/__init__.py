"""Heads: one file per method."""
from .avsegformer import AVSegFormerHead
from .tpavi import TPAVIHead
from .vct import VCTHead

__all__ = ['AVSegFormerHead', 'TPAVIHead', 'VCTHead']
