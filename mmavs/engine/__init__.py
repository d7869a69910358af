"""Training and testing: hooks, optimizer rules, and the launching of runs."""
from .hooks import *  # noqa: F403
from .json_logs import StrictJsonHandler
from .optimizers import ParamRulesOptimWrapperConstructor
from .training import train

__all__ = [*hooks.__all__, 'ParamRulesOptimWrapperConstructor', 'StrictJsonHandler', 'train']  # noqa: F405
