"""Training and testing: hooks, optimizer rules, and how the tools start a run."""
from . import hooks
from .hooks import *  # noqa: F403
from .optimizers import IndependentRulesConstructor

__all__ = [*hooks.__all__, 'IndependentRulesConstructor']  # noqa: F405
