"""Multi-scale deformable attention (Deformable DETR)."""
import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmavs.utils.exporting import is_exporting, is_recording
from mmavs.utils.precision import at_least_float32, disable_autocast


class MultiScaleDeformableAttention(nn.Module):
    """Attention of every query to a few sampled points of each level of a pyramid, with learned positions and weights.

    Parameters have the names and shapes of ``mmcv.ops.MultiScaleDeformableAttention`` (and Deformable DETR). Unlike
    mmcv's, this module does not add the identity and has no dropout.

    Args:
        embed_dims: Channels C of queries, values and output.
        num_heads: Number of heads; divides ``embed_dims``.
        num_levels: Levels of the pyramid.
        num_points: Points that a query samples from each level with each head.
    """

    def __init__(self, embed_dims: int = 256, num_heads: int = 8, num_levels: int = 3, num_points: int = 4) -> None:
        super().__init__()
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.sampling_offsets = nn.Linear(embed_dims, num_heads * num_levels * num_points * 2)
        self.attention_weights = nn.Linear(embed_dims, num_heads * num_levels * num_points)
        self.value_proj = nn.Linear(embed_dims, embed_dims)
        self.output_proj = nn.Linear(embed_dims, embed_dims)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize head k to sample in direction k, point i at distance i, all with equal weights."""
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        direction = torch.stack((angle.cos(), angle.sin()), dim=-1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        distance = torch.arange(1, self.num_points + 1)
        offsets = direction[:, None, None] * distance[:, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.num_levels, -1, -1).flatten())
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(self, query: Tensor, value: Tensor, reference_points: Tensor,
                spatial_shapes: list[tuple[int, int]]) -> Tensor:
        """Attention output (N, Q, C). Under autocast, locations and weights are float32.

        Args:
            query: (N, Q, C), positional encoding included.
            value: (N, S, C), the tokens of all levels, one level after the other.
            reference_points: (Q, 2), position (x, y) in [0, 1] of each query.
            spatial_shapes: (h, w) of every level; the areas add up to S.
        """
        grid = (self.num_heads, self.num_levels, self.num_points)
        # Offsets are in pixels of the sampled level.
        with disable_autocast(query):
            query = at_least_float32(query)
            level_size = torch.tensor([(w, h) for h, w in spatial_shapes], dtype=query.dtype, device=query.device)
            offsets = self.sampling_offsets(query).unflatten(2, (*grid, 2)) / level_size[:, None]
            locations = reference_points[:, None, None, None] + offsets
            weights = self.attention_weights(query).unflatten(2, (self.num_heads, -1)).softmax(-1)
        # The samplers need one type.
        value = at_least_float32(self.value_proj(value)).unflatten(2, (self.num_heads, -1))
        return self.output_proj(deformable_sampling(value, spatial_shapes, locations, weights.unflatten(3, grid[1:])))


def deformable_sampling(value: Tensor, spatial_shapes: list[tuple[int, int]], locations: Tensor,
                        weights: Tensor) -> Tensor:
    """Weighted sums of bilinear samples (zero outside of a level, pixel centers at .5).

    Runs mmcv's compiled op on CUDA if mmcv was built with its CUDA ops, otherwise plain PyTorch, as also while
    ``torch.compile`` records the model. An export gets :func:`sample_by_grid`.

    Args:
        value: (N, S, heads, d), the tokens of all levels, one level after the other.
        spatial_shapes: (h, w) of every level.
        locations: (N, Q, heads, levels, points, 2), (x, y) in [0, 1] inside of a level.
        weights: (N, Q, heads, levels, points).

    Returns:
        (N, Q, heads * d).
    """
    if is_exporting():
        return sample_by_grid(value, spatial_shapes, locations, weights)
    # The op has no bfloat16.
    op = mmcv_cuda_op() if value.is_cuda and value.dtype != torch.bfloat16 and not is_recording() else None
    if op is None:
        return sample_by_rows(value, spatial_shapes, locations, weights)
    shapes = torch.tensor(spatial_shapes, device=value.device)
    start = torch.cat((shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]))
    # The step of the op has to divide the batch size.
    step = next(step for step in range(min(len(value), 64), 0, -1) if len(value) % step == 0)
    return op.apply(value.contiguous(), shapes, start, locations.contiguous(), weights.contiguous(), step)


def sample_by_grid(value: Tensor, spatial_shapes: list[tuple[int, int]], locations: Tensor,
                   weights: Tensor) -> Tensor:
    """:func:`deformable_sampling` by ``F.grid_sample``, which other runtimes have."""
    num_heads = value.shape[2]
    grids = (2 * locations - 1).transpose(1, 2).flatten(0, 1)  # (N * heads, Q, levels, points, 2)
    weights = weights.transpose(1, 2).flatten(0, 1).unsqueeze(1)  # (N * heads, 1, Q, levels, points)
    levels = value.permute(0, 2, 3, 1).flatten(0, 1).split([h * w for h, w in spatial_shapes], 2)
    out = 0
    for i, (level, shape) in enumerate(zip(levels, spatial_shapes)):
        sampled = F.grid_sample(level.unflatten(2, shape), grids[:, :, i], align_corners=False)
        out = out + (sampled * weights[:, :, :, i]).sum(3)  # (N * heads, d, Q)
    return out.unflatten(0, (-1, num_heads)).flatten(1, 2).transpose(1, 2)


@lru_cache(maxsize=1)
def mmcv_cuda_op() -> type[torch.autograd.Function] | None:
    """Compiled op of mmcv, or None if mmcv was built without CUDA ops."""
    try:
        from mmcv.ops import get_compiling_cuda_version
        from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
    except ImportError:
        return None
    return None if get_compiling_cuda_version() == 'not available' else MultiScaleDeformableAttnFunction


def sample_by_rows(value: Tensor, spatial_shapes: list[tuple[int, int]], locations: Tensor,
                   weights: Tensor) -> Tensor:
    """:func:`deformable_sampling` in plain PyTorch.

    Computes one weighted sum of rows of ``value`` per query and head, with four rows for each bilinear sample.
    ``F.embedding_bag`` reads the rows directly, so the samples are never written to memory; with ``F.grid_sample`` they
    would take levels * points times the output.
    """
    num, num_tokens, num_heads, channels = value.shape
    size = torch.tensor([(w, h) for h, w in spatial_shapes], device=value.device)
    width, height = size[:, None, 0].int(), size[:, None, 1].int()
    area = width * height
    level_start = (area.cumsum(0) - area).int()

    # Pixels to the left and right of each point, above and below it, and their bilinear weights.
    x, y = (locations * size[:, None] - 0.5).unbind(-1)
    (left, to_left), (right, to_right) = _adjacent_pixels(x, width)
    (top, to_top), (bottom, to_bottom) = _adjacent_pixels(y, height)
    top, bottom = (row * width + level_start for row in (top, bottom))
    to_top, to_bottom = to_top * weights, to_bottom * weights

    # Rows of value.view(N * S * heads, d) to sum up for each query and head, and their weights.
    token = torch.stack((top + left, top + right, bottom + left, bottom + right), dim=3)
    frame = torch.arange(num, dtype=torch.int32, device=value.device).view(-1, 1, 1, 1, 1, 1)
    head = torch.arange(num_heads, dtype=torch.int32, device=value.device).view(-1, 1, 1, 1)
    rows = (token + frame * num_tokens).mul_(num_heads).add_(head).flatten(3).flatten(0, 2)
    row_weights = torch.stack((to_left * to_top, to_right * to_top, to_left * to_bottom, to_right * to_bottom), dim=3)
    row_weights = row_weights.to(value.dtype).flatten(3).flatten(0, 2)

    value = value.flatten(0, 2)
    out = F.embedding_bag(rows, value.detach(), per_sample_weights=row_weights, mode='sum')
    if value.requires_grad:
        out = _ValueGradient.apply(out, value, rows, row_weights.detach())
    return out.view(num, -1, num_heads * channels)


def _adjacent_pixels(position: Tensor, length: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(index, weight) of the two pixels beside each position of an axis; the weight of a pixel outside is 0."""
    floor = position.detach().floor()
    # Clip integers, not floats: a NaN must not become an index out of range.
    before = floor.int()
    after = before + 1
    first, last = torch.zeros_like(length), length - 1
    before_clipped, after_clipped = before.clamp(first, last), after.clamp(first, last)
    fraction = position - floor
    return ((before_clipped, (1 - fraction) * (before_clipped == before)),
            (after_clipped, fraction * (after_clipped == after)))


class _ValueGradient(torch.autograd.Function):
    """Identity on ``out = embedding_bag(rows, value, row_weights)`` that adds the gradient of ``value``.

    The gradient is the same kind of sum, over the transposed table of rows. With the rows sorted once, it takes a third
    of the time of the backward pass of ``F.embedding_bag``.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, out: Tensor, value: Tensor, rows: Tensor,
                row_weights: Tensor) -> Tensor:
        ctx.save_for_backward(rows, row_weights)
        ctx.num_rows = len(value)
        return out.view_as(out)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, row_weights = ctx.saved_tensors
        sorted_rows, order = rows.flatten().sort()
        start = torch.searchsorted(sorted_rows, torch.arange(ctx.num_rows, dtype=rows.dtype, device=rows.device))
        row_weights = row_weights.flatten()[order]
        grad_value = F.embedding_bag(
            order // rows.shape[1], grad.contiguous(), start, per_sample_weights=row_weights, mode='sum')
        return grad, grad_value, None, None
