"""Heads: one file per method."""
from .avsegformer import AVSegFormerHead
from .ease import EASEHead
from .ravs import RAVSHead
from .tpavi import TPAVIHead
from .vct import VCTHead

__all__ = ['AVSegFormerHead', 'EASEHead', 'RAVSHead', 'TPAVIHead', 'VCTHead']
