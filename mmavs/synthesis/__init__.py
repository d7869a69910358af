"""Synthetic clips in the on-disk layouts of AVSBench and VPO: procedural scenes, and composed photos and recordings."""
from .absent_audio import synthesize_absent_audio
from .synthesize import compose_clips, synthesize_clips

__all__ = ['compose_clips', 'synthesize_absent_audio', 'synthesize_clips']
