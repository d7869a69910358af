"""Deformable encoder of a pyramid (Deformable DETR)."""
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from .deformable_attention import MultiScaleDeformableAttention
from .gradient_checkpointing import run_checkpointed
from .positional_encoding import sine_positional_encoding


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention over all levels, then a feed-forward network; each with residual and LayerNorm.

    Args:
        embed_dims: Channels C.
        num_heads: Heads of the attention.
        num_levels: Levels of the pyramid.
        num_points: Points that a head samples from each level.
        ffn_dims: Hidden channels of the feed-forward network.
        dropout: Probability of dropping a value of a residual branch or a hidden channel in training.
        activation: Non-linearity of the feed-forward network.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 num_levels: int,
                 num_points: int,
                 ffn_dims: int,
                 dropout: float = 0.,
                 activation: Callable[[Tensor], Tensor] = torch.relu_) -> None:
        super().__init__()
        self.self_attn = MultiScaleDeformableAttention(embed_dims, num_heads, num_levels, num_points)
        self.norm1 = nn.LayerNorm(embed_dims)
        self.linear1 = nn.Linear(embed_dims, ffn_dims)
        self.linear2 = nn.Linear(ffn_dims, embed_dims)
        self.norm2 = nn.LayerNorm(embed_dims)
        self.dropout = nn.Dropout(dropout)
        self.activation = activation
        nn.init.xavier_uniform_(self.linear1.weight)
        nn.init.xavier_uniform_(self.linear2.weight)

    def forward(self, x: Tensor, pos: Tensor, reference_points: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
        """Encoded tokens (N, S, C).

        Args:
            x: Tokens (N, S, C) of all levels, one level after the other.
            pos: Positional encodings (S, C).
            reference_points: (S, 2), position (x, y) in [0, 1] of each token.
            shapes: (h, w) of every level.
        """
        x = self.norm1(x + self.dropout(self.self_attn(x + pos, x, reference_points, shapes)))
        hidden = self.dropout(self.activation(self.linear1(x)))
        return self.norm2(x + self.dropout(self.linear2(hidden)))


def encode_pyramid(layers: Iterable[DeformableEncoderLayer],
                   maps: list[Tensor],
                   level_embed: Tensor,
                   normalize_positions: bool = True,
                   with_cp: bool = False) -> Tensor:
    """Encode the positions of all levels together.

    Args:
        layers: Layers of the encoder.
        maps: Levels (N, C, h_l, w_l), in any order.
        level_embed: (levels, C), added to the sine positions of each level.
        normalize_positions: See :func:`sine_positional_encoding`.
        with_cp: Whether to checkpoint each layer, see :func:`run_checkpointed`.

    Returns:
        Encoded tokens (N, S, C), one level after the other; :func:`split_levels` turns them into maps.
    """
    # Plain numbers also while a model is recorded for export: sizes of maps are fixed.
    shapes = [tuple(map(int, x.shape[-2:])) for x in maps]
    channels, device = maps[0].shape[1], maps[0].device
    pos = torch.cat([
        sine_positional_encoding(h, w, channels, normalize_positions, device) + embed
        for (h, w), embed in zip(shapes, level_embed)
    ])
    reference_points = torch.cat([_pixel_centers(h, w, device) for h, w in shapes])
    x = torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1)
    for layer in layers:
        x = run_checkpointed(with_cp, layer, x, pos, reference_points, shapes)
    return x


def split_levels(tokens: Tensor, shapes: list[tuple[int, int]]) -> list[Tensor]:
    """Maps (N, C, h_l, w_l) from the tokens (N, S, C) of all levels."""
    levels = tokens.split([h * w for h, w in shapes], dim=1)
    return [level.transpose(1, 2).unflatten(2, shape) for level, shape in zip(levels, shapes)]


def _pixel_centers(height: int, width: int, device: torch.device) -> Tensor:
    """Position (x, y) in [0, 1] of every pixel center of a map, row-major: (height * width, 2)."""
    # Recorded for export, a whole number plus a fraction would become float64.
    y, x = ((torch.arange(length, dtype=torch.float32, device=device) + 0.5) / length for length in (height, width))
    return torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)), dim=-1).flatten(0, 1)
