"""Grouping of similar tokens by density peaks (DPC-KNN), with sums and softmax within groups."""
import torch
from torch import Tensor

from mmavs.utils.exporting import is_for_onnx, is_recording
from mmavs.utils.precision import disable_autocast

# Bound on the distances in memory (64 MiB of float32); all of them would be 1 GiB for a frame of 512x512 at stride 4.
MAX_DISTANCES_PER_CHUNK = 2**24


@torch.no_grad()
def group_by_density_peaks(tokens: Tensor,
                           num_groups: int,
                           num_neighbors: int = 5,
                           min_prominence: float = 0.,
                           max_chunk: int = MAX_DISTANCES_PER_CHUNK) -> Tensor:
    """Distribute tokens over groups, each around a token that is dense and far from any denser one.

    With ``D_ij = |x_i - x_j| / sqrt(C)``, the density of a token is ``rho_i = exp(-d)``, d the mean of the k smallest
    D_ij^2, its own distance of 0 among them; ``delta_i`` is the smallest D_ij to a denser token, for the densest one
    the largest of all distances. The tokens with the largest prominence ``rho * delta`` are centers; every other token
    joins the nearest center. This is the routine of TCFormer (CVPR 2022) except for ties, which it breaks by random
    noise on the densities. Here the first of equally dense tokens counts as the densest, which makes grouping
    deterministic.

    ``min_prominence`` adapts the number of groups to the frame: a token whose prominence is a smaller fraction of the
    largest one of its frame is not a center.

    Distances are computed twice, by blocks of rows, in float32; no gradient is recorded.

    Args:
        tokens: (N, L, C).
        num_groups: Groups P, the most that are made of a frame; at most L.
        num_neighbors: The k of the density; at most L.
        min_prominence: Smallest prominence of a center in [0, 1], relative to the largest of the frame; 0 for exactly P
            groups.
        max_chunk: Bound on the entries of a block; a block has at least one row of each of the N frames.

    Returns:
        (N, L) int64 group of each token, from 0 (the group of the most prominent center) to P - 1. The groups of a
        frame have the lowest numbers; with ``min_prominence`` of 0 no group is empty.
    """
    num, length, channels = tokens.shape
    rows = length if is_recording() else max(1, max_chunk // (num * length))
    # Only differences matter; centered at 0 they lose the least to rounding.
    x = tokens.float() * channels**-0.5
    x = x - x.mean(1, keepdim=True)

    with disable_autocast(x):
        # Density rho
        indices = torch.arange(length, device=x.device)
        densities, largest = [], []
        for start in range(0, length, rows):
            distances = _squared_distances(x[:, start:start + rows], x)
            distances.masked_fill_(indices[start:start + rows, None] == indices, 0)
            nearest = distances.topk(min(num_neighbors, length), largest=False, sorted=False).values
            densities.append(nearest.mean(2).neg_().exp_())
            largest.append(distances.amax((1, 2)))
        density = torch.cat(densities, 1)

        # Distance delta to a denser token, one that precedes in the order of density
        density, order = _sort_descending(density)
        x = x.gather(1, order.unsqueeze(2).expand(-1, -1, channels))
        gaps = []
        for start in range(0, length, rows):
            stop = min(start + rows, length)
            distances = _squared_distances(x[:, start:stop], x[:, :stop])
            not_denser = indices[start:stop, None] <= indices[:stop]
            gaps.append(distances.masked_fill_(not_denser, torch.inf).amin(2))
        gap = torch.cat((torch.stack(largest).amax(0)[:, None], torch.cat(gaps, 1)[:, 1:]), 1)

        # Centers, and the nearest one of each token
        prominence, centers = _sort_descending(density * gap.sqrt_())
        prominence, centers = prominence[:, :num_groups], centers[:, :num_groups]
        rejected = prominence < min_prominence * prominence[:, :1]
        distances = _squared_distances(x, x.gather(1, centers.unsqueeze(2).expand(-1, -1, channels)))
        groups = distances.masked_fill_(rejected.unsqueeze(1), torch.inf).argmin(2)
        own = torch.arange(centers.shape[1], device=x.device)
        groups.scatter_(1, centers, torch.where(rejected, groups.gather(1, centers), own))
    return order.scatter(1, order, groups)


def _sort_descending(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted rows and their order, of equal values the first one first."""
    if is_for_onnx():
        # ONNX has no stable sort, but its TopK is stable.
        return x.topk(x.shape[1], dim=1)
    return x.sort(dim=1, descending=True, stable=True)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances (N, R, L) between tokens (N, R, C) and (N, L, C)."""
    distances = torch.baddbmm(b.square().sum(2).unsqueeze(1), a, b.transpose(1, 2), alpha=-2)
    return distances.add_(a.square().sum(2, keepdim=True)).clamp_(min=0)


def softmax_within_groups(logits: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """Softmax over the members of each group, (N, L, H) from logits (N, L, H) and groups (N, L) below P."""
    if is_for_onnx():
        members = _members(groups, num_groups)
        peak = logits.unsqueeze(2).masked_fill(~members.unsqueeze(3), -torch.inf).amax(1)  # (N, P, H)
        peak = peak.masked_fill(~members.any(1).unsqueeze(2), 0)
        weights = (logits - spread_groups(peak, groups)).exp()
        return weights / spread_groups(sum_groups(weights, groups, num_groups), groups)
    index = groups.unsqueeze(2).expand_as(logits)
    shape = (logits.shape[0], num_groups, logits.shape[2])
    peak = logits.new_full(shape, -torch.inf).scatter_reduce(1, index, logits.detach(), 'amax')
    weights = (logits - peak.gather(1, index)).exp()
    return weights / weights.new_zeros(shape).scatter_add(1, index, weights).gather(1, index)


def sum_groups(x: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """Sum of the members of each group, (N, P, C) from tokens (N, L, C) and groups (N, L) below P."""
    if is_for_onnx():
        return _members(groups, num_groups).to(x.dtype).transpose(1, 2) @ x
    total = x.new_zeros(x.shape[0] * num_groups, x.shape[2])
    return total.index_add(0, _flat(groups, num_groups), x.flatten(0, 1)).unflatten(0, (-1, num_groups))


def spread_groups(x: Tensor, groups: Tensor) -> Tensor:
    """Value of each token's group, (N, L, C) from x (N, P, C) and groups (N, L) below P."""
    if is_for_onnx():
        return _members(groups, x.shape[1]).to(x.dtype) @ x
    return x.flatten(0, 1).index_select(0, _flat(groups, x.shape[1])).unflatten(0, groups.shape)


def empty_groups(groups: Tensor, num_groups: int) -> Tensor:
    """Groups without members, (N, P) bool from groups (N, L) below P."""
    if is_for_onnx():
        return ~_members(groups, num_groups).any(1)
    return torch.ones(len(groups), num_groups, dtype=torch.bool, device=groups.device).scatter_(1, groups, False)


def _members(groups: Tensor, num_groups: int) -> Tensor:
    """Whether a token is a member of a group, (N, L, P) bool: ONNX has matrix products instead of indexed sums."""
    return groups.unsqueeze(2) == torch.arange(num_groups, device=groups.device)


def _flat(groups: Tensor, num_groups: int) -> Tensor:
    """Group indices of all tokens among the groups of all N frames, (N * L,)."""
    return (groups + num_groups * torch.arange(groups.shape[0], device=groups.device).unsqueeze(1)).flatten()
