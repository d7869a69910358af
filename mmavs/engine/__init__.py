"""Training and testing: hooks, optimizer rules, and how the tools start a run."""
from .hooks import AtomicCheckpointHook, DrawClipsHook, IterationSeedHook, MeanLossHook, ProgressBarHook, StrictLoadHook
from .optimizers import IndependentRulesConstructor

__all__ = [
    'AtomicCheckpointHook', 'DrawClipsHook', 'IndependentRulesConstructor', 'IterationSeedHook', 'MeanLossHook',
    'ProgressBarHook', 'StrictLoadHook'
]
