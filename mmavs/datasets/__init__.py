"""Clip datasets, their transforms and wrappers."""
from .avsbench_object import AVSBenchMS3Dataset, AVSBenchS4Dataset
from .avss import AVSSDataset
from .avss_parts import BinaryAVSSDataset
from .clip_dataset import ClipDataset
from .samplers import SeededInfiniteSampler
from .transforms import *  # noqa: F401,F403
from .vpo import VPODataset
from .wrappers import NegativeAudio, ReplaceAudio, SingleFrames, SwapAudio

__all__ = [
    'AVSBenchMS3Dataset', 'AVSBenchS4Dataset', 'AVSSDataset', 'BinaryAVSSDataset', 'ClipDataset', 'NegativeAudio',
    'ReplaceAudio', 'SeededInfiniteSampler', 'SingleFrames', 'SwapAudio', 'VPODataset'
]
