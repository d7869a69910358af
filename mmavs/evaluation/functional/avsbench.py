"""Scores of the AVSBench protocol, as pure functions of tensors.

The scores take two steps. Histograms count the pixels of each frame of a clip, therefore exactly. The rule of the
publication then averages the scores of all clips, in dataset order.

Sources: AVSBench (Zhou et al., ECCV 2022), AVSBench-semantic (Zhou et al., 2023) and VCT (CVPR 2025).
"""
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

NUM_THRESHOLDS = 255
BETA2 = 0.3
# Pixels that are counted at once: the intermediate results of a pixel take up to 30 bytes.
MAX_PIXELS = 2**22


# Binary masks: S4 and MS3


@cache
def f_score_thresholds() -> Tensor:
    """Return the 255 thresholds of the published F-score, float32, from 0 to 1 (1 - 1e-10 rounds to 1)."""
    return torch.linspace(0, 1 - 1e-10, NUM_THRESHOLDS)


@dataclass(frozen=True)
class BinaryScores:
    """Scores of N frames with one foreground class.

    Attributes:
        iou: (N,) float64, intersection over union at ``probability > 0.5``. If the ground truth is empty: fraction of
            pixels that are predicted empty.
        f_curves: (N, 255) float64, F-score (beta^2 = 0.3) at each threshold, ``probability >= threshold``; 0 if it is
            undefined.
        sounding: (N,) bool, the ground truth is not empty. The F-score excludes the other frames.
        areas: (N, 4) int64, pixels that are predicted (``probability > 0.5``), that are predicted and true, that are
            true, and all pixels.
    """
    iou: Tensor
    f_curves: Tensor
    sounding: Tensor
    areas: Tensor


def binary_scores(foreground_prob: Tensor, gt: Tensor) -> BinaryScores:
    """Score frames with one foreground class.

    One pass over the pixels: each is counted under (number of thresholds it reaches, over 0.5 or not, ground truth);
    cumulative sums of this histogram are the pixel counts at every threshold, exactly those of 255 comparisons.

    Args:
        foreground_prob: (N, H, W) probability in [0, 1], compared in float32.
        gt: (N, H, W) ground truth of any integer type or bool; everything except 0 is foreground.

    Returns:
        Scores on the CPU.

    Raises:
        ValueError: The shapes differ, or a probability is NaN or outside [0, 1].
    """
    _check_same_shape(foreground_prob, gt)
    height, width = gt.shape[1:]
    prob = foreground_prob.detach().to(gt.device, torch.float32).flatten(1)
    if prob.numel():
        low, high = (bound.item() for bound in prob.aminmax())
        if not (low >= -1e-3 and high <= 1 + 1e-3):
            raise ValueError(f'foreground probabilities lie in [{low:g}, {high:g}], expected [0, 1]: pass '
                             'probabilities, not logits, and check the model for NaN')

    gt = gt.flatten(1)
    chunk = max(1, MAX_PIXELS // max(1, height * width))
    counts = torch.cat([torch.zeros(0, NUM_THRESHOLDS + 1, 2, 2, dtype=torch.int64),
                        *map(_count_pixels, prob.split(chunk), gt.split(chunk))])

    # IoU at probability > 0.5
    gt_area = counts[..., 1].sum((1, 2))
    predicted, inter = counts[:, :, 1].sum((1, 2)), counts[:, :, 1, 1].sum(1)
    areas = torch.stack([predicted, inter, gt_area, torch.full_like(gt_area, height * width)], 1)
    sounding = gt_area > 0
    union = torch.where(sounding, predicted + gt_area - inter, height * width)
    inter = torch.where(sounding, inter, height * width - predicted)
    iou = inter.double() / (union.double() + 1e-7)

    # F-score at every threshold: a pixel that reaches k thresholds is foreground at the first k of them.
    reaching = counts.sum(2).flip(1).cumsum(1).flip(1)[:, 1:].double()
    predicted, true_positive = reaching.sum(-1), reaching[..., 1]
    precision = true_positive / (predicted + 1e-20)
    recall = true_positive / (gt_area[:, None].double() + 1e-20)
    return BinaryScores(iou, f_score(precision, recall), sounding, areas)


def _count_pixels(prob: Tensor, gt: Tensor) -> Tensor:
    """Count pixels (n, H * W) by thresholds reached, over 0.5 or not, and ground truth: (n, 256, 2, 2)."""
    # All thresholds below the nearest one are reached and all above it are not: only the nearest is compared.
    thresholds = f_score_thresholds().to(gt.device)
    nearest = prob.mul(NUM_THRESHOLDS - 1).add_(0.5).to(torch.int32)
    reached = nearest + (prob >= thresholds.index_select(0, nearest.flatten()).view_as(prob)).to(nearest.dtype)
    bins = 4 * (NUM_THRESHOLDS + 1)
    index = reached.mul_(4).add_(prob > 0.5, alpha=2).add_(gt != 0)
    index += bins * torch.arange(len(gt), device=gt.device, dtype=torch.int32)[:, None]
    counts = torch.bincount(index.flatten(), minlength=bins * len(gt)).cpu()
    return counts.view(len(gt), NUM_THRESHOLDS + 1, 2, 2)


def mean_iou_by_batch(clip_ious: Sequence[Tensor], batch_size: int | None) -> float:
    """Compute M_J: the mean over frames within each evaluation batch, then the unweighted mean over batches.

    Args:
        clip_ious: For each clip in dataset order, its (T,) frame IoUs.
        batch_size: Clips in an evaluation batch (the last may hold fewer); 1 is VCT's per-video average; None makes
            one batch of all clips, the plain mean over frames.
    """
    means = [torch.cat(batch).double().mean().item() for batch in _batches(clip_ious, batch_size)]
    return sum(means) / len(means)


def max_f_score_by_batch(clip_curves: Sequence[Tensor], clip_soundings: Sequence[int], batch_size: int | None) -> float:
    """Compute M_F: the maximum over thresholds of the mean curve of each evaluation batch, then the unweighted mean.

    A batch without any sounding frame scores 0 and counts in the mean.

    Args:
        clip_curves: For each clip in dataset order, the sum (255,) of the F-score curves of its sounding frames.
        clip_soundings: For each clip, the number of frames in that sum.
        batch_size: Clips in an evaluation batch (the last may hold fewer); 1 is VCT's per-video average; None makes
            one batch of all clips, which makes M_F independent of order and batches.
    """
    scores = []
    for curves, soundings in zip(_batches(clip_curves, batch_size), _batches(clip_soundings, batch_size), strict=True):
        curve = torch.stack(list(curves)).double().sum(0)
        scores.append((curve / max(sum(soundings), 1)).max().item())
    return sum(scores) / len(scores)


# Label maps: AVSS


def class_areas(pred: Tensor, gt: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Count the pixels of each class in each frame.

    Args:
        pred: (N, H, W) predicted class in [0, num_classes).
        gt: (N, H, W) true class in [0, num_classes).
        num_classes: K, including background (class 0).

    Returns:
        Intersection, predicted area and true area, each (N, K) int64 on the CPU.

    Raises:
        ValueError: The shapes differ, or a label is not a class.
    """
    _check_same_shape(pred, gt)
    for name, labels in (('prediction', pred), ('ground truth', gt)):
        if labels.numel():
            low, high = (bound.item() for bound in labels.aminmax())
            if low < 0 or high >= num_classes:
                raise ValueError(f'{name} holds label {high if high >= num_classes else low}, expected classes 0 to '
                                 f'{num_classes - 1}')
    pred, gt = pred.to(gt.device).flatten(1), gt.flatten(1)
    chunk = max(1, MAX_PIXELS // max(1, gt.shape[1]))
    confusion = torch.cat([torch.zeros(0, num_classes, num_classes, dtype=torch.int64),
                           *(_count_pairs(*frames, num_classes) for frames in zip(pred.split(chunk), gt.split(chunk)))])
    return confusion.diagonal(dim1=1, dim2=2), confusion.sum(1), confusion.sum(2)


def _count_pairs(pred: Tensor, gt: Tensor, num_classes: int) -> Tensor:
    """Count the pixels of each pair (true, predicted) of classes in frames (n, H * W): (n, K, K)."""
    bins = num_classes * num_classes
    index = gt.to(torch.int32).mul(num_classes).add_(pred)
    index += bins * torch.arange(len(gt), device=gt.device, dtype=torch.int32)[:, None]
    return torch.bincount(index.flatten(), minlength=bins * len(gt)).cpu().view(len(gt), num_classes, num_classes)


def class_score_sums(pred: Tensor, gt: Tensor, num_classes: int) -> Tensor:
    """Sum the per-frame scores of each class over frames.

    Args:
        pred: (N, H, W) predicted class in [0, num_classes).
        gt: (N, H, W) true class in [0, num_classes).
        num_classes: K, including background (class 0).

    Returns:
        (3, K) float64 on the CPU: sum of IoU, sum of F (beta^2 = 0.3), and the number of frames in which the class is
        present, in the prediction or in the ground truth. Such sums of several clips may be added.
    """
    inter, pred_area, gt_area = (area.double() for area in class_areas(pred, gt, num_classes))
    union = pred_area + gt_area - inter
    iou = inter / (union + torch.finfo(torch.float64).eps)
    f = f_score(inter / pred_area, inter / gt_area)
    return torch.stack([iou.sum(0), f.sum(0), (union > 0).double().sum(0)])


def padding_score_sums(num_frames: int, num_classes: int) -> Tensor:
    """Return the :func:`class_score_sums` of padded frames, in which prediction and ground truth are background."""
    sums = torch.zeros(3, num_classes, dtype=torch.float64)
    sums[:, 0] = num_frames
    return sums


def class_averages(score_sums: Tensor) -> tuple[Tensor, Tensor]:
    """Average IoU and F of each class over the frames in which it is present.

    Args:
        score_sums: (3, K), see :func:`class_score_sums`.

    Returns:
        IoU (K,) and F (K,), float64; 0 for a class that is present in no frame. M_J and M_F are their means over all K
        classes, without background over ``[1:]``.
    """
    iou, f, frames = score_sums.double()
    frames = frames.clamp(min=1)
    return iou / frames, f / frames


def f_score(precision: Tensor, recall: Tensor) -> Tensor:
    """Compute the F-score (beta^2 = 0.3) of precision and recall; 0 if it is undefined."""
    f = (1 + BETA2) * precision * recall / (BETA2 * precision + recall)
    return f.nan_to_num(nan=0.0)


def _batches(clips: Sequence, batch_size: int | None) -> list[Sequence]:
    if not len(clips):
        raise ValueError('no clips to average')
    if batch_size is None:
        batch_size = len(clips)
    return [clips[start:start + batch_size] for start in range(0, len(clips), batch_size)]


def _check_same_shape(pred: Tensor, gt: Tensor) -> None:
    if pred.shape != gt.shape or gt.ndim != 3:
        raise ValueError(f'prediction has shape {tuple(pred.shape)}, ground truth {tuple(gt.shape)}, expected the same '
                         '(frames, height, width)')
