"""Audio-visual matching loss of TPAVI: pulls the features of the predicted foreground towards the audio features."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn

from mmavs.registry import MODELS
from mmavs.structures import UNLABELLED
from mmavs.utils.precision import disable_autocast


def foreground_features(logits: Tensor, visual_map: Tensor, masks: Tensor) -> Tensor:
    """Visual features (n, C) of the predicted foreground: the mean over pixels of the map times the foreground.

    With one channel, the foreground is the sigmoid of the average-pooled logits, which get a gradient. With classes, it
    is the average-pooled fraction of pixels whose best class is not the background, which has no gradient. The mean is
    over all pixels that are not batch padding, not only over the foreground.

    Args:
        logits: (n, K, H, W); K = 1 foreground channel, or K classes of which 0 is the background.
        visual_map: (n, C, h, w).
        masks: (n, H, W) uint8 ground truth, of which only the unlabelled pixels (255) are used.
    """
    size = visual_map.shape[-2:]
    if logits.shape[1] == 1:
        foreground = F.adaptive_avg_pool2d(logits, size).sigmoid()
    else:
        foreground = F.adaptive_avg_pool2d((logits.argmax(1, keepdim=True) != 0).to(visual_map.dtype), size)
    inside = F.adaptive_avg_pool2d((masks != UNLABELLED).to(visual_map.dtype).unsqueeze(1), size)
    num_pixels = inside.sum((1, 2, 3)).clamp(min=1).unsqueeze(1)
    return (visual_map.flatten(2) @ (foreground * inside).flatten(2).transpose(1, 2)).squeeze(2) / num_pixels


@MODELS.register_module()
class AudioVisualMatchingLoss(nn.Module):
    """Pull the features of the predicted foreground towards the audio features (ECCV 2022, L_AVM).

    The loss is the mean over the stages of the distance between v, the :func:`foreground_features`, and a target: the
    audio features of the frame ("AVM-AV" of the paper, used by the published models), or the foreground features of the
    other frame in the batch with the nearest audio features ("AVM-VV").

    The released code trains MS3 with the defaults and AVSS with ``reduction='mean'``: features are not normalized and
    the foreground is not thresholded. Two faults of its other options are not copied: there a frame whose audio is more
    than 10 from all others is its own nearest frame, which makes nearly all of AVM-VV 0, and on AVSS AVM-VV with the
    Kullback-Leibler divergence compares with the audio.

    Args:
        loss_weight: Factor on the loss.
        distance: ``'kl'``, Kullback-Leibler divergence of the softmax over channels of v from that of the target, or
            ``'euclidean'``.
        reduction: ``'sum'`` or ``'mean'`` over the frames of all processes.
        nearest_audio: Whether to compare with the frame of the nearest audio (AVM-VV) instead of the audio (AVM-AV).
    """

    def __init__(self, loss_weight: float = 0.5, distance: str = 'kl', reduction: str = 'sum',
                 nearest_audio: bool = False) -> None:
        super().__init__()
        if distance not in ('kl', 'euclidean'):
            raise ValueError(f"AudioVisualMatchingLoss: distance is {distance!r}, expected 'kl' or 'euclidean'")
        if reduction not in ('sum', 'mean'):
            raise ValueError(f"AudioVisualMatchingLoss: reduction is {reduction!r}, expected 'sum' or 'mean'")
        self.loss_weight = loss_weight
        self.distance = distance
        self.reduction = reduction
        self.nearest_audio = nearest_audio

    def forward(self, logits: Tensor, visual_maps: Sequence[Tensor], audio_features: Sequence[Tensor],
                masks: Tensor) -> Tensor:
        """Weighted loss of n labelled frames, in float32; 0 if n is 0.

        Args:
            logits: (n, K, H, W).
            visual_maps: Maps (n, C, h_l, w_l) of some stages.
            audio_features: Audio features (n, C) of each of these stages.
            masks: (n, H, W) uint8 ground truth, 255 = unlabelled.
        """
        with disable_autocast(logits):
            total = torch.stack([
                self._distances(foreground_features(logits.float(), visual_map.float(), masks), audio.float()).sum()
                for visual_map, audio in zip(visual_maps, audio_features)
            ]).mean()
        if self.reduction == 'sum':
            # Gradients are averaged over the processes.
            return self.loss_weight * total * get_world_size()
        count = total.new_tensor(float(len(logits)))
        all_reduce(count, 'mean')
        return self.loss_weight * total / count.clamp(min=torch.finfo(count.dtype).eps)

    def _distances(self, visual: Tensor, audio: Tensor) -> Tensor:
        """Distances (n,) of the foreground features (n, C) from their targets, given the audio features (n, C)."""
        target = visual[_nearest(audio)] if self.nearest_audio else audio
        if self.distance == 'euclidean':
            return F.pairwise_distance(target, visual)
        return F.kl_div(visual.log_softmax(1), target.log_softmax(1), reduction='none', log_target=True).sum(1)


@torch.no_grad()
def _nearest(audio: Tensor) -> Tensor:
    """Index (n,) of the nearest other row of (n, C); a single row is its own nearest."""
    if len(audio) < 2:
        return torch.arange(len(audio), device=audio.device)
    return torch.cdist(audio, audio).fill_diagonal_(torch.inf).argmin(1)
