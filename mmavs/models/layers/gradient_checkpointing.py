"""Gradient checkpointing: compute activations a second time in the backward pass instead of keeping them."""
from collections.abc import Callable
from typing import TypeVar

import torch
from torch.utils.checkpoint import checkpoint

Outputs = TypeVar('Outputs')


def run_checkpointed(with_cp: bool, function: Callable[..., Outputs], *args: object) -> Outputs:
    """Call a function; with ``with_cp`` without keeping its activations, which the backward pass computes again.

    The second time, random numbers are those of the first, for example of dropout and stochastic depth. What follows
    the last activation that is needed, such as a last linear layer, is not computed again. The function must not have
    batch norms in training mode: they would update their running averages twice.
    """
    if not with_cp or not torch.is_grad_enabled():
        return function(*args)
    return checkpoint(function, *args, use_reentrant=False)
