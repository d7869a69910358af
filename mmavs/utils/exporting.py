"""Whether a model is being exported or compiled."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, wraps

import torch

_FOR_ONNX = ContextVar('for_onnx', default=False)


@contextmanager
def for_onnx() -> Iterator[None]:
    """Context in which a model is recorded with operators that ONNX has."""
    token = _FOR_ONNX.set(True)
    try:
        yield
    finally:
        _FOR_ONNX.reset(token)


def is_for_onnx() -> bool:
    """Whether the model is recorded with operators that ONNX has."""
    # torch.compile cannot read the context, and never records for ONNX.
    return not torch.compiler.is_dynamo_compiling() and _FOR_ONNX.get()


def is_exporting() -> bool:
    """Whether ``torch.export`` or ``torch.jit.trace`` records the model.

    What is recorded cannot branch on the values of tensors, and a loop over frames would record their number. Code that
    does so to save time or memory takes one path instead, with the same result. All frames of the clip exist.
    """
    if torch.compiler.is_dynamo_compiling():
        return False  # torch.compile would take torch.compiler.is_exporting() for true
    return torch.compiler.is_exporting() or torch.jit.is_tracing()


def is_recording() -> bool:
    """Whether a model is being exported, or compiled by ``torch.compile``.

    A loop over frames would record their number in both cases.
    """
    return torch.compiler.is_compiling() or is_exporting()


def cache_unless_recording(maxsize: int) -> Callable[[Callable], Callable]:
    """Decorate a function with ``lru_cache``, which is bypassed while a model is recorded: tensors hold no values."""

    def decorate(function: Callable) -> Callable:
        cached = lru_cache(maxsize)(function)

        @wraps(function)
        def call(*args, **kwargs):
            if is_recording():
                return function(*args, **kwargs)
            # A cached tensor made in inference mode could not be used in a later training step.
            with torch.inference_mode(False):
                return cached(*args, **kwargs)

        return call

    return decorate
