"""Scores of predictions under replaced audio, as pure functions of numbers and tensors.

Sources: AVSBench-Robust (foreground share, there called FPR; the G scores, which its code does not compute, follow the
published numbers) and Ref-AVS (the score S of its Null subset). See
``docs/user_guides/robustness.md`` for the source of each score.
"""
from collections.abc import Mapping, Sequence
from statistics import fmean

import torch
from torch import Tensor

from .avsbench import f_score

#: G score -> result of a test run from which it is computed.
G_SCORES = {'G-mIoU': 'mIoU', 'G-F': 'F', 'G-M_J': 'M_J', 'G-M_F': 'M_F'}


def area_averages(clips: Sequence[Tensor]) -> dict[str, float]:
    """Average the areas that are predicted at the fixed threshold 0.5.

    Args:
        clips: For each clip the (T, 4) ``areas`` of :class:`mmavs.evaluation.functional.avsbench.BinaryScores`:
            pixels that are predicted, predicted and true, true, and all pixels of each frame.

    Returns:
        Each in [0, 1], NaN if no frame counts:

        - ``mIoU``, ``F``: IoU and F-score (beta^2 = 0.3) against the ground truth, without frames of empty ground
          truth;
        - ``foreground_share``: fraction of the pixels that are predicted as foreground, all frames;
        - ``nonempty_rate``: fraction of the frames in which any pixel is predicted as foreground, all frames;
        - ``pixel_FPR``: fraction of the background pixels that are predicted as foreground, without frames that have
          no background;
        - ``S``: square root of the predicted fraction of a clip, mean over clips.
    """
    predicted, hits, true, pixels = torch.cat(list(clips)).double().unbind(1)
    sounding, background = true > 0, pixels - true
    iou = hits / (predicted + true - hits)
    f = f_score(hits / predicted, hits / true)
    totals = [clip.double().sum(0) for clip in clips if len(clip)]
    averages = dict(
        mIoU=iou[sounding].mean(),
        F=f[sounding].mean(),
        foreground_share=(predicted / pixels).mean(),
        nonempty_rate=(predicted > 0).double().mean(),
        pixel_FPR=((predicted - hits) / background)[background > 0].mean(),
        S=torch.stack([total[0] / total[3] for total in totals]).sqrt().mean())
    return {name: value.item() for name, value in averages.items()}


def harmonic_mean(a: float, b: float) -> float:
    """Compute 2 a b / (a + b), 0 if both are 0."""
    return 2 * a * b / (a + b) if a + b else 0.0


def g_scores(original: Mapping[str, float], negative: Mapping[str, float]) -> dict[str, float]:
    """Combine the scores with original and with negative audio: high if sounding objects and only they are segmented.

    Args:
        original: Results of :class:`mmavs.evaluation.RobustnessMetric` with the original audio: ``mIoU``, ``F``,
            ``M_J``, ``M_F`` and ``pixel_FPR``.
        negative: Those with negative audio, against the same ground truth; ``foreground_share`` for ``pixel_FPR``.

    Returns:
        Each the harmonic mean of a score with the original audio and one minus that with negative audio: ``G-mIoU`` and
        ``G-F`` at the fixed threshold 0.5, ``G-M_J`` and ``G-M_F`` of M_J and M_F, as published. ``G-FPR(ours)``
        combines the fractions predicted as background: of the background pixels with the original audio, of all pixels
        with negative audio.
    """
    scores = {name: harmonic_mean(original[score], 1 - negative[score]) for name, score in G_SCORES.items()}
    return scores | {'G-FPR(ours)': harmonic_mean(1 - original['pixel_FPR'], 1 - negative['foreground_share'])}


def summarize_g_scores(original: Mapping[str, float], negatives: Mapping[str, Mapping[str, float]]) -> dict[str, dict]:
    """Compute and average the G scores over several negative audio conditions.

    Conditions that differ only in their level ('noise' and 'noise:-20') count as one in the averages.

    Args:
        original: See :func:`g_scores`.
        negatives: Condition -> results with its audio, at least one.

    Returns:
        ``per_kind``: condition -> its G scores; ``mean``: their means over the conditions; ``pooled``: the G scores of
        the means of the results over the conditions. It is not known which of the two the published averages are.
    """
    per_kind = {kind: g_scores(original, scores) for kind, scores in negatives.items()}
    pooled = g_scores(original, _mean_over_kinds(negatives))
    return dict(per_kind=per_kind, mean=_mean_over_kinds(per_kind), pooled=pooled)


def _mean_over_kinds(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Average every score over the levels of a condition, then over the conditions."""
    kinds: dict[str, list[Mapping[str, float]]] = {}
    for kind, values in scores.items():
        kinds.setdefault(kind.partition(':')[0], []).append(values)
    names = next(iter(scores.values()))
    return {
        name: fmean(fmean(values[name] for values in levels) for levels in kinds.values()) for name in names
    }
