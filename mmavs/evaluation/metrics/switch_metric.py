"""IoU of the frames in which the sounding objects change."""
from collections.abc import Sequence

import torch
from torch import Tensor

from mmavs.registry import METRICS

from .detailed_metric import DetailedMetric, clip_identity
from .scored_frames import score_foreground

# An object that moves does not make a switch: a disc has to move by 70% of its diameter between two frames for less.
MAX_OVERLAP = 0.1


def frames_at_switch(gt: Tensor, max_overlap: float) -> Tensor:
    """Mark the frames whose sounding objects are others than in the frame before.

    Args:
        gt: (T, H, W) ground truth; everything except 0 is foreground.
        max_overlap: In [0, 1]. The objects of two frames are others if their IoU is less. Two empty frames are equal.

    Returns:
        (T,) bool; False for the first frame.

    Raises:
        ValueError: ``max_overlap`` is outside [0, 1].
    """
    if not 0 <= max_overlap <= 1:
        raise ValueError(f'max_overlap is {max_overlap}, expected an IoU in [0, 1]')
    masks = (gt != 0).flatten(1)
    inter = (masks[1:] & masks[:-1]).sum(1)
    union = (masks[1:] | masks[:-1]).sum(1)
    switches = (union > 0) & (inter < max_overlap * union)
    return torch.cat((switches.new_zeros(min(1, len(masks))), switches))


@METRICS.register_module()
class SwitchMetric(DetailedMetric):
    """IoU of the frames at a switch, where other objects sound than in the frame before, and of all other frames.

    Methods that attend to several frames tend to segment the objects that sounded before. Frames and IoU are those of
    :class:`AVSBenchMetric`, at ``probability > 0.5`` (for empty ground truth: the fraction of pixels that are predicted
    as background). The mean is over frames, not over clips, because the number of switches differs between clips. This
    metric is our own, not one of the benchmarks.

    Reported: ``J_at_switch`` and ``J_between`` in [0, 1], and the number of frames in each mean, ``frames_at_switch``
    and ``frames_between``. The first frame of a clip counts as between. The mean of no frames is NaN.

    ``details['per_clip']`` has the same of each clip.

    Args:
        collect_device: See :class:`DetailedMetric`.
        prefix: Prefix of the names of the results.
    """
    default_prefix = 'switch'
    protocol = 'switch'
    reported = dict(J_at_switch='greater', J_between='greater', frames_at_switch=None, frames_between=None)

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Keep the IoU of each scored frame, and whether it is at a switch."""
        for sample in data_samples:
            scores, gt = score_foreground(sample)
            self.results.append(
                clip_identity(sample) | dict(iou=scores.iou, at_switch=frames_at_switch(gt, MAX_OVERLAP).cpu()))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Average over the frames of all clips."""
        self.details = dict(per_clip=[
            dict(clip=clip['clip'], subset=clip['subset'], frames=len(clip['iou']), **_averages([clip]))
            for clip in results if len(clip['iou'])
        ])
        # MMEngine logs whole numbers as numpy.int64, which its file of the scores of a test does not keep.
        return {name: float(value) for name, value in _averages(results).items()}


def _averages(clips: list[dict]) -> dict[str, float]:
    iou, at_switch = (torch.cat([clip[key] for clip in clips]) for key in ('iou', 'at_switch'))
    return dict(
        J_at_switch=iou[at_switch].mean().item(),
        J_between=iou[~at_switch].mean().item(),
        frames_at_switch=int(at_switch.sum()),
        frames_between=int((~at_switch).sum()))
