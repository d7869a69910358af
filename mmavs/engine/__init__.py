"""Training and testing: hooks, optimizer rules, and the launching of runs."""
from .hooks import *  # noqa: F403
from .optimizers import ParamRulesOptimWrapperConstructor
from .training import train

__all__ = [*hooks.__all__, 'ParamRulesOptimWrapperConstructor', 'train']  # noqa: F405
