"""Pyramid Vision Transformer v2 (Computational Visual Media 2022), the backbone of AVSBench and AVSegFormer."""
from collections.abc import Mapping, Sequence
from math import sqrt

import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmavs.models.layers import run_checkpointed
from mmavs.registry import MODELS

# Channels, blocks and MLP ratios of the four stages.
ARCHITECTURES = {
    'b0': dict(embed_dims=(32, 64, 160, 256), depths=(2, 2, 2, 2), mlp_ratios=(8, 8, 4, 4)),
    'b1': dict(embed_dims=(64, 128, 320, 512), depths=(2, 2, 2, 2), mlp_ratios=(8, 8, 4, 4)),
    'b2': dict(embed_dims=(64, 128, 320, 512), depths=(3, 4, 6, 3), mlp_ratios=(8, 8, 4, 4)),
    'b3': dict(embed_dims=(64, 128, 320, 512), depths=(3, 4, 18, 3), mlp_ratios=(8, 8, 4, 4)),
    'b4': dict(embed_dims=(64, 128, 320, 512), depths=(3, 8, 27, 3), mlp_ratios=(8, 8, 4, 4)),
    'b5': dict(embed_dims=(64, 128, 320, 512), depths=(3, 6, 40, 3), mlp_ratios=(4, 4, 4, 4)),
}
NUM_HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
# Epsilon of all norms except those of patch embeddings and reduced keys, which have PyTorch's default (as published).
BLOCK_EPS = 1e-6


class SpatialReductionAttention(nn.Module):
    """Attention of all pixels to a map that is smaller by the factor ``reduction`` in height and width.

    Args:
        embed_dims: Channels C.
        num_heads: Heads.
        reduction: Kernel and stride of the convolution that makes the smaller map; 1 for none.
    """

    def __init__(self, embed_dims: int, num_heads: int, reduction: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(embed_dims, embed_dims)
        self.kv = nn.Linear(embed_dims, 2 * embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.sr = None
        if reduction > 1:
            self.sr = nn.Conv2d(embed_dims, embed_dims, reduction, stride=reduction)
            self.norm = nn.LayerNorm(embed_dims)

    def forward(self, x: Tensor, size: tuple[int, int], attend: Tensor | None = None) -> Tensor:
        """Attention output (N, h * w, C) of the pixels (N, h * w, C) of a map of ``size`` (h, w).

        ``attend`` is bool (N, 1, h * w, keys), True where a pixel may attend to a key; None: everywhere.
        """
        reduced = x if self.sr is None else self.norm(to_tokens(self.sr(to_map(x, size))))  # (N, h * w / r^2, C)
        q = self.q(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        k, v = self.kv(reduced).unflatten(2, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v, attend).transpose(1, 2).flatten(2))


class DepthwiseConv(nn.Module):
    """Depthwise 3x3 convolution of a map that is given as tokens (N, h * w, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return to_tokens(self.dwconv(to_map(x, size)))


class ConvMLP(nn.Module):
    """Perceptron with a depthwise convolution in its hidden layer, which replaces positional encodings."""

    def __init__(self, channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden_channels)
        self.dwconv = DepthwiseConv(hidden_channels)
        self.fc2 = nn.Linear(hidden_channels, channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return self.fc2(F.gelu(self.dwconv(self.fc1(x), size)))


class Block(nn.Module):
    """Attention and perceptron, each with LayerNorm before it, and with stochastic depth and a residual after it."""

    def __init__(self, embed_dims: int, num_heads: int, mlp_ratio: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dims, eps=BLOCK_EPS)
        self.attn = SpatialReductionAttention(embed_dims, num_heads, reduction)
        self.norm2 = nn.LayerNorm(embed_dims, eps=BLOCK_EPS)
        self.mlp = ConvMLP(embed_dims, mlp_ratio * embed_dims)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, size: tuple[int, int], attend: Tensor | None = None) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x), size, attend))
        return x + self.drop_path(self.mlp(self.norm2(x), size))


class PatchEmbed(nn.Module):
    """Embedding of overlapping patches, a strided convolution and LayerNorm; returns the tokens and their (h, w)."""

    def __init__(self, in_channels: int, embed_dims: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, embed_dims, kernel_size, stride, padding=kernel_size // 2)
        self.norm = nn.LayerNorm(embed_dims)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        x = self.proj(x)
        return self.norm(to_tokens(x)), tuple(x.shape[-2:])


@MODELS.register_module()
class PVTv2(BaseModule):
    """Pyramid Vision Transformer v2, b0 to b5, with the parameter names of its authors.

    The published ``pvt_v2_b*.pth`` are loaded as they are; their ImageNet classifier ``head.*`` is ignored.

    Args:
        arch: ``'b0'`` to ``'b5'``, or a dict with ``embed_dims``, ``depths``, ``mlp_ratios`` and optionally
            ``num_heads`` (default 1, 2, 5, 8) of the four stages.
        drop_path_rate: Stochastic depth of the last block; grows linearly from 0 at the first one.
        init_cfg: Initialization config of MMEngine. The constructor initializes as the authors' code does.
        with_cp: Gradient checkpointing: whether the backward pass computes each block a second time instead of keeping
            its activations, which saves memory and takes time.

    Attributes:
        embed_dims: Channels C_1 to C_4 of the four outputs.
    """

    def __init__(self,
                 arch: str | Mapping[str, Sequence[int]],
                 drop_path_rate: float = 0.1,
                 init_cfg: dict | None = None,
                 with_cp: bool = False) -> None:
        super().__init__(init_cfg)
        self.with_cp = with_cp
        if isinstance(arch, str) and arch not in ARCHITECTURES:
            raise ValueError(f'PVTv2: arch is {arch!r}, expected one of {", ".join(ARCHITECTURES)}, or a dict with '
                             'embed_dims, depths and mlp_ratios')
        arch = dict(num_heads=NUM_HEADS) | dict(ARCHITECTURES[arch] if isinstance(arch, str) else arch)
        complete = sorted(arch) == ['depths', 'embed_dims', 'mlp_ratios', 'num_heads']
        if not complete or any(len(values) != 4 for values in arch.values()):
            raise ValueError(f'PVTv2: arch is {arch}, expected embed_dims, depths, mlp_ratios and num_heads with four '
                             'values each, one for each stage')
        self.embed_dims = tuple(arch['embed_dims'])
        num_blocks = sum(arch['depths'])
        drop_paths = iter([drop_path_rate * i / (num_blocks - 1) for i in range(num_blocks)])
        in_channels = 3
        stages = zip(self.embed_dims, arch['depths'], arch['num_heads'], arch['mlp_ratios'], REDUCTIONS)
        for i, (channels, depth, num_heads, mlp_ratio, reduction) in enumerate(stages, start=1):
            kernel_size, stride = (7, 4) if i == 1 else (3, 2)
            blocks = nn.ModuleList(
                Block(channels, num_heads, mlp_ratio, reduction, next(drop_paths)) for _ in range(depth))
            setattr(self, f'patch_embed{i}', PatchEmbed(in_channels, channels, kernel_size, stride))
            setattr(self, f'block{i}', blocks)
            setattr(self, f'norm{i}', nn.LayerNorm(channels, eps=BLOCK_EPS))
            in_channels = channels
        self.apply(_init_as_published)
        self.register_load_state_dict_pre_hook(_drop_classifier)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps (N, C_l, h_l, w_l) at strides 4, 8, 16 and 32, each after the norm of its stage.

        Args:
            x: Normalized frames (N, 3, H, W). Height and width should be multiples of 32: otherwise the sizes of the
                maps are rounded up, and the attention of the first stages ignores the pixels beyond the last full cell
                of the smaller map.
        """
        maps = []
        for i in range(4):
            x = self.run_stage(i, x)
            maps.append(x)
        return tuple(maps)

    def run_stage(self, index: int, x: Tensor) -> Tensor:
        """Map (N, C_l, h_l, w_l) of stage ``index``, from the frames (stage 0) or the map of the stage before."""
        tokens, size = getattr(self, f'patch_embed{index + 1}')(x)
        for block in getattr(self, f'block{index + 1}'):
            tokens = run_checkpointed(self.with_cp, block, tokens, size)
        return to_map(getattr(self, f'norm{index + 1}')(tokens), size)


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """View tokens (N, h * w, C) as a map (N, C, h, w) in the memory format channels_last."""
    return tokens.transpose(1, 2).unflatten(2, size)


def to_tokens(x: Tensor) -> Tensor:
    """View a map (N, C, h, w) as tokens (N, h * w, C)."""
    return x.flatten(2).transpose(1, 2)


def _init_as_published(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=sqrt(2 / fan_out))
        nn.init.zeros_(module.bias)


def _drop_classifier(module: nn.Module, state_dict: dict, prefix: str, *args: object) -> None:
    """Drop the ImageNet classifier, which the published files hold too."""
    for key in (f'{prefix}head.weight', f'{prefix}head.bias'):
        state_dict.pop(key, None)
