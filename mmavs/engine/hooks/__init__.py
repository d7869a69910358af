"""Hooks for training and testing."""
from .atomic_checkpoint import AtomicCheckpointHook
from .check_data import CheckDataHook
from .clip_visualization import ClipVisualizationHook
from .finite_training import FiniteTrainingHook
from .freeze_backbone import FreezeBackboneHook
from .iteration_seed import IterationSeedHook
from .mean_loss import MeanLossHook
from .progress_bar import ProgressBarHook
from .strict_load import StrictLoadHook
from .training_progress import TrainingProgressHook

__all__ = [
    'AtomicCheckpointHook', 'ClipVisualizationHook', 'FiniteTrainingHook', 'FreezeBackboneHook', 'CheckDataHook',
    'IterationSeedHook', 'MeanLossHook', 'ProgressBarHook', 'StrictLoadHook',
    'TrainingProgressHook'
]
