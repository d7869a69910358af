"""Base of the metrics that also give the scores of every clip."""
from typing import Any, ClassVar

from mmengine.evaluator import BaseMetric


class DetailedMetric(BaseMetric):
    """Metric that, beside its averages, gives the scores of every clip.

    Args:
        collect_device: How the results of several processes are collected: 'gpu' through the process group, on GPUs or
            not; 'cpu' through files in the current directory, which the processes then must share and may write to.
        prefix: Prefix of the names of the results.

    Attributes:
        protocol: Rule by which the scores are computed: 'avsbench', 'dataset' or the metric's own name.
        details: After evaluation, on the main process: ``per_clip``, a dict for each scored clip in dataset order with
            ``clip``, ``subset``, the number of scored ``frames`` and its scores; metrics add further entries. Values
            are plain numbers, texts, lists and dicts, NaN for a score that is not defined.
    """

    protocol: ClassVar[str]

    def __init__(self, collect_device: str = 'gpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.details: dict[str, Any] = {}


def clip_identity(sample: dict) -> dict[str, str | None]:
    """Return the ``clip`` and ``subset`` of a data sample, for ``per_clip``."""
    return dict(clip=sample.get('clip_id'), subset=sample.get('subset'))
