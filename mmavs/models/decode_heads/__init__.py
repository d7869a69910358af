"""Heads: one file per method."""
from .tpavi import TPAVIHead
from .vct import VCTHead

__all__ = ['TPAVIHead', 'VCTHead']
