"""M_J and M_F of AVSBench-object (S4 and MS3)."""
from collections.abc import Sequence

from mmavs.evaluation.functional.avsbench import BinaryScores, max_f_score_by_batch, mean_iou_by_batch
from mmavs.registry import METRICS

from .detailed_metric import DetailedMetric, clip_identity
from .scored_frames import score_foreground


@METRICS.register_module()
class AVSBenchMetric(DetailedMetric):
    """Jaccard index and F-score of sounding objects against background, as published for S4 and MS3.

    The published F-score takes the best of 255 thresholds for each evaluation batch; therefore it depends on the number
    of clips in a batch. Batches are formed here from the collected clips in dataset order: the scores depend neither on
    the batch size of the data loader nor on the number of processes. See ``docs/concepts/metrics.md``.

    Reported, each in [0, 1]:

    - ``M_J``, ``M_F``: evaluation batches of ``batch_size`` clips, unweighted mean over batches (AVSBench,
      AVSegFormer);
    - ``M_J_per_video``, ``M_F_per_video``: every clip is a batch, mean over clips (VCT, COMBO);
    - ``M_J_batch_free``, ``M_F_batch_free``: one batch of all frames; independent of batches and order.

    Args:
        batch_size: Clips in a published evaluation batch: 1 for VCT, 2 for AVSegFormer, 4 for AVSBench.
        collect_device: See :class:`DetailedMetric`.
        prefix: Prefix of the names of the results.

    ``details['per_clip']`` has ``M_J`` and ``M_F`` of each clip as a batch of its own, and ``sounding_frames``, the
    number of frames in its M_F; clips without a labelled frame are left out.

    Reads ``foreground_prob`` and ``gt_sem_seg`` (every class except 0 is foreground) of the valid and labelled frames.
    """
    default_prefix = 'avsbench'
    protocol = 'avsbench'
    #: Results -> better direction, see :func:`mmavs.utils.monitored_metrics.complete_rules`.
    reported = {f'M_{score}{suffix}': 'greater' for suffix in ('', '_per_video', '_batch_free') for score in 'JF'}

    def __init__(self, batch_size: int = 1, collect_device: str = 'gpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        if batch_size < 1:
            raise ValueError(f'batch_size is {batch_size}, expected at least 1 clip')
        self.batch_size = batch_size

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Keep the frame IoUs, the summed F-score curve and the number of sounding frames of each clip."""
        for sample in data_samples:
            scores, _ = score_foreground(sample)
            self.results.append(clip_identity(sample) | self.record(scores))

    def record(self, scores: BinaryScores) -> dict:
        """Select the scores of a clip that are kept."""
        # Curves of frames without a sounding object are zero: all frames may be summed.
        return dict(iou=scores.iou, curve=scores.f_curves.sum(0), sounding=int(scores.sounding.sum()))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Average over the clips, which are in dataset order."""
        clips = [clip for clip in results if len(clip['iou'])]
        if not clips:
            raise ValueError(f'none of the {len(results)} clips has a labelled frame: evaluate a split that has ground '
                             'truth')
        ious, curves, soundings = ([clip[key] for clip in clips] for key in ('iou', 'curve', 'sounding'))
        metrics = {}
        for suffix, batch_size in (('', self.batch_size), ('_per_video', 1), ('_batch_free', None)):
            metrics[f'M_J{suffix}'] = mean_iou_by_batch(ious, batch_size)
            metrics[f'M_F{suffix}'] = max_f_score_by_batch(curves, soundings, batch_size)
        self.details = dict(per_clip=[self.clip_scores(clip) for clip in clips])
        return metrics

    def clip_scores(self, clip: dict) -> dict:
        """Score one clip, from its result of :meth:`process`."""
        return dict(
            clip=clip['clip'],
            subset=clip['subset'],
            frames=len(clip['iou']),
            sounding_frames=clip['sounding'],
            M_J=mean_iou_by_batch([clip['iou']], 1),
            M_F=max_f_score_by_batch([clip['curve']], [clip['sounding']], 1))
