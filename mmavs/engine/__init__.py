"""Training: hooks, optimizer rules, and how the tools start a run."""
from .hooks import AtomicCheckpointHook, IterationSeedHook, MeanLossHook, StrictLoadHook
from .optimizers import IndependentRulesConstructor

__all__ = [
    'AtomicCheckpointHook', 'IndependentRulesConstructor', 'IterationSeedHook', 'MeanLossHook', 'StrictLoadHook'
]
