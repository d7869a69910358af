"""Synthetic clips in the on-disk layouts of AVSBench and VPO: procedural scenes, composed photos and cut-outs."""
from .absent_audio import synthesize_absent_audio
from .cutout_dataset import compose_cutouts
from .synthesize import compose_clips, synthesize_clips

__all__ = ['compose_clips', 'compose_cutouts', 'synthesize_absent_audio', 'synthesize_clips']
