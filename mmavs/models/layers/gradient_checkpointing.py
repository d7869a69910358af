"""Gradient checkpointing: compute activations a second time in the backward pass instead of keeping them."""
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def run_checkpointed(function: Callable[..., Tensor], *args: object) -> Tensor:
    """Call a function without keeping its activations; if there will be a backward pass, it computes them again.

    The second time, random numbers are those of the first, for example of stochastic depth.
    """
    if not torch.is_grad_enabled():
        return function(*args)
    return checkpoint(function, *args, use_reentrant=False)
