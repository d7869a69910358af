"""Synthetic clips in the on-disk layouts of AVSBench: procedural scenes, and pictures composed with sounds."""
from .synthesize import synthesize_clips

__all__ = ['synthesize_clips']
