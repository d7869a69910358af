"""Select the frames of a clip that are scored, and check them for every metric."""
import torch
from torch import Tensor

from mmavs.evaluation.functional.avsbench import BinaryScores, binary_scores
from mmavs.structures import UNLABELLED


def scored_frames(sample: dict, prediction: str, allow_unlabelled: bool = False) -> tuple[Tensor, Tensor]:
    """Select prediction and ground truth of the valid and labelled frames.

    Args:
        sample: One data sample as a dict, with ``gt_sem_seg`` (T, H, W), ``prediction`` (T, H, W) and, unless all
            frames are valid and labelled, ``valid`` and ``labelled`` (T,) bool.
        prediction: Field that is scored.
        allow_unlabelled: Labelled frames may hold unlabelled pixels (255).

    Returns:
        Two tensors (t, H, W), t <= T.

    Raises:
        ValueError: A field is missing, the sizes differ, a score is NaN, or a labelled frame holds unlabelled pixels
            that are not allowed.
    """
    clip = clip_name(sample)
    if sample.get('gt_sem_seg') is None:
        raise ValueError(f'{clip} has no gt_sem_seg and cannot be scored: load masks in the pipeline '
                         '(LoadClipMasks), or evaluate a split that has ground truth')
    if sample.get(prediction) is None:
        raise ValueError(f'{clip} has no {prediction}: the metric needs the data samples that the segmentor returns '
                         "with mode='predict'")
    pred, gt = sample[prediction], sample['gt_sem_seg']
    if pred.shape != gt.shape or gt.ndim != 3:
        raise ValueError(f'{clip}: {prediction} has shape {tuple(pred.shape)}, gt_sem_seg {tuple(gt.shape)}, expected '
                         'the same (T, H, W): out_shape of the data sample must be the size of its masks')
    for field in ('foreground_prob', 'seg_logits'):
        scores = sample.get(field)
        if scores is not None and scores.is_floating_point() and scores.isnan().any():
            raise ValueError(f'{clip}: {field} holds NaN, which is not scored: the weights are damaged, or '
                             'their training has diverged')
    scored = _flags(sample, 'valid', len(gt)) & _flags(sample, 'labelled', len(gt))
    if not scored.all():
        pred, gt = pred[scored.to(pred.device)], gt[scored.to(gt.device)]
    if not allow_unlabelled and gt.numel() and gt.max() == UNLABELLED:
        raise ValueError(f'{clip}: a labelled frame holds unlabelled pixels (255); the avsbench protocol scores every '
                         'pixel: do not pad or crop masks at test time, or mark the frame as not labelled')
    return pred, gt


def score_foreground(sample: dict) -> tuple[BinaryScores, Tensor]:
    """Score ``foreground_prob`` in the valid and labelled frames; return the scores and the ground truth.

    Args:
        sample: See :func:`scored_frames`.

    Raises:
        ValueError: See :func:`scored_frames` and :func:`binary_scores`; the message names the clip.
    """
    prob, gt = scored_frames(sample, 'foreground_prob')
    try:
        return binary_scores(prob, gt), gt
    except ValueError as error:
        raise ValueError(f'{clip_name(sample)}: {error}') from error


def num_padded_frames(sample: dict) -> int:
    """Count the frames of the T that are padding."""
    return int((~_flags(sample, 'valid', len(sample['gt_sem_seg']))).sum())


def clip_name(sample: dict) -> str:
    """Return the name of the clip in error messages."""
    return f"clip {sample.get('clip_id', '(without clip_id)')!r}"


def _flags(sample: dict, key: str, num_frames: int) -> Tensor:
    flags = sample.get(key)
    if flags is None:
        return torch.ones(num_frames, dtype=torch.bool)
    flags = torch.as_tensor(flags, dtype=torch.bool).cpu()
    if len(flags) != num_frames:
        raise ValueError(f'{clip_name(sample)}: {key} has {len(flags)} flags for {num_frames} masks')
    return flags
