"""Training and testing: hooks, optimizer rules, and how the tools start a run."""
from .hooks import *  # noqa: F403
from .optimizers import ParamRulesOptimWrapperConstructor

__all__ = [*hooks.__all__, 'ParamRulesOptimWrapperConstructor']  # noqa: F405
