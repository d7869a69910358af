"""Scores of the dataset protocol, as pure functions of tensors.

One confusion matrix M[true, predicted] counts all pixels of all frames; the scores are computed from the matrix.

Sources: the released code of CAVP (Chen et al., CVPR 2024) and of DDESeg (CVPR 2025).
"""
from dataclasses import dataclass

import torch
from torch import Tensor

from mmavs.structures import UNLABELLED

from .avsbench import BETA2, MAX_PIXELS

#: Preset -> IoU of a class that is neither in the prediction nor in the ground truth: counted as 0, or skipped.
PRESETS = dict(cavp='zero', ddeseg='skip')


def confusion_matrix(pred: Tensor, gt: Tensor, num_classes: int) -> Tensor:
    """Count the labelled pixels of frames by true and predicted class.

    Args:
        pred: Predicted class in [0, num_classes), uint8 or another integer type, any shape.
        gt: True class in [0, num_classes), or 255 if unlabelled; the same shape.
        num_classes: K <= 255, including background (class 0).

    Returns:
        M[true, predicted], (K, K) int64 on the CPU. Matrices of several clips may be added.

    Raises:
        ValueError: The shapes differ, or a label is not a class.
    """
    if pred.shape != gt.shape:
        raise ValueError(f'prediction has shape {tuple(pred.shape)}, ground truth {tuple(gt.shape)}, expected the same')
    if not gt.numel():
        return torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for name, labels, largest in (('prediction', pred, num_classes - 1), ('ground truth', gt, UNLABELLED)):
        low, high = (bound.item() for bound in labels.aminmax())
        if low < 0 or high > largest:
            raise ValueError(f'{name} holds label {low if low < 0 else high}, expected classes 0 to {num_classes - 1}')
    # One row for each of the 256 values of the ground truth: unlabelled pixels need no mask, wrong labels are found.
    rows = torch.zeros(UNLABELLED + 1, num_classes, dtype=torch.int64)
    for p, g in zip(pred.to(gt.device).flatten().split(MAX_PIXELS), gt.flatten().split(MAX_PIXELS)):
        index = g.to(torch.int32).mul(num_classes).add_(p)
        rows += torch.bincount(index, minlength=rows.numel()).cpu().view_as(rows)
    wrong = rows[num_classes:UNLABELLED].any(1).nonzero()
    if len(wrong):
        raise ValueError(f'ground truth holds label {num_classes + wrong[0].item()}, expected classes 0 to '
                         f'{num_classes - 1}, or {UNLABELLED} where unlabelled')
    return rows[:num_classes]


@dataclass(frozen=True)
class ClassScores:
    """Scores of K classes over a dataset, each (K,) float64; NaN if a score is 0 / 0.

    Attributes:
        iou: TP / (TP + FP + FN).
        f: (1 + b) TP / ((1 + b) TP + b FN + FP) with b = beta^2 = 0.3, which is F of precision and recall; 0 for a
            class without true positives.
        fdr: False discovery rate FP / (TP + FP).
        union: TP + FP + FN, pixels in which the class is predicted or true.
    """
    iou: Tensor
    f: Tensor
    fdr: Tensor
    union: Tensor


def class_scores(matrix: Tensor) -> ClassScores:
    """Compute the scores of each class from the (K, K) matrix of :func:`confusion_matrix`."""
    matrix = matrix.double()
    tp = matrix.diagonal()
    fp, fn = matrix.sum(0) - tp, matrix.sum(1) - tp
    union = tp + fp + fn
    return ClassScores(
        iou=tp / union, f=(1 + BETA2) * tp / ((1 + BETA2) * tp + BETA2 * fn + fp), fdr=fp / (tp + fp), union=union)


def dataset_averages(scores: ClassScores, preset: str) -> dict[str, float]:
    """Average the scores of the classes as a publication does.

    F and FDR are means over the classes for which they are defined. IoU is a mean over the same classes with 'ddeseg';
    with 'cavp' it is a mean over all K classes, in which a class that never occurs counts 0.

    Args:
        scores: Scores of the K classes, background first.
        preset: 'cavp' or 'ddeseg'.

    Returns:
        ``mIoU`` and ``F`` over all classes, ``mIoU_fg`` and ``F_fg`` without the background, ``FDR``, and ``J&F``, the
        mean of mIoU and F; each in [0, 1], NaN if no class has the score.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset is {preset!r}, expected one of {', '.join(PRESETS)}")
    iou = scores.iou.nan_to_num(nan=0.0) if PRESETS[preset] == 'zero' else scores.iou
    averages = dict(
        mIoU=iou.nanmean(),
        mIoU_fg=iou[1:].nanmean(),
        F=scores.f.nanmean(),
        F_fg=scores.f[1:].nanmean(),
        FDR=scores.fdr.nanmean())
    averages['J&F'] = (averages['mIoU'] + averages['F']) / 2
    return {name: value.item() for name, value in averages.items()}
