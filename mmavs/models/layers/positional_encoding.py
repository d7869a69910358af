"""Sine positional encoding of a grid."""
import math

import torch
from torch import Tensor

from mmavs.utils.exporting import cache_unless_recording


@cache_unless_recording(maxsize=64)
def sine_positional_encoding(height: int,
                             width: int,
                             channels: int,
                             normalize: bool = True,
                             device: torch.device | str = 'cpu') -> Tensor:
    """Sine encoding of the cells of a grid (DETR), float32.

    Args:
        height: Rows of the grid.
        width: Columns of the grid.
        channels: Channels of the encoding; the first half encodes y, the second x. A multiple of 4.
        normalize: Whether to scale the positions 1..height and 1..width to (0, 2 pi] (Mask2Former, VCT) or not
            (AVSegFormer).
        device: Device of the encoding.

    Returns:
        (height * width, channels), row-major. It is cached and shared between callers: do not write into it.
    """
    half = channels // 2
    frequency = 10000**(2 * (torch.arange(half, device=device) // 2).float() / half)

    def encode(length: int) -> Tensor:
        position = torch.arange(1, length + 1, dtype=torch.float32, device=device)
        if normalize:
            position = position / (length + 1e-6) * (2 * math.pi)
        angle = position[:, None] / frequency
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)

    y = encode(height)[:, None].expand(-1, width, -1)
    x = encode(width)[None].expand(height, -1, -1)
    return torch.cat((y, x), dim=2).flatten(0, 1)
