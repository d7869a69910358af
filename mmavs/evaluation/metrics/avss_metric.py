"""M_J and M_F of AVSBench-semantic (AVSS)."""
from collections.abc import Sequence
from statistics import fmean

from mmengine.logging import print_log
from torch import Tensor

from mmavs.evaluation.functional.avsbench import class_averages, class_score_sums, padding_score_sums
from mmavs.registry import METRICS

from .class_table import ClassTableMetric, class_table
from .detailed_metric import clip_identity
from .scored_frames import clip_name, num_padded_frames, scored_frames


@METRICS.register_module()
class AVSSMetric(ClassTableMetric):
    """Jaccard index and F-score of K classes, averaged per frame and class as published for AVSS.

    The scores of a class are averaged over the frames in which it is predicted or true; M_J and M_F are plain means
    over all K classes, in which a class that never occurs counts as 0. See ``docs/concepts/metrics.md``.

    Reported, each in [0, 1]: ``M_J``, ``M_F`` over all classes; ``M_J_without_background``, ``M_F_without_background``
    over classes 1 to K - 1 (the published code drops the last class instead). The scores of every class are logged as a
    table and kept in :attr:`per_class`.

    Args:
        count_padded_frames: Count the frames that pad a clip to 10 as correctly predicted background, as the evaluation
            of AVSBench and AVSegFormer does. VCT and COMBO evaluate valid frames only.
        collect_device: See :class:`DetailedMetric`.
        prefix: Prefix of the names of the results.

    ``details['per_clip']`` has the scores ``per_class`` of each clip, of the classes that are present in it, and their
    means ``M_J`` and ``M_F``. M_J and M_F of the dataset are not means of these, because they average over the
    frames of each class. They follow from the per-class scores of the clips, weighted by ``frames``.

    Reads ``pred_sem_seg`` and ``gt_sem_seg`` of the valid and labelled frames, and the classes of the dataset's meta
    information.

    Attributes:
        per_class: After evaluation, on the main process: ``dict(iou=..., f_score=..., frames=...)`` for each class,
            frames being the number of frames in which the class is predicted or true.
    """
    default_prefix = 'avsbench'
    protocol = 'avsbench'
    reported = dict.fromkeys(('M_J', 'M_F', 'M_J_without_background', 'M_F_without_background'), 'greater')

    def __init__(self,
                 count_padded_frames: bool = False,
                 collect_device: str = 'gpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.count_padded_frames = count_padded_frames

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Keep the (3, K) sums of IoU, F and frames of each clip, and its number of frames scored."""
        num_classes = len(self.classes)
        for sample in data_samples:
            pred, gt = scored_frames(sample, 'pred_sem_seg')
            try:
                sums = class_score_sums(pred, gt, num_classes)
            except ValueError as error:
                raise ValueError(f'{clip_name(sample)}: {error}') from error
            if self.count_padded_frames:
                sums += padding_score_sums(num_padded_frames(sample), num_classes)
            self.results.append(clip_identity(sample) | dict(sums=sums, num_labelled=len(gt)))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Average over classes, and log and keep the scores of each class."""
        if not sum(clip['num_labelled'] for clip in results):
            raise ValueError(f'none of the {len(results)} clips has a labelled frame: evaluate a split that has ground '
                             'truth')
        sums = sum(clip['sums'] for clip in results)
        iou, f_score = class_averages(sums)
        self.per_class = self._named(sums)
        self.details = dict(
            per_class=self.per_class, per_clip=[self._clip_scores(clip) for clip in results if clip['num_labelled']])
        print_log(f'per-class results:\n{class_table(self.per_class)}', logger='current')
        return dict(
            M_J=iou.mean().item(),
            M_F=f_score.mean().item(),
            M_J_without_background=iou[1:].mean().item(),
            M_F_without_background=f_score[1:].mean().item())

    def _named(self, sums: Tensor) -> dict[str, dict[str, float]]:
        """Return the scores of each class by its name, from sums (3, K)."""
        iou, f_score = class_averages(sums)
        return {
            name: dict(iou=iou[c].item(), f_score=f_score[c].item(), frames=int(sums[2, c]))
            for c, name in enumerate(self.classes)
        }

    def _clip_scores(self, clip: dict) -> dict:
        present = {name: scores for name, scores in self._named(clip['sums']).items() if scores['frames']}
        return dict(
            clip=clip['clip'],
            subset=clip['subset'],
            frames=clip['num_labelled'],
            M_J=fmean(scores['iou'] for scores in present.values()),
            M_F=fmean(scores['f_score'] for scores in present.values()),
            per_class=present)
