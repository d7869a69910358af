"""Heads: one file per method."""
from .vct import VCTHead

__all__ = ['VCTHead']
