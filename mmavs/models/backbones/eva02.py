"""EVA-02 (Image and Vision Computing 2024) for frames of any size."""
import torch
import torch.nn.functional as F
from mmpretrain.models import ViTEVA02 as MMPretrainViTEVA02
from torch import Tensor, nn

from mmavs.registry import MODELS
from mmavs.utils.exporting import cache_unless_recording

# Patches in a row of a 224x224 image, for which the published weights learned their positions.
PRETRAINED_GRID = 16
TEMPERATURE = 10000.


@MODELS.register_module()
class ViTEVA02(MMPretrainViTEVA02):
    """mmpretrain's ``ViTEVA02``, same arguments and parameters, with the rotary positions of the authors at any size.

    mmpretrain takes the rotary positions from the buffers of the checkpoint if the grid of patches is the one that the
    checkpoint was saved with. For other grids it computes positions of twice the frequency, with sines and cosines in
    another order than the channels that they rotate. Here they are computed as the weights were trained: the grid is
    stretched to 16x16 positions. They are not buffers, so a checkpoint fits frames of any size. Attention runs through
    PyTorch's fused kernels.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        del self.rope
        for layer in self.layers:
            layer.attn = RotaryAttention(layer.attn)


class RotaryAttention(nn.Module):
    """Self-attention with rotary positions, with the parameters of mmpretrain's module.

    Args:
        attn: Module of mmpretrain whose parts are reused.
    """

    def __init__(self, attn: nn.Module) -> None:
        super().__init__()
        self.num_heads = attn.num_heads
        self.qkv, self.proj = attn.qkv, attn.proj
        self.attn_drop, self.proj_drop = attn.attn_drop, attn.proj_drop

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Attention output (N, 1 + h * w, C) of a class token and the patches of a grid of (h, w)."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        rotation = rotary_positions(tuple(grid), q.shape[3], x.device)
        dropout = self.attn_drop.p if self.training else 0.
        out = F.scaled_dot_product_attention(rotate(q, rotation), rotate(k, rotation), v, dropout_p=dropout)
        return self.proj_drop(self.proj(out.transpose(1, 2).flatten(2)))


@cache_unless_recording(maxsize=16)
def rotary_positions(grid: tuple[int, int], channels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotation of each pair of channels, each (1 + h * w, channels / 2) float32.

    The first half of the pairs rotates by the row, the second by the column of a patch, at decreasing frequencies; the
    class token, which comes first, is not rotated.

    Args:
        grid: Patches (h, w).
        channels: Channels of a head, a multiple of 4.
        device: Device of the result. It is cached and shared between callers: do not write into it.
    """
    frequencies = TEMPERATURE**-(torch.arange(0, channels // 2, 2, device=device) / (channels // 2))
    rows, columns = (torch.arange(n, device=device) / n * PRETRAINED_GRID for n in grid)
    by_row = (rows[:, None] * frequencies)[:, None].expand(-1, len(columns), -1)
    by_column = (columns[:, None] * frequencies)[None].expand(len(rows), -1, -1)
    angles = F.pad(torch.cat((by_row, by_column), 2).flatten(0, 1), (0, 0, 1, 0))
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate each pair of adjacent channels of x (..., L, channels) by the output of :func:`rotary_positions`."""
    cos, sin = rotation
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2).type_as(x)
