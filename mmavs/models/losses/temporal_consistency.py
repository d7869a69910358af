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
    clip of 10 frames it leaves out the pair in the middle, as ``group_size=5`` does.

    Args:
        weight: Weight of the loss on each prediction; 10 in COMBO.
        group_size: Frames of a group: a pair of frames in different groups of a clip does not count. None for no
            groups.
    """

    def __init__(self, weight: float = 10.0, group_size: int | None = None) -> None:
        super().__init__()
        self.weight = weight
        self.group_size = group_size

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
        if self.group_size is not None:
            last_of_group = torch.arange(1, valid.shape[1], device=valid.device) % self.group_size == 0
            pairs &= ~last_of_group
        first = torch.arange(valid.numel()).view_as(valid)[:, :-1][pairs]
        return [self._compare(logits.flatten(1), first.to(logits.device)) for logits in mask_logits]

    def _compare(self, frames: Tensor, first: Tensor) -> Tensor:
        """Loss of the masks (N, values), over the pairs of the frames ``first`` (pairs,) and the next ones."""
        with disable_autocast(frames):
            x, y = frames[first].float(), frames[first + 1].float()
            # 1 - cos, to 1e-5 for the 300,000 values of a frame. F.cosine_similarity sums less exactly: 1e-4.
            distance = F.cosine_embedding_loss(x, y, x.new_ones(len(x)), reduction='none')
            total = self.weight * (distance * torch.exp(-distance)).sum()
        count = total.new_tensor(len(first))
        all_reduce(count, 'mean')
        return total / count.clamp(min=1)
