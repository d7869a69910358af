"""Hooks of the training loop."""
from .atomic_checkpoint import AtomicCheckpointHook
from .draw_clips import DrawClipsHook
from .freeze_backbone import FreezeBackboneHook
from .inspect_data import InspectDataHook
from .iteration_seed import IterationSeedHook
from .mean_loss import MeanLossHook
from .progress_bar import ProgressBarHook
from .strict_load import StrictLoadHook

__all__ = [
    'AtomicCheckpointHook', 'DrawClipsHook', 'FreezeBackboneHook', 'InspectDataHook', 'IterationSeedHook',
    'MeanLossHook', 'ProgressBarHook', 'StrictLoadHook'
]
