"""Assignment of queries to the segments of a frame (Hungarian matching on sampled points)."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmavs.structures import UNLABELLED
from mmavs.utils.errors import DivergedError

from .point_sampling import chunk_size, sample_points


@dataclass
class Segments:
    """The M ground-truth segments of n frames, ordered by frame.

    Attributes:
        masks: (M, H, W) float32, 1 inside the segment.
        labels: (M,) int64 on the CPU, class of each segment.
        frames: (M,) int64 on the CPU, frame of each segment, ascending in [0, n).
        num_frames: n.
    """
    masks: Tensor
    labels: Tensor
    frames: Tensor
    num_frames: int

    @classmethod
    def from_label_maps(cls, label_maps: Tensor, num_classes: int) -> Segments:
        """One segment for each class that is present in a frame, background (0) included.

        Args:
            label_maps: (n, H, W) uint8 classes, 255 = unlabelled.
            num_classes: K.

        Raises:
            ValueError: A class is not below K.
        """
        present = torch.zeros(len(label_maps), 256, dtype=torch.bool, device=label_maps.device)
        present.scatter_(1, label_maps.flatten(1).long(), True)
        frames, labels = present[:, :UNLABELLED].cpu().nonzero(as_tuple=True)
        if len(labels) and labels.max() >= num_classes:
            raise ValueError(f'ground-truth masks hold the classes {labels.unique().tolist()}, but the head has '
                             f'num_classes={num_classes}: expected 0 to {num_classes - 1}, or 255 for unlabelled')
        device = label_maps.device
        values = labels.to(label_maps.dtype).to(device, non_blocking=True)
        masks = label_maps[frames.to(device, non_blocking=True)] == values[:, None, None]
        return cls(masks.float(), labels, frames, len(label_maps))

    @property
    def counts(self) -> Tensor:
        """Number of segments in each frame, (n,)."""
        return torch.bincount(self.frames, minlength=self.num_frames)


@torch.no_grad()
def matching_costs(class_logits: Tensor,
                   mask_logits: Tensor,
                   segments: Segments,
                   num_points: int,
                   class_weight: float,
                   mask_weight: float,
                   dice_weight: float,
                   eps: float = 1.0) -> Tensor:
    """Matching cost of every query for every segment of its frame.

    ``mask_weight * BCE - class_weight * softmax(class_logits)[class] + dice_weight * dice``, mask terms over P uniform
    random points that the queries and segments of a frame share.

    Args:
        class_logits: (n, Q, K + 1).
        mask_logits: (n, Q, h, w).
        segments: Segments of the n frames.
        num_points: P.
        class_weight: Weight of the probability that the query gives to the class of the segment.
        mask_weight: Weight of the binary cross-entropy.
        dice_weight: Weight of the dice term.
        eps: Smoothing constant of the dice term.

    Returns:
        (n, Q, G) float32 costs, G the largest number of segments in a frame; those of missing segments are arbitrary.
    """
    device = mask_logits.device
    num_frames, num_queries = mask_logits.shape[:2]
    max_segments = max(segments.counts.tolist(), default=0)  # G
    # Position of each segment in the padded (n, G) arrangement.
    first = segments.counts.cumsum(0) - segments.counts
    offsets = max_segments * torch.arange(num_frames) - first
    slots = torch.arange(len(segments.frames)) + offsets[segments.frames]
    slots = slots.to(device, non_blocking=True)

    def padded(x: Tensor) -> Tensor:
        filled = x.new_zeros(num_frames * max_segments, *x.shape[1:]).index_copy_(0, slots, x)
        return filled.unflatten(0, (num_frames, max_segments))

    frames = segments.frames.to(device, non_blocking=True)
    labels = padded(segments.labels.to(device, non_blocking=True))
    points = torch.rand(num_frames, num_points, 2, device=device)
    targets = padded(sample_points(segments.masks.unsqueeze(1), points[frames]).squeeze(1))

    block = max(1, chunk_size(device) // (num_queries * num_points))
    mask_costs = torch.cat([
        _mask_costs(*inputs, mask_weight, dice_weight, eps)
        for inputs in zip(mask_logits.split(block), points.split(block), targets.split(block))
    ])
    probability = class_logits.float().softmax(-1).gather(2, labels.unsqueeze(1).expand(-1, num_queries, -1))
    return mask_costs - class_weight * probability


def _mask_costs(mask_logits: Tensor, points: Tensor, targets: Tensor, mask_weight: float, dice_weight: float,
                eps: float) -> Tensor:
    """Mask terms of :func:`matching_costs`, (n, Q, G), for segments that are sampled at the points: (n, G, P)."""
    x, y = sample_points(mask_logits.float(), points), targets.transpose(1, 2)
    # BCE(x, y) = softplus(x) - x y: a row sum and a matrix product.
    bce = (F.softplus(x).sum(-1, keepdim=True) - x @ y) / x.shape[-1]
    x.sigmoid_()
    dice = 1 - (2 * (x @ y) + eps) / (x.sum(-1, keepdim=True) + y.sum(1, keepdim=True) + eps)
    return mask_weight * bce + dice_weight * dice


def assign_queries(costs: Tensor, counts: Tensor) -> Tensor:
    """Assign a query to each segment with the smallest total cost per frame, each query at most once.

    Args:
        costs: (L, n, Q, G) costs of L predictions, on any device; they are copied to the CPU once.
        counts: (n,) number of segments in each frame, on the CPU.

    Returns:
        (L, M) int64 on the CPU, query of each segment; -1 for segments in excess of the number of queries.

    Raises:
        DivergedError: A cost is not finite.
    """
    costs, counts = costs.cpu().numpy(), counts.tolist()
    queries = np.full((len(costs), sum(counts)), -1)
    starts = np.cumsum([0, *counts])
    for layer, layer_costs in enumerate(costs):
        for frame, count in enumerate(counts):
            cost = layer_costs[frame, :, :count]
            if not np.isfinite(cost).all():
                raise DivergedError(f'prediction {layer} of frame {frame} holds NaN or infinity: the training has '
                                    'diverged; lower the learning rate, or train without mixed precision')
            rows, columns = linear_sum_assignment(cost)
            queries[layer, starts[frame] + columns] = rows
    return torch.from_numpy(queries)
