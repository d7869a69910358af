"""Multi-scale deformable attention pixel decoder (Mask2Former)."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmavs.models.layers import MultiScaleDeformableAttention, sine_positional_encoding
from mmavs.registry import MODELS


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention over all levels, then a feed-forward network; each with residual and LayerNorm."""

    def __init__(self, embed_dims: int, num_heads: int, num_levels: int, num_points: int, ffn_dims: int) -> None:
        super().__init__()
        self.self_attn = MultiScaleDeformableAttention(embed_dims, num_heads, num_levels, num_points)
        self.norm1 = nn.LayerNorm(embed_dims)
        self.linear1 = nn.Linear(embed_dims, ffn_dims)
        self.linear2 = nn.Linear(ffn_dims, embed_dims)
        self.norm2 = nn.LayerNorm(embed_dims)
        nn.init.xavier_uniform_(self.linear1.weight)
        nn.init.xavier_uniform_(self.linear2.weight)

    def forward(self, x: Tensor, pos: Tensor, reference_points: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
        x = self.norm1(x + self.self_attn(x + pos, x, reference_points, shapes))
        return self.norm2(x + self.linear2(self.linear1(x).relu_()))


@MODELS.register_module()
class MSDeformAttnPixelDecoder(BaseModule):
    """Refine a pyramid with deformable attention across its levels, and make the map that masks are read from.

    The finest level (stride 4) enters only the mask features; the others are encoded together (Mask2Former, CVPR 2022;
    VCT uses it unchanged). Works at any input size. Runs in float32 under autocast, as the reference does.

    Args:
        in_channels: Channels of the pyramid, finest level first.
        embed_dims: Channels C of everything inside and of the output. A multiple of 32 (groups of GroupNorm).
        num_layers: Encoder layers.
        num_heads: Heads of the deformable attention.
        num_points: Points that a head samples from each level.
        ffn_dims: Hidden channels of the encoder's feed-forward networks.
        init_cfg: Initialization config of MMEngine.
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 embed_dims: int = 256,
                 num_layers: int = 6,
                 num_heads: int = 8,
                 num_points: int = 4,
                 ffn_dims: int = 1024,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        finest, *encoded = in_channels
        self.embed_dims = embed_dims
        self.num_levels = len(encoded)
        # Coarsest level first, here and in everything that follows.
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, embed_dims, 1), nn.GroupNorm(32, embed_dims)) for c in reversed(encoded))
        self.level_embed = nn.Parameter(torch.randn(self.num_levels, embed_dims))
        self.layers = nn.ModuleList(
            DeformableEncoderLayer(embed_dims, num_heads, self.num_levels, num_points, ffn_dims)
            for _ in range(num_layers))
        self.lateral_conv = nn.Sequential(
            nn.Conv2d(finest, embed_dims, 1, bias=False), nn.GroupNorm(32, embed_dims))
        self.output_conv = nn.Sequential(
            nn.Conv2d(embed_dims, embed_dims, 3, padding=1, bias=False), nn.GroupNorm(32, embed_dims))
        self.mask_features = nn.Conv2d(embed_dims, embed_dims, 1)

        for projection, _ in self.input_proj:
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)
        for conv in (self.lateral_conv[0], self.output_conv[0], self.mask_features):
            nn.init.kaiming_uniform_(conv.weight, a=1)
        nn.init.zeros_(self.mask_features.bias)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Mask features and encoded maps.

        Args:
            features: Pyramid of (N, C_l, h_l, w_l), finest level (stride 4) first.

        Returns:
            mask_features (N, C, h, w) at the size of the finest level, and the encoded maps (N, C, h_l, w_l) of the
            other levels, coarsest first.
        """
        with torch.autocast(features[0].device.type, enabled=False):
            finest, *others = (x.float() for x in features)
            maps = self._encode([project(x) for project, x in zip(self.input_proj, reversed(others))])
            upsampled = F.interpolate(maps[-1], finest.shape[-2:], mode='bilinear', align_corners=False)
            mask_features = self.output_conv(self.lateral_conv(finest) + upsampled).relu_()
            return self.mask_features(mask_features), maps

    def _encode(self, maps: list[Tensor]) -> list[Tensor]:
        """Exchange information between all positions of all levels."""
        shapes = [tuple(x.shape[-2:]) for x in maps]
        device = maps[0].device
        pos = torch.cat([
            sine_positional_encoding(h, w, self.embed_dims, device=device) + embed
            for (h, w), embed in zip(shapes, self.level_embed)
        ])
        reference_points = torch.cat([_pixel_centres(h, w, device) for h, w in shapes])
        x = torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1)
        for layer in self.layers:
            x = layer(x, pos, reference_points, shapes)
        levels = x.split([h * w for h, w in shapes], dim=1)
        return [level.transpose(1, 2).unflatten(2, shape) for level, shape in zip(levels, shapes)]


def _pixel_centres(height: int, width: int, device: torch.device) -> Tensor:
    """(x, y) in [0, 1] of every pixel of a map, row-major: (height * width, 2)."""
    y = (torch.arange(height, device=device) + 0.5) / height
    x = (torch.arange(width, device=device) + 0.5) / width
    return torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)), dim=-1).flatten(0, 1)
