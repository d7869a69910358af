"""How well the frames are segmented in which something else sounds than before."""
from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmavs.registry import METRICS

from .scored_frames import score_foreground


def frames_at_switch(gt: Tensor, max_overlap: float) -> Tensor:
    """Which frames show other sounding objects than the frame before.

    Args:
        gt: (T, H, W) ground truth; everything but 0 is foreground.
        max_overlap: In [0, 1]. Two frames with less IoU than this show others; two without any show the same.

    Returns:
        (T,) bool; the first frame is at no switch.
    """
    masks = (gt != 0).flatten(1)
    inter = (masks[1:] & masks[:-1]).sum(1)
    union = (masks[1:] | masks[:-1]).sum(1)
    switches = (union > 0) & (inter < max_overlap * union)
    return torch.cat((switches.new_zeros(min(1, len(masks))), switches))


@METRICS.register_module()
class SwitchMetric(BaseMetric):
    """IoU of the frames at a switch, where other objects sound than in the frame before, and of those between switches.

    Methods that look at several frames tend to mark what sounded before. Frames are those of :class:`AVSBenchMetric`,
    with its IoU at ``probability > 0.5`` (for empty ground truth: the share of pixels that are not marked); the mean is
    over frames, not over clips, since clips have more or fewer switches. A number of our own, not of the benchmarks.

    Reported: ``J_at_switch`` and ``J_between`` in [0, 1], and how many frames each is the mean of, ``frames_at_switch``
    and ``frames_between``. The first frame of a clip counts as between. Without any frame of a kind its mean is NaN.

    Args:
        max_overlap: See :func:`frames_at_switch`. Objects that move on do not make a switch: at the default, a disc has
            to move by 70% of its diameter within a frame to be taken for another.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: Prefix of the names of the results.
    """
    default_prefix = 'switch'

    def __init__(self, max_overlap: float = 0.1, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        if not 0 <= max_overlap <= 1:
            raise ValueError(f'max_overlap is {max_overlap}, expected an IoU in [0, 1]')
        self.max_overlap = max_overlap

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Keep the IoU of each scored frame, and whether it is at a switch."""
        for sample in data_samples:
            scores, gt = score_foreground(sample)
            self.results.append(dict(iou=scores.iou, at_switch=frames_at_switch(gt, self.max_overlap).cpu()))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Average over the frames of all clips."""
        iou, at_switch = (torch.cat([clip[key] for clip in results]) for key in ('iou', 'at_switch'))
        return dict(
            J_at_switch=iou[at_switch].mean().item(),
            J_between=iou[~at_switch].mean().item(),
            frames_at_switch=int(at_switch.sum()),
            frames_between=int((~at_switch).sum()))
