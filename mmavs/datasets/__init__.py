"""Clip datasets, their transforms and wrappers."""
from .avsbench_object import AVSBenchMS3Dataset, AVSBenchS4Dataset
from .avss import AVSSDataset
from .clip_dataset import ClipDataset
from .samplers import SeededInfiniteSampler
from .transforms import *  # noqa: F401,F403
from .vpo import VPODataset
from .wrappers import NegativeAudio, ReplaceAudio, SwapAudio

__all__ = [
    'AVSBenchMS3Dataset', 'AVSBenchS4Dataset', 'AVSSDataset', 'ClipDataset', 'NegativeAudio', 'ReplaceAudio',
    'SeededInfiniteSampler', 'SwapAudio', 'VPODataset'
]
