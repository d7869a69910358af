"""Switch mixed precision off where float32 is needed."""
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def disable_autocast(x: Tensor) -> AbstractContextManager:
    """Return a context that switches autocast off on the device of ``x``; the device ``meta`` has none."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)
