"""Adaptive inter-frame consistency loss of COMBO."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmavs.registry import MODELS
from mmavs.utils.precision import disable_autocast


@MODELS.register_module()
class TemporalConsistencyLoss(nn.Module):
    """Pull the masks of adjacent frames together if they are already similar (COMBO, CVPR 2024).

    The masks of all queries in a frame are one vector. With the distance ``l = 1 - cos`` of the vectors of two adjacent
    frames, their term is ``l * exp(-l)``: it grows with l up to l = 1 and falls beyond, so that frames between which
    the sounding objects change are pulled less than frames that differ little. The loss is the mean over all pairs of
    adjacent frames of a clip that exist, with or without ground truth.

    COMBO's released code cuts every batch into groups of 5 frames. For clips of 5 frames this is the same mean; of a
    clip of 10 frames it leaves out the pair in the middle.

    Args:
        weight: Weight of the loss on each prediction; 10 in COMBO.
    """

    def __init__(self, weight: float = 10.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, mask_logits: Sequence[Tensor], valid: Tensor) -> list[Tensor]:
        """Weighted loss of each prediction, in float32; 0 if there is no pair of frames.

        Args:
            mask_logits: (B * T, Q, h, w) of each prediction.
            valid: (B, T) bool, the frames that exist.

        Raises:
            ValueError: Clips have a single frame.
        """
        if valid.shape[1] == 1:
            raise ValueError('TemporalConsistencyLoss compares the frames of a clip, but gets clips of one frame: set '
                             'model.independent_frames=False, which keeps the frames of a clip together')
        pairs = valid[:, :-1] & valid[:, 1:]  # (B, T - 1)
        first = torch.arange(valid.numel()).view_as(valid)[:, :-1][pairs]
        return [self._compare(logits.flatten(1), first.to(logits.device)) for logits in mask_logits]

    def _compare(self, frames: Tensor, first: Tensor) -> Tensor:
        """Loss of the masks (N, values), over the pairs of the frames ``first`` (pairs,) and the next ones."""
        with disable_autocast(frames):
            distance = 1 - F.cosine_similarity(frames[first].float(), frames[first + 1].float(), dim=1)
            total = self.weight * (distance * torch.exp(-distance)).sum()
        count = total.new_tensor(len(first))
        all_reduce(count, 'mean')
        return total / count.clamp(min=1)
