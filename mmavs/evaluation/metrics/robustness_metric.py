"""M_J and M_F, and what is marked at a fixed threshold, for tests with wrong sounds."""
from collections.abc import Sequence

from mmavs.evaluation.functional.avsbench import BinaryScores
from mmavs.evaluation.functional.robustness import area_averages
from mmavs.registry import METRICS

from .avsbench_metric import AVSBenchMetric


@METRICS.register_module()
class RobustnessMetric(AVSBenchMetric):
    """Metrics of :class:`AVSBenchMetric` and of :func:`mmavs.evaluation.functional.robustness.area_averages`.

    With wrong sounds the ground truth is still that of the clips' own sounds: what is marked should then differ from
    it. M_F takes the best of 255 thresholds, so a faint but well-shaped map scores high; ``F`` and ``mIoU``, at the
    fixed threshold 0.5 and without the frames whose ground truth is empty, do not reward it. See
    ``docs/user_guides/robustness.md``.

    Args:
        batch_size: See :class:`AVSBenchMetric`, like the other arguments.
    """
    default_prefix = 'robustness'

    def record(self, scores: BinaryScores) -> dict:
        """What is kept of a clip."""
        return dict(super().record(scores), areas=scores.areas)

    def compute_metrics(self, results: Sequence[dict]) -> dict[str, float]:
        """Average over the clips, which are in data-set order."""
        return super().compute_metrics(results) | area_averages([clip['areas'] for clip in results])
