"""Hard decisions that float32 rounding can take either way.

A mask logit of -4.5e-7 at the masked attention of a decoder decides whether a query attends to a pixel; the reference,
whose sums are ordered differently, may have +1e-7 there. All later values of that frame then differ by more than
rounding. Such a tie is no reason for a wider tolerance: :func:`compare_with_ties` takes the tied decisions the other
way, and everything must agree then.
"""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from mmavs.models.decode_heads import ease, vct
from mmavs.models.layers import masked_attention_decoder

# A decision is tied if its margin is at most this fraction of the largest magnitude among the values compared.
TIED = 2e-6
# Tied decisions that are tried, closest first, and how many of them may be taken the other way together.
MAX_TIES, MAX_FLIPS = 12, 2


@dataclass(frozen=True, order=True)
class Decision:
    """One hard decision.

    Attributes:
        margin: Distance of the compared values, relative to the largest magnitude among all of the call.
        kind: 'masked attention' or 'hard grouping'.
        call: How many calls of that kind came before.
        index: (frame, query, pixel) of a masked attention, (frame, pixel) of a grouping.
    """
    margin: float
    kind: str
    call: int
    index: tuple[int, ...] = field(compare=False)

    def __str__(self) -> str:
        return f'{self.kind} {self.call}, {self.index}: margin {self.margin:.1e}'


@contextmanager
def watched_decisions(flipped: tuple[Decision, ...] = ()) -> Iterator[list[Decision]]:
    """Record the tied decisions of decoders, of VCT's grouping and of EASE's masked attention, and take the ``flipped``
    ones the other way."""
    ties, calls = [], {'masked attention': 0, 'hard grouping': 0}
    inside_masks, one_hot = masked_attention_decoder.inside_masks, vct._one_hot

    def begin(kind: str) -> tuple[int, list[tuple[int, ...]]]:
        calls[kind] += 1
        return calls[kind] - 1, [d.index for d in flipped if (d.kind, d.call) == (kind, calls[kind] - 1)]

    def record(kind: str, call: int, margins: Tensor, scale: Tensor) -> None:
        margins = margins / scale.clamp(min=torch.finfo(margins.dtype).tiny)
        for index in (margins <= TIED).nonzero().tolist():
            ties.append(Decision(margins[tuple(index)].item(), kind, call, tuple(index)))

    def watched_masks(mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
        call, chosen = begin('masked attention')
        values = F.interpolate(mask_logits, size, mode='bilinear', align_corners=False).flatten(2)
        record('masked attention', call, values.abs(), values.abs().max())
        inside = inside_masks(mask_logits, size)
        for n, q, p in chosen:
            row = values[n, q] >= 0
            row[p] = ~row[p]
            # A query whose mask is empty attends everywhere.
            inside[n, 0, q] = row if row.any() else True
        return inside

    def watched_one_hot(scores: Tensor) -> Tensor:
        call, chosen = begin('hard grouping')
        (first, second), order = scores.topk(2, dim=1).values.unbind(1), scores.topk(2, dim=1).indices
        record('hard grouping', call, first - second, scores.abs().max())
        assignment = one_hot(scores)
        for n, p in chosen:
            assignment[n, order[n, :, p], p] = assignment[n, order[n, :, p].flip(0), p]
        return assignment

    def watched_ease_masks(mask_logits: Tensor, grid: tuple[int, int]) -> Tensor:
        call, chosen = begin('masked attention')
        values = F.interpolate(mask_logits, grid, mode='bilinear', align_corners=False).flatten(2)
        record('masked attention', call, values.abs(), values.abs().max())
        inside = values > 0
        for n, q, p in chosen:
            inside[n, q, p] = ~inside[n, q, p]
        return inside

    with (mock.patch.object(masked_attention_decoder, 'inside_masks', watched_masks),
          mock.patch.object(vct, '_one_hot', watched_one_hot),
          mock.patch.object(ease, '_inside_masks', watched_ease_masks)):
        yield ties


def compare_with_ties(compute: Callable[[], dict], errors_of: Callable[[dict], dict[str, float]],
                      tolerance: float) -> tuple[dict, dict[str, float], tuple[Decision, ...]]:
    """Compute outputs and their errors; if some are beyond the tolerance, take tied decisions the other way.

    Args:
        compute: Computes the outputs; deterministic.
        errors_of: Errors of outputs by name.
        tolerance: Largest error.

    Returns:
        Outputs, errors, and the decisions that were taken the other way. If none makes all errors fit, those of the
        first computation.
    """
    with watched_decisions() as ties:
        found = compute()
    errors = first_errors = errors_of(found)
    if _fits(errors, tolerance):
        return found, errors, ()
    candidates = sorted(ties)[:MAX_TIES]
    for num in range(1, MAX_FLIPS + 1):
        for flipped in combinations(candidates, num):
            with watched_decisions(flipped):
                other = compute()
            errors = errors_of(other)
            if _fits(errors, tolerance):
                return other, errors, flipped
    return found, first_errors, ()


def _fits(errors: dict[str, float], tolerance: float) -> bool:
    return all(error <= tolerance for error in errors.values())
