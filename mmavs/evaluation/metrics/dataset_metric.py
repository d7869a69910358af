"""mIoU, F-score, FDR and J&F of one confusion matrix over the whole dataset."""
import sys
from collections.abc import Sequence

import torch
from mmengine.logging import print_log

from mmavs.evaluation.functional.dataset import (
    PRESETS,
    class_scores,
    confusion_matrix,
    dataset_averages,
)
from mmavs.registry import METRICS
from mmavs.structures import UNLABELLED

from .class_table import ClassTableMetric, class_table
from .detailed_metric import clip_identity
from .scored_frames import clip_name, scored_frames


@METRICS.register_module()
class DatasetMetric(ClassTableMetric):
    """Dataset protocol: scores of one confusion matrix over all pixels of all frames of the dataset.

    Its scores are not comparable with those of the avsbench protocol (:class:`AVSBenchMetric`, :class:`AVSSMetric`),
    which are averages over frames; the two never share a table. See ``docs/concepts/metrics.md``.

    The classes are those of the dataset's meta information. With two of them (S4, MS3) the result is a two-class mean
    with the background, and every predicted or true class except 0 is foreground. Pixels whose ground truth is 255 are
    ignored.

    Reported, each in [0, 1]: ``mIoU``, ``F`` (beta^2 = 0.3), ``mIoU_fg``, ``F_fg`` (without the background), ``FDR``
    and ``J&F``. The scores of every class are logged as a table and kept in :attr:`per_class`.

    ``details`` has ``classes`` and ``confusion_matrix``, the pixels of the dataset by true (row) and predicted class.
    Its ``per_clip`` has the pixels ``tp``, ``fp`` and ``fn`` of the classes of each clip (``per_class``), which sum up
    to those of the dataset, and ``mIoU``, ``F`` and ``FDR`` of the classes that are present in it.

    Args:
        preset: Treatment of classes that occur neither in the prediction nor in the ground truth of the whole dataset.
            'cavp': 0 in mIoU, left out of F. 'ddeseg': left out of both. The two agree if all classes occur.
        collect_device: See :class:`DetailedMetric`.
        prefix: Prefix of the names of the results.

    Reads ``pred_sem_seg`` and ``gt_sem_seg`` of the valid and labelled frames. Clips are identified by ``subset`` and
    ``clip_id``; one that a distributed sampler repeats counts once.

    Attributes:
        per_class: After evaluation, on the main process: ``dict(iou=..., f_score=..., fdr=..., pixels=...)`` for each
            class, pixels being the number of pixels in which the class is predicted or true; NaN for 0 / 0.
    """
    default_prefix = 'dataset'
    protocol = 'dataset'
    reported = dict.fromkeys(('mIoU', 'mIoU_fg', 'F', 'F_fg', 'FDR', 'J&F'), 'greater') | dict(FDR='less')

    def __init__(self, preset: str = 'cavp', collect_device: str = 'gpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        if preset not in PRESETS:
            raise ValueError(f"preset is {preset!r}, expected one of {', '.join(PRESETS)}")
        self.preset = preset
        self._num_clips = 0

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Keep the confusion matrix of each clip."""
        num_classes = len(self.classes)
        for sample in data_samples:
            pred, gt = scored_frames(sample, 'pred_sem_seg', allow_unlabelled=True)
            if num_classes == 2:
                pred, gt = (pred != 0).byte(), (gt != 0).byte().masked_fill_(gt == UNLABELLED, UNLABELLED)
            try:
                matrix = confusion_matrix(pred, gt, num_classes)
            except ValueError as error:
                raise ValueError(f'{clip_name(sample)}: {error}') from error
            # Most pairs of classes never occur: a sparse matrix is a fraction of the size.
            self.results.append(
                clip_identity(sample) | dict(frames=len(gt), matrix=matrix.to_sparse()))

    def evaluate(self, size: int) -> dict[str, float]:
        """Score the ``size`` clips of the dataset; see :class:`mmengine.evaluator.BaseMetric`."""
        self._num_clips = size
        # MMEngine would cut the collected results to ``size``, which drops the repeated clips of some samplers only.
        return super().evaluate(sys.maxsize)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Sum the matrices of the clips, compute the scores, and log and keep those of each class."""
        clips = {(result['subset'], result['clip']): result for result in results}
        matrices = {name: clip['matrix'] for name, clip in clips.items()}
        if len(matrices) != self._num_clips:
            raise ValueError(f'{len(matrices)} different clips were scored, the dataset has {self._num_clips}: the '
                             'dataset protocol needs all of them, each with a clip_id of its own')
        classes = self.classes
        matrix = sum(matrices.values(), torch.zeros(len(classes), len(classes), dtype=torch.int64))
        if not matrix.any():
            raise ValueError(f'none of the {len(matrices)} clips has a labelled frame: evaluate a split that has '
                             'ground truth')
        scores = class_scores(matrix)
        self.per_class = {
            name: dict(iou=iou, f_score=f, fdr=fdr, pixels=int(union))
            for name, iou, f, fdr, union in zip(
                classes, *(column.tolist() for column in (scores.iou, scores.f, scores.fdr, scores.union)))
        }
        self.details = dict(
            classes=list(classes),
            confusion_matrix=matrix.tolist(),
            per_class=self.per_class,
            per_clip=[self._clip_scores(clip) for clip in clips.values() if clip['frames']])
        print_log(f'per-class results over the dataset:\n{class_table(self.per_class)}', logger='current')
        return dataset_averages(scores, self.preset)

    def _clip_scores(self, clip: dict) -> dict:
        matrix = clip['matrix'].to_dense()
        averages = dataset_averages(class_scores(matrix), 'ddeseg')
        tp = matrix.diagonal()
        columns = (column.tolist() for column in (tp, matrix.sum(0) - tp, matrix.sum(1) - tp))
        return dict(
            clip=clip['clip'],
            subset=clip['subset'],
            frames=clip['frames'],
            **{name: averages[name] for name in ('mIoU', 'F', 'FDR')},
            per_class={
                name: dict(tp=tp, fp=fp, fn=fn) for name, tp, fp, fn in zip(self.classes, *columns) if tp or fp or fn
            })
