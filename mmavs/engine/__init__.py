"""Training and testing: hooks, optimizer rules, and the launching of runs."""
from .hooks import *  # noqa: F403
from .json_logs import StrictJsonHandler
from .optimizers import ParamRulesOptimWrapperConstructor, TwoStageWarmupPolyLR
from .sharded_strategy import ShardedStrategy
from .training import train

__all__ = [  # noqa: F405
    *hooks.__all__, 'ParamRulesOptimWrapperConstructor', 'ShardedStrategy', 'StrictJsonHandler',  # noqa: F405
    'TwoStageWarmupPolyLR', 'train'
]
