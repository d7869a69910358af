"""Cast to at least float32, for operations that half precision is not enough for."""
import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Cast ``x`` to float32 if it has half precision, otherwise return it unchanged."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
