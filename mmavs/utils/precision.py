"""Keep operations in float32 that half precision is not enough for."""
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def disable_autocast(x: Tensor) -> AbstractContextManager:
    """Return a context that switches autocast off on the device of ``x``; the device ``meta`` has none."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def at_least_float32(x: Tensor) -> Tensor:
    """Cast ``x`` to float32 if it has half precision, otherwise return it unchanged."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
