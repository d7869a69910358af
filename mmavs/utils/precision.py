"""Half precision: the types that models predict in, and operations that stay in float32."""
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

#: Types that a model may predict in, by the names of the command line.
PRECISIONS = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)
#: Contract of a half precision: pixels with the label of float32, and bound on the change of M_J.
MIN_SAME_LABELS, MAX_METRIC_DIFFERENCE = 0.995, 0.002
FLOAT32_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def check_precision(precision: str) -> torch.dtype:
    """Return the type of a name of ``PRECISIONS``; a ValueError if there is no such name."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")
    return PRECISIONS[precision]


def autocast_to(dtype: torch.dtype, x: Tensor) -> AbstractContextManager:
    """Return a context of mixed precision on the device of ``x``; for float32 one that changes nothing."""
    if dtype == torch.float32 or x.is_meta:
        return nullcontext()
    return torch.autocast(x.device.type, dtype)


def disable_autocast(x: Tensor) -> AbstractContextManager:
    """Return a context that switches autocast off on the device of ``x``; the device ``meta`` has none."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def disable_autocast_in_training(module: nn.Module, x: Tensor) -> AbstractContextManager:
    """:func:`disable_autocast` while ``module`` is in training mode; otherwise a context that changes nothing."""
    return disable_autocast(x) if module.training else nullcontext()


def in_float32(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Return ``function(*tensors)`` of tensors of at least float32, without autocast."""
    with disable_autocast(tensors[0]):
        return function(*map(at_least_float32, tensors))


def at_least_float32(x: Tensor) -> Tensor:
    """Cast ``x`` to float32 if it has half precision, otherwise return it unchanged."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def keep_norms_in_float32(model: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
    """Let layer and group norms, in evaluation, get and return float32 under autocast on every device, as on CUDA.

    The sums of residual branches, which grow from layer to layer, are then float32 too. Batch norms are not affected:
    in evaluation they are fixed scales and offsets, which kernels apply in float32.

    Returns:
        Handles that undo it.
    """
    return [
        module.register_forward_pre_hook(_inputs_to_float32) for module in model.modules()
        if isinstance(module, FLOAT32_NORMS)
    ]


def _inputs_to_float32(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    # In training, the user's own autocast decides.
    return args if module.training else tuple(map(at_least_float32, args))
