"""Heads: one file per method."""
from .avsegformer import AVSegFormerHead
from .combo import COMBOHead
from .ease import EASEHead
from .ravs import RAVSHead
from .tpavi import TPAVIHead
from .vct import VCTHead

__all__ = ['AVSegFormerHead', 'COMBOHead', 'EASEHead', 'RAVSHead', 'TPAVIHead', 'VCTHead']
