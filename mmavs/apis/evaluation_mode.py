"""Keep a model in evaluation mode while any thread predicts with it."""
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from weakref import WeakKeyDictionary

from torch import nn


@dataclass
class _Predictions:
    """Predictions that are being made with a model.

    Attributes:
        count: Their number.
        training: Modules that were in training mode before the first of them.
    """
    count: int
    training: list[nn.Module]


_lock = Lock()
_running: WeakKeyDictionary[nn.Module, _Predictions] = WeakKeyDictionary()


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and at the end each of its modules into the mode that it had.

    Several threads may predict at once: the first switches, and the last switches back. A thread that trains the model
    must not run at the same time.
    """
    with _lock:
        running = _running.get(model)
        if running is None:
            running = _running[model] = _Predictions(0, [module for module in model.modules() if module.training])
            if running.training:
                model.eval()
        running.count += 1
    try:
        yield
    finally:
        with _lock:
            running.count -= 1
            if not running.count:
                del _running[model]
                for module in running.training:
                    module.training = True
