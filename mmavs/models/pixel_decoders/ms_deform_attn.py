"""Multi-scale deformable attention pixel decoder (Mask2Former)."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmavs.models.layers import DeformableEncoderLayer, encode_pyramid, split_levels
from mmavs.registry import MODELS
from mmavs.utils.precision import at_least_float32, disable_autocast_in_training


@MODELS.register_module()
class MSDeformAttnPixelDecoder(BaseModule):
    """Refine a pyramid with deformable attention across its levels, and compute the mask features.

    The finest level (stride 4) enters only the mask features; the others are encoded together (Mask2Former, CVPR 2022;
    used unchanged by VCT). Works at any input size. Training under autocast runs in float32, as the reference does; a
    prediction only samples in float32.

    Args:
        in_channels: Channels of the pyramid, finest level first.
        embed_dims: Channels C of everything inside and of the output. A multiple of 32 (groups of GroupNorm).
        num_layers: Encoder layers.
        num_heads: Heads of the deformable attention.
        num_points: Points that a head samples from each level.
        ffn_dims: Hidden channels of the encoder's feed-forward networks.
        init_cfg: Initialization config of MMEngine.
        with_cp: Gradient checkpointing of each encoder layer.
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 embed_dims: int = 256,
                 num_layers: int = 6,
                 num_heads: int = 8,
                 num_points: int = 4,
                 ffn_dims: int = 1024,
                 init_cfg: dict | None = None,
                 with_cp: bool = False) -> None:
        super().__init__(init_cfg)
        self.with_cp = with_cp
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
        with disable_autocast_in_training(self, features[0]):
            finest, *others = map(at_least_float32, features)
            maps = [project(x) for project, x in zip(self.input_proj, reversed(others))]
            tokens = encode_pyramid(self.layers, maps, self.level_embed, with_cp=self.with_cp)
            maps = split_levels(tokens, [tuple(map(int, x.shape[-2:])) for x in maps])
            upsampled = F.interpolate(maps[-1], finest.shape[-2:], mode='bilinear', align_corners=False)
            mask_features = self.output_conv(self.lateral_conv(finest) + upsampled).relu_()
            return self.mask_features(mask_features), maps
