"""Score masks on disk, of any repository, by the metrics of mmavs."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.image import imresize
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from torch.nn import functional as F

from mmavs.datasets.check import DATASET_TYPES
from mmavs.datasets.mask_files import MaskFiles, MaskFormat, open_masks
from mmavs.datasets.mask_matching import MaskMatch, match_masks
from mmavs.datasets.vpo import SUBSETS
from mmavs.engine.test_report import make_report, stamp_run
from mmavs.registry import METRICS
from mmavs.utils.palette import voc_palette
from mmavs.utils.progress import track_progress

# Metrics with the best of 255 thresholds, and those that know no classes but foreground.
THRESHOLD_METRICS = ('AVSBenchMetric', 'RobustnessMetric')
FOREGROUND_METRICS = (*THRESHOLD_METRICS, 'SwitchMetric')
AVSS_LENGTH = DATASET_TYPES['avss'].METAINFO['clip_length']


def score_masks(ground_truth: str | Path,
                predictions: str | Path,
                metrics: Sequence[dict],
                dataset: str | None = None,
                split: str = 'test',
                classes: Sequence[str] | None = None,
                soft: bool = False,
                ground_truth_encoding: str = 'auto',
                prediction_encoding: str = 'auto',
                off_palette: str = 'error',
                resize: bool = False,
                size: tuple[int, int] | None = None,
                allow_missing: bool = False) -> dict[str, Any]:
    """Score masks on disk against the ground truth, clip by clip.

    Args:
        ground_truth: Root of a dataset with its list of clips, directory of PNG files, or ``.npz`` file; see
            :mod:`mmavs.datasets.mask_files`.
        predictions: Directory of PNG files, or ``.npz`` file.
        metrics: Configs of metrics, for example ``dict(type='DatasetMetric', preset='ddeseg')``.
        dataset: 's4', 'ms3', 'avss', 'vpo-ss', 'vpo-ms' or 'vpo-msmi': states the classes.
        split: Split of the dataset, if ``ground_truth`` is its root.
        classes: Names of the K classes, background first, of another dataset. Without dataset and classes there are
            two: background and sounding object.
        soft: The PNG files of the predictions are probabilities, 0 to 255. Floats in an ``.npz`` file always are.
        ground_truth_encoding: Of the PNG files, see :func:`mmavs.datasets.transforms.loading.read_mask`; not of a root.
        prediction_encoding: The same of the predictions.
        off_palette: Colors of color masks that belong to no class: 'error' or 'background'.
        resize: Resize predictions of another size to that of the ground truth, to the nearest pixel.
        size: (height, width) to which both are resized, to the nearest pixel, before they are compared.
        allow_missing: Score the clips and frames that both have. Otherwise one without a partner is an error.

    Returns:
        Report of :func:`mmavs.engine.test_report.make_report`. Its stamp describes the masks in place of config and
        checkpoint; ``stamp['notes']`` are sentences that belong to the numbers.

    Raises:
        FileNotFoundError: There are no masks.
        ValueError: Clips, frames or sizes differ, or a mask holds other values than the classes.
    """
    single = dataset in SUBSETS
    meta = _meta(dataset, classes)
    num_classes = len(meta['classes'])
    truth = open_masks(
        ground_truth, MaskFormat(num_classes, ground_truth_encoding, False, off_palette, single), dataset, split,
        meta['classes'])
    predicted = open_masks(predictions, MaskFormat(num_classes, prediction_encoding, soft, off_palette, single))
    if truth.soft:
        raise ValueError(f'{ground_truth}: the ground truth holds probabilities, expected classes')
    match = match_masks(truth, predicted, AVSS_LENGTH if dataset == 'avss' else None, allow_missing)

    evaluator = Evaluator([METRICS.build(dict(metric)) for metric in metrics])
    evaluator.dataset_meta = meta
    pad = dataset == 'avss' and any(metric.get('count_padded_frames') for metric in metrics)
    scored = {clip: frames for clip, frames in match.frames.items() if frames[1]}
    for clip in track_progress(scored, 'clips', len(scored)):
        masks = _read_pair(truth, predicted, clip, scored[clip], resize, size)
        evaluator.process([_sample(clip, dataset, *masks, predicted.soft, AVSS_LENGTH if pad else 0)])
    stamp = dict(
        ground_truth=str(ground_truth),
        predictions=str(predictions),
        dataset=dataset,
        split=split if dataset else None,
        soft=predicted.soft,
        resized=list(size) if size else resize,
        clips=len(scored),
        frames=sum(len(numbers) for _, numbers, _ in scored.values()),
        missing_clips=len(match.missing_clips) + len(match.frames) - len(scored),
        missing_frames=match.missing_frames,
        surplus_clips=len(match.surplus_clips),
        surplus_frames=match.surplus_frames,
        notes=_notes(match, truth, predicted, metrics, num_classes, len(scored)),
        **stamp_run())
    config = Config(dict(test_evaluator=list(metrics)))
    return make_report(config, evaluator.evaluate(len(scored)), evaluator.metrics, stamp)


def _meta(dataset: str | None, classes: Sequence[str] | None) -> dict[str, Any]:
    """Classes and palette."""
    if dataset is not None:
        if dataset not in DATASET_TYPES:
            raise ValueError(f"dataset is {dataset!r}, expected one of {', '.join(DATASET_TYPES)}")
        kind = DATASET_TYPES[dataset]
        meta = getattr(kind, 'func', kind).METAINFO
        if classes is None:
            return dict(classes=meta['classes'], palette=meta['palette'])
    classes = tuple(classes or ('background', 'sounding object'))
    if not 2 <= len(classes) <= 255:
        raise ValueError(f'{len(classes)} class(es), expected 2 to 255 with the background first')
    return dict(classes=classes, palette=voc_palette(len(classes)))


def _read_pair(truth: MaskFiles, predicted: MaskFiles, clip: str, frames: tuple[str, list[int], list[int]],
               resize: bool, size: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray]:
    """Read the ground truth and the prediction of a clip at one size."""
    other, numbers, other_numbers = frames
    gt, pred = truth.read(clip, numbers), predicted.read(other, other_numbers)
    if size is not None:
        return _resized(gt, size), _resized(pred, size)
    if gt.shape[1:] != pred.shape[1:]:
        if not resize:
            raise ValueError(f'{predicted.path}: the masks of {other!r} are {pred.shape[1]}x{pred.shape[2]}, the '
                             f'ground truth is {gt.shape[1]}x{gt.shape[2]} (height x width): --resize nearest gives '
                             'them the size of the ground truth, --size gives both another')
        pred = _resized(pred, gt.shape[1:])
    return gt, pred


def _resized(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize to the nearest pixel, as the test pipelines do."""
    if masks.shape[1:] == tuple(size):
        return masks
    height, width = size
    return np.stack([imresize(mask, (width, height), interpolation='nearest', backend='pillow') for mask in masks])


def _sample(clip: str, subset: str | None, gt: np.ndarray, pred: np.ndarray, soft: bool, length: int) -> dict:
    """Make the data sample that the metrics read; frames up to ``length`` are padding."""
    pred, gt = torch.from_numpy(pred), torch.from_numpy(gt)
    padding = max(0, length - len(gt))
    pred, gt = (F.pad(masks, (0, 0, 0, 0, 0, padding)) for masks in (pred, gt))
    return dict(
        clip_id=clip,
        subset=subset,
        valid=torch.arange(len(gt)) < len(gt) - padding,
        gt_sem_seg=gt,
        pred_sem_seg=(pred > 0.5).byte() if soft else pred,
        foreground_prob=pred if soft else (pred != 0).float())


def _notes(match: MaskMatch, truth: MaskFiles, predicted: MaskFiles, metrics: Sequence[Mapping], num_classes: int,
           scored: int) -> list[str]:
    """Sentences without which the numbers would be misread."""
    notes = []
    kinds = {metric['type'] for metric in metrics}
    if not predicted.soft and kinds & set(THRESHOLD_METRICS):
        notes.append('The predictions are masks without probabilities: M_F has no thresholds to choose from, published '
                     'M_F takes the best of 255.')
    if num_classes > 2 and kinds & set(FOREGROUND_METRICS):
        notes.append('Every class except the background is foreground.')
    skipped = len(truth.clips) - scored
    if skipped or match.missing_frames or match.surplus_clips or match.surplus_frames:
        notes.append(f'Only what both have is scored: {skipped} of {len(truth.clips)} clips and {match.missing_frames} '
                     f'frames of the others have no prediction; {len(match.surplus_clips)} clips and '
                     f'{match.surplus_frames} frames are only predicted.')
    return notes
