"""M_J and M_F, and the areas predicted at a fixed threshold, for tests with replaced audio."""
from collections.abc import Sequence

from mmavs.evaluation.functional.avsbench import BinaryScores
from mmavs.evaluation.functional.robustness import area_averages
from mmavs.registry import METRICS

from .avsbench_metric import AVSBenchMetric


@METRICS.register_module()
class RobustnessMetric(AVSBenchMetric):
    """Metrics of :class:`AVSBenchMetric` and of :func:`mmavs.evaluation.functional.robustness.area_averages`.

    With negative audio the ground truth is still that of the original audio, and the prediction should differ from it.
    M_F takes the best of 255 thresholds, and a map of low but well-shaped probabilities scores high. ``F`` and
    ``mIoU``, at the fixed threshold 0.5 and without the frames whose ground truth is empty, do not reward it. See
    ``docs/user_guides/robustness.md``.

    ``details['per_clip']`` has the scores of both of each clip.

    Args:
        batch_size: See :class:`AVSBenchMetric`, which documents the other arguments too.
    """
    default_prefix = 'robustness'
    # The three others are areas: the larger the better with original audio, and the reverse with negative audio.
    reported = AVSBenchMetric.reported | dict(
        mIoU='greater', F='greater', foreground_share=None, nonempty_rate=None, pixel_FPR='less', S=None)

    def record(self, scores: BinaryScores) -> dict:
        """Select the scores of a clip that are kept."""
        return dict(super().record(scores), areas=scores.areas)

    def clip_scores(self, clip: dict) -> dict:
        """Score one clip, from its result of :meth:`process`."""
        return super().clip_scores(clip) | area_averages([clip['areas']])

    def compute_metrics(self, results: Sequence[dict]) -> dict[str, float]:
        """Average over the clips, which are in dataset order."""
        return super().compute_metrics(results) | area_averages([clip['areas'] for clip in results])
