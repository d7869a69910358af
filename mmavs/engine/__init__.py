"""Training and testing: hooks, optimizer rules, and how the tools start a run."""
from .hooks import AtomicCheckpointHook, DrawClipsHook, IterationSeedHook, MeanLossHook, StrictLoadHook
from .optimizers import IndependentRulesConstructor

__all__ = [
    'AtomicCheckpointHook', 'DrawClipsHook', 'IndependentRulesConstructor', 'IterationSeedHook', 'MeanLossHook',
    'StrictLoadHook'
]
