"""What a model marks when it hears a wrong sound, as pure functions on numbers and tensors.

Sources: AVSBench-Robust (foreground share, there called FPR; the G scores, which its code does not compute, follow the
numbers that were published) and Ref-AVS (the score S of its Null subset). See
``docs/user_guides/robustness.md`` for the source of each number.
"""
from collections.abc import Mapping, Sequence
from statistics import fmean

import torch
from torch import Tensor

from .avsbench import f_score

#: G score -> the result of a test run that it is made of.
G_SCORES = {'G-mIoU': 'mIoU', 'G-F': 'F', 'G-M_J': 'M_J', 'G-M_F': 'M_F'}


def area_averages(clips: Sequence[Tensor]) -> dict[str, float]:
    """What is marked at the fixed threshold 0.5, averaged over frames.

    Args:
        clips: For each clip the (T, 4) ``areas`` of :class:`mmavs.evaluation.functional.avsbench.BinaryScores`:
            pixels that are predicted, predicted and true, true, and all pixels of each frame.

    Returns:
        Each in [0, 1], NaN where no frame counts:

        - ``mIoU``, ``F``: IoU and F-score (beta^2 = 0.3) against the ground truth, frames with empty ground truth left
          out;
        - ``foreground_share``: share of the pixels that are marked, all frames;
        - ``nonempty_rate``: share of the frames in which any pixel is marked, all frames;
        - ``pixel_FPR``: share of the background's pixels that are marked, frames without background left out;
        - ``S``: square root of a clip's marked share, mean over clips.
    """
    predicted, hits, true, pixels = torch.cat(list(clips)).double().unbind(1)
    sounding, background = true > 0, pixels - true
    iou = hits / (predicted + true - hits)
    f = f_score(hits / predicted, hits / true)
    shares = [clip.double().sum(0) for clip in clips if len(clip)]
    averages = dict(
        mIoU=iou[sounding].mean(),
        F=f[sounding].mean(),
        foreground_share=(predicted / pixels).mean(),
        nonempty_rate=(predicted > 0).double().mean(),
        pixel_FPR=((predicted - hits) / background)[background > 0].mean(),
        S=torch.stack([share[0] / share[3] for share in shares]).sqrt().mean())
    return {name: value.item() for name, value in averages.items()}


def harmonic_mean(a: float, b: float) -> float:
    """2 a b / (a + b), 0 where both are 0."""
    return 2 * a * b / (a + b) if a + b else 0.0


def g_scores(own: Mapping[str, float], wrong: Mapping[str, float]) -> dict[str, float]:
    """One number for marking what sounds and not marking it when it does not sound.

    Args:
        own: Results of :class:`mmavs.evaluation.RobustnessMetric` with the clips' own sounds: ``mIoU``, ``F``, ``M_J``,
            ``M_F`` and ``pixel_FPR``.
        wrong: Those with wrong sounds, against the same ground truth; ``foreground_share`` for ``pixel_FPR``.

    Returns:
        Each the harmonic mean of a score with the own sounds and one minus that with the wrong ones: ``G-mIoU`` and
        ``G-F`` at the fixed threshold 0.5, ``G-M_J`` and ``G-M_F`` of M_J and M_F, as published. ``G-FPR(ours)`` is
        that of the background left unmarked with the own sounds and of all pixels left unmarked with the wrong ones.
    """
    scores = {name: harmonic_mean(own[score], 1 - wrong[score]) for name, score in G_SCORES.items()}
    return scores | {'G-FPR(ours)': harmonic_mean(1 - own['pixel_FPR'], 1 - wrong['foreground_share'])}


def summarise_g_scores(own: Mapping[str, float], wrong: Mapping[str, Mapping[str, float]]) -> dict[str, dict]:
    """The G scores over several kinds of wrong sound.

    Kinds that differ in their level only ('noise' and 'noise:-20') count together as one in the averages.

    Args:
        own: See :func:`g_scores`.
        wrong: Kind -> results with sounds of that kind, at least one.

    Returns:
        ``per_kind``: kind -> its G scores; ``mean``: their means over the kinds; ``pooled``: the G scores of the means
        of the results over the kinds (which of the two the published averages are is not known).
    """
    per_kind = {kind: g_scores(own, scores) for kind, scores in wrong.items()}
    return dict(per_kind=per_kind, mean=_mean_over_kinds(per_kind), pooled=g_scores(own, _mean_over_kinds(wrong)))


def _mean_over_kinds(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Mean of every score over the levels of a kind, then over the kinds."""
    kinds: dict[str, list[Mapping[str, float]]] = {}
    for kind, values in scores.items():
        kinds.setdefault(kind.partition(':')[0], []).append(values)
    names = next(iter(scores.values()))
    return {
        name: fmean(fmean(values[name] for values in levels) for levels in kinds.values()) for name in names
    }
