"""Groups of similar tokens by density peaks (DPC-KNN), and sums and softmax within groups."""
import torch
from torch import Tensor

from mmavs.utils.precision import disable_autocast

# Distances that exist at once (64 MiB of float32); all of them would be 1 GiB for a frame of 512x512 at stride 4.
DISTANCES_AT_ONCE = 2**24


@torch.no_grad()
def group_by_density_peaks(tokens: Tensor,
                           num_groups: int,
                           num_neighbours: int = 5,
                           max_chunk: int = DISTANCES_AT_ONCE) -> Tensor:
    """Distribute tokens over groups, each around a token that is dense and far from any denser one.

    With ``D_ij = |x_i - x_j| / sqrt(C)``, the density of a token is ``rho_i = exp(-d)``, d the mean of the k smallest
    D_ij^2, its own distance of 0 among them; ``delta_i`` is the smallest D_ij to a denser token, for the densest one
    the largest of all distances. The tokens with the largest ``rho * delta`` are centres; each other token joins the
    nearest centre. This is the routine of TCFormer (CVPR 2022), but for ties: it adds random noise to the densities;
    here the first of equally dense tokens counts as the densest, so that a frame has the same groups every time.

    Distances are computed by blocks of rows, twice, in float32; no gradient is recorded.

    Args:
        tokens: (N, L, C).
        num_groups: Groups P; at most L are made.
        num_neighbours: The k of the density; at most L.
        max_chunk: Bound on the entries of a block, which has at least one row of each of the N frames.

    Returns:
        (N, L) int64 group of each token, from 0 (that of the most prominent centre) to P - 1; none is empty.
    """
    num, length, channels = tokens.shape
    rows = max(1, max_chunk // (num * length))
    # Differences are all that counts, and those of small numbers lose the least to rounding.
    x = tokens.float() * channels**-0.5
    x = x - x.mean(1, keepdim=True)

    with disable_autocast(x):
        # Density rho
        density = x.new_empty(num, length)
        largest = x.new_zeros(num)
        for start in range(0, length, rows):
            distances = _squared_distances(x[:, start:start + rows], x)
            distances.diagonal(start, 1, 2).zero_()
            nearest = distances.topk(min(num_neighbours, length), largest=False, sorted=False).values
            density[:, start:start + rows] = nearest.mean(2).neg_().exp_()
            torch.maximum(largest, distances.amax((1, 2)), out=largest)

        # Distance delta to a denser token: in the order of density, to one that comes before
        density, order = density.sort(dim=1, descending=True, stable=True)
        x = x.gather(1, order.unsqueeze(2).expand_as(x))
        gap = x.new_empty(num, length)
        for start in range(0, length, rows):
            stop = min(start + rows, length)
            distances = _squared_distances(x[:, start:stop], x[:, :stop])
            after = torch.ones(stop - start, stop, dtype=torch.bool, device=x.device).triu_(start)
            gap[:, start:stop] = distances.masked_fill_(after, torch.inf).amin(2)
        gap[:, 0] = largest

        # Centres, and the nearest one of each token
        prominence = density * gap.sqrt_()
        centres = prominence.sort(dim=1, descending=True, stable=True).indices[:, :num_groups]
        groups = _squared_distances(x, x.gather(1, centres.unsqueeze(2).expand(-1, -1, channels))).argmin(2)
        groups.scatter_(1, centres, torch.arange(centres.shape[1], device=x.device).expand_as(centres))
    return torch.empty_like(groups).scatter_(1, order, groups)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """(N, R, L) between tokens (N, R, C) and (N, L, C)."""
    distances = torch.baddbmm(b.square().sum(2).unsqueeze(1), a, b.transpose(1, 2), alpha=-2)
    return distances.add_(a.square().sum(2, keepdim=True)).clamp_(min=0)


def softmax_within_groups(logits: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """Softmax over the members of each group, (N, L, H) from logits (N, L, H) and groups (N, L) below P."""
    index = groups.unsqueeze(2).expand_as(logits)
    shape = (len(logits), num_groups, logits.shape[2])
    peak = logits.new_full(shape, -torch.inf).scatter_reduce(1, index, logits.detach(), 'amax')
    weights = (logits - peak.gather(1, index)).exp()
    return weights / weights.new_zeros(shape).scatter_add(1, index, weights).gather(1, index)


def sum_groups(x: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """Sum of the members of each group, (N, P, C) from tokens (N, L, C) and groups (N, L) below P."""
    total = x.new_zeros(len(x) * num_groups, x.shape[2])
    return total.index_add(0, _flat(groups, num_groups), x.flatten(0, 1)).unflatten(0, (len(x), num_groups))


def spread_groups(x: Tensor, groups: Tensor) -> Tensor:
    """What each token's group has, (N, L, C) from x (N, P, C) and groups (N, L) below P."""
    return x.flatten(0, 1).index_select(0, _flat(groups, x.shape[1])).unflatten(0, groups.shape)


def _flat(groups: Tensor, num_groups: int) -> Tensor:
    """Numbers of the groups among those of all N frames, (N * L,)."""
    return (groups + num_groups * torch.arange(len(groups), device=groups.device).unsqueeze(1)).flatten()
