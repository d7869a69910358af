"""Metrics: pure functions in ``functional``, wrappers for MMEngine's evaluator in ``metrics``."""
from .metrics import *  # noqa: F403
from .metrics import __all__  # noqa: F401
