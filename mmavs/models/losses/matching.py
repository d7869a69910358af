"""Assignment of queries to the segments of a frame (Hungarian matching on sampled points)."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .point_sampling import sample_points, values_at_once

UNLABELLED = 255


@dataclass
class Segments:
    """The M segments that are to be found in n frames, ordered by frame.

    Attributes:
        masks: (M, H, W) float32, 1 inside the segment.
        labels: (M,) int64 on the CPU, class of each.
        frames: (M,) int64 on the CPU, the frame of each, ascending in [0, n).
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
            num_classes: K; any other value from K on is an error.
        """
        present = torch.zeros(len(label_maps), 256, dtype=torch.bool, device=label_maps.device)
        present.scatter_(1, label_maps.flatten(1).long(), True)
        frames, labels = present[:, :UNLABELLED].cpu().nonzero(as_tuple=True)
        if len(labels) and labels.max() >= num_classes:
            raise ValueError(f'ground-truth masks hold the classes {labels.unique().tolist()}, but the head has '
                             f'num_classes={num_classes}: expected 0 to {num_classes - 1}, or 255 for unlabelled')
        device = label_maps.device
        masks = label_maps[frames.to(device, non_blocking=True)] == labels.to(device, torch.uint8)[:, None, None]
        return cls(masks.float(), labels, frames, len(label_maps))

    @property
    def counts(self) -> list[int]:
        """Segments in each frame."""
        return torch.bincount(self.frames, minlength=self.num_frames).tolist()


@torch.no_grad()
def matching_costs(class_logits: Tensor,
                   mask_logits: Tensor,
                   segments: Segments,
                   num_points: int,
                   class_weight: float,
                   mask_weight: float,
                   dice_weight: float,
                   eps: float = 1.0) -> Tensor:
    """Cost of every query for every segment of its frame.

    ``mask_weight * BCE - class_weight * softmax(class_logits)[class] + dice_weight * dice``, mask terms over P uniform
    random points that the queries and segments of a frame share.

    Args:
        class_logits: (n, Q, K + 1).
        mask_logits: (n, Q, h, w).
        segments: Segments of the n frames.
        num_points: P.
        eps: Smoothing constant of the dice term.

    Returns:
        (n, Q, G) float32 costs, G the largest number of segments in a frame; those of missing segments are arbitrary.
    """
    device = mask_logits.device
    num_frames, num_queries = mask_logits.shape[:2]
    counts = torch.bincount(segments.frames, minlength=num_frames)
    most = max(counts.tolist(), default=0)
    # Position of each segment in the padded (n, G) arrangement.
    first = counts.cumsum(0) - counts
    slots = torch.arange(len(segments.frames)) + (most * torch.arange(num_frames) - first)[segments.frames]
    slots = slots.to(device, non_blocking=True)

    def padded(x: Tensor) -> Tensor:
        return x.new_zeros(num_frames * most, *x.shape[1:]).index_copy_(0, slots, x).unflatten(0, (num_frames, most))

    frames = segments.frames.to(device, non_blocking=True)
    labels = padded(segments.labels.to(device, non_blocking=True))
    points = torch.rand(num_frames, num_points, 2, device=device)
    targets = padded(sample_points(segments.masks.unsqueeze(1), points[frames]).squeeze(1))

    # BCE(x, y) = softplus(x) - x y, so that its mean over the points is a row sum and a matrix product. The points are
    # taken in blocks: for all of them at once, the samples of the queries would be the largest tensors of the step.
    overlap = mask_logits.new_zeros(num_frames, num_queries, most, dtype=torch.float32)
    product, softplus, area = torch.zeros_like(overlap), overlap.new_zeros(num_frames, num_queries), 0
    mask_logits = mask_logits.float()
    block = max(1, values_at_once(device) // max(1, num_frames * num_queries))
    for start in range(0, num_points, block):
        y = targets[..., start:start + block].transpose(1, 2)
        x = sample_points(mask_logits, points[:, start:start + block])
        product += x @ y
        softplus += F.softplus(x).sum(-1)
        x.sigmoid_()
        overlap += x @ y
        area += x.sum(-1)
    bce = (softplus.unsqueeze(-1) - product) / num_points
    dice = 1 - (2 * overlap + eps) / (area.unsqueeze(-1) + targets.sum(-1).unsqueeze(1) + eps)
    probability = class_logits.float().softmax(-1).gather(2, labels.unsqueeze(1).expand(-1, num_queries, -1))
    return mask_weight * bce - class_weight * probability + dice_weight * dice


def assign_queries(costs: Tensor, counts: list[int]) -> Tensor:
    """The query of each segment that makes the total cost of each frame smallest, no query taken twice.

    Args:
        costs: (L, n, Q, G) costs of L predictions, on any device: they are copied to the CPU once.
        counts: Segments in each of the n frames.

    Returns:
        (L, M) int64 on the CPU, query of each segment; -1 where a frame has more segments than there are queries.
    """
    costs = costs.cpu().numpy()
    queries = np.full((len(costs), sum(counts)), -1)
    starts = np.cumsum([0, *counts])
    for layer, layer_costs in enumerate(costs):
        for frame, count in enumerate(counts):
            cost = layer_costs[frame, :, :count]
            if not np.isfinite(cost).all():
                raise ValueError(f'the predictions {layer} of frame {frame} hold NaN or infinity: the training has '
                                 'diverged; lower the learning rate, or train without mixed precision')
            rows, columns = linear_sum_assignment(cost)
            queries[layer, starts[frame] + columns] = rows
    return torch.from_numpy(queries)
