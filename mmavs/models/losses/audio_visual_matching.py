"""Audio-visual matching of TPAVI: what is segmented should look as what is heard sounds."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn

from mmavs.registry import MODELS
from mmavs.utils.precision import disable_autocast


def foreground_features(logits: Tensor, visual_map: Tensor, masks: Tensor) -> Tensor:
    """Visual features (n, C) of the predicted foreground: mean over the pixels of the map times the foreground.

    The foreground of one channel is the sigmoid of the logits that average pooling brings to the size of the map, and
    learns from the loss. That of classes is the average-pooled share of pixels whose best class is not the background,
    and does not. The mean is over all pixels that are not batch padding, not over the foreground's own.

    Args:
        logits: (n, K, H, W); K = 1 foreground channel, or K classes of which 0 is the background.
        visual_map: (n, C, h, w).
        masks: (n, H, W) uint8 ground truth, of which only the 255 of unlabelled pixels is read.
    """
    size = visual_map.shape[-2:]
    if logits.shape[1] == 1:
        foreground = F.adaptive_avg_pool2d(logits, size).sigmoid()
    else:
        foreground = F.adaptive_avg_pool2d((logits.argmax(1, keepdim=True) != 0).to(visual_map.dtype), size)
    inside = F.adaptive_avg_pool2d((masks != 255).to(visual_map.dtype).unsqueeze(1), size)
    num_pixels = inside.sum((1, 2, 3)).clamp(min=1).unsqueeze(1)
    return (visual_map.flatten(2) @ (foreground * inside).flatten(2).transpose(1, 2)).squeeze(2) / num_pixels


@MODELS.register_module()
class AudioVisualMatchingLoss(nn.Module):
    """Draw the features of the predicted foreground towards those of the sound (ECCV 2022, L_AVM).

    The mean over the stages of the distance between v, the :func:`foreground_features`, and a target: the sound of the
    frame ("AVM-AV" of the paper, which the published models use), or the foreground features of the other frame in the
    batch whose sound is nearest ("AVM-VV").

    The defaults and ``reduction='mean'`` are what the released code trains MS3 and AVSS with: features are not
    normalised and foreground is not thresholded. Two faults of its other options are not copied: a frame whose sound is
    more than 10 from all others is its own nearest frame there, so that nearly all of AVM-VV is 0, and on AVSS AVM-VV
    with the Kullback-Leibler divergence compares with the sound after all.

    Args:
        weight: Factor on the loss.
        distance: ``'kl'``, Kullback-Leibler divergence of the softmax over channels of v from that of the target, or
            ``'euclidean'``.
        reduction: ``'sum'`` or ``'mean'`` over the frames of all processes.
        nearest_audio: Compare with the frame whose sound is nearest rather than with the sound.
    """

    def __init__(self, weight: float = 0.5, distance: str = 'kl', reduction: str = 'sum',
                 nearest_audio: bool = False) -> None:
        super().__init__()
        if distance not in ('kl', 'euclidean'):
            raise ValueError(f"AudioVisualMatchingLoss: distance is {distance!r}, expected 'kl' or 'euclidean'")
        if reduction not in ('sum', 'mean'):
            raise ValueError(f"AudioVisualMatchingLoss: reduction is {reduction!r}, expected 'sum' or 'mean'")
        self.weight = weight
        self.distance = distance
        self.reduction = reduction
        self.nearest_audio = nearest_audio

    def forward(self, logits: Tensor, visual_maps: Sequence[Tensor], sounds: Sequence[Tensor],
                masks: Tensor) -> Tensor:
        """Weighted loss of n labelled frames, in float32; 0 where there are none.

        Args:
            logits: (n, K, H, W).
            visual_maps: The maps (n, C, h_l, w_l) of some stages.
            sounds: The sound (n, C) as each of these stages has it.
            masks: (n, H, W) uint8 ground truth, 255 = unlabelled.
        """
        with disable_autocast(logits):
            total = torch.stack([
                self._distances(foreground_features(logits.float(), visual_map.float(), masks), sound.float()).sum()
                for visual_map, sound in zip(visual_maps, sounds)
            ]).mean()
        if self.reduction == 'sum':
            # Gradients are averaged over the processes.
            return self.weight * total * get_world_size()
        count = total.new_tensor(float(len(logits)))
        all_reduce(count, 'mean')
        return self.weight * total / count.clamp(min=torch.finfo(count.dtype).eps)

    def _distances(self, visual: Tensor, sound: Tensor) -> Tensor:
        """(n,) distances of the foreground's features (n, C) from their targets, given the sounds (n, C)."""
        target = visual[_nearest(sound)] if self.nearest_audio else sound
        if self.distance == 'euclidean':
            return F.pairwise_distance(target, visual)
        return F.kl_div(visual.log_softmax(1), target.log_softmax(1), reduction='none', log_target=True).sum(1)


@torch.no_grad()
def _nearest(sound: Tensor) -> Tensor:
    """(n,) index of the other row of (n, C) that is nearest; of a single row its own."""
    if len(sound) < 2:
        return torch.arange(len(sound), device=sound.device)
    return torch.cdist(sound, sound).fill_diagonal_(torch.inf).argmin(1)
