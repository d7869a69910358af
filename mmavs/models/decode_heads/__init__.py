"""Heads: one file per method."""
from .avsegformer import AVSegFormerHead
from .combo import COMBOHead
from .ravs import RAVSHead
from .tpavi import TPAVIHead
from .vct import VCTHead

__all__ = ['AVSegFormerHead', 'COMBOHead', 'RAVSHead', 'TPAVIHead', 'VCTHead']
