"""Data sets of clips and their transforms."""
from .avsbench_object import AVSBenchMS3Dataset, AVSBenchS4Dataset
from .avss import AVSSDataset
from .clip_dataset import ClipDataset
from .negative_audio import NegativeAudio
from .samplers import SeededInfiniteSampler
from .swap_audio import SwapAudio
from .transforms import *  # noqa: F401,F403
from .vpo import VPODataset
from .wrong_audio import WrongAudio

__all__ = [
    'AVSBenchMS3Dataset', 'AVSBenchS4Dataset', 'AVSSDataset', 'ClipDataset', 'NegativeAudio', 'SeededInfiniteSampler',
    'SwapAudio', 'VPODataset', 'WrongAudio'
]
