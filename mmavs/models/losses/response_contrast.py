"""Contrastive loss between the pixels that respond to the audio and those that do not (RAVS, CVPR 2025)."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmavs.registry import MODELS
from mmavs.structures import UNLABELLED

from .frame_losses import mean_of_frames


@MODELS.register_module()
class ResponseContrastLoss(nn.Module):
    """InfoNCE between the audio and the pixels of a frame, chosen by response or by ground-truth masks.

    On each level, the ``fraction`` of pixels with the strongest response is positive, that with the weakest negative.
    With ``by_masks``, the variant that the paper compares with, pixels of sounding objects are positive and pixels of
    background negative; a frame without either has no loss.
    With z the projected pixels and a the projected audio, both of length 1, a positive has the loss
    ``-log(exp(z+ a / tau) / (exp(z+ a / tau) + sum over negatives of exp(z- a / tau)))``.
    The choice of pixels has no gradient. The defaults are inferred.

    Args:
        in_channels: Channels of each level.
        audio_channels: Channels of an audio token; several tokens of a frame are averaged.
        embed_dims: Channels of the projected pixels and audio.
        fraction: Fraction of the pixels that is positive, and fraction that is negative, in (0, 0.5]. Not used with
            ``by_masks``.
        by_masks: Whether ground-truth masks, and not responses, choose the pixels.
        temperature: tau.
        loss_weight: Weight lambda of the mean over the levels.
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 audio_channels: int,
                 embed_dims: int = 256,
                 fraction: float = 0.2,
                 by_masks: bool = False,
                 temperature: float = 0.1,
                 loss_weight: float = 0.1) -> None:
        super().__init__()
        if not 0 < fraction <= 0.5:
            raise ValueError(f'ResponseContrastLoss: fraction is {fraction}, expected a value in (0, 0.5]: beyond it '
                             'pixels would be both positive and negative')
        self.fraction = fraction
        self.by_masks = by_masks
        self.temperature = temperature
        self.loss_weight = loss_weight
        self.visual_projs = nn.ModuleList(nn.Linear(channels, embed_dims) for channels in in_channels)
        self.audio_proj = nn.Linear(audio_channels, embed_dims)

    def forward(self, maps: Sequence[Tensor], responses: Sequence[Tensor], audio: Tensor, masks: Tensor,
                labelled: Tensor) -> Tensor:
        """Weighted loss, mean over positives, levels, and the labelled frames of all processes.

        Args:
            maps: Maps (N, C_l, h_l, w_l) of each level.
            responses: Response (N, h_l, w_l) of the pixels of each map.
            audio: Audio tokens (N, tokens, C_a).
            masks: (N, H, W) uint8 classes, 0 = background and 255 = unlabelled; read only with ``by_masks``, where the
                class of a cell of a map is that at its center.
            labelled: (N,) bool.
        """
        anchor = F.normalize(self.audio_proj(audio.mean(1)), dim=1)
        levels = []
        for proj, x, response in zip(self.visual_projs, maps, responses):
            z = F.normalize(proj(x.flatten(2).transpose(1, 2)), dim=2)
            similarity = (z @ anchor.unsqueeze(2)).squeeze(2) / self.temperature  # (N, L)
            chosen = self._choose_by_masks(masks, x.shape[2:]) if self.by_masks else self._choose(response.flatten(1))
            levels.append(info_nce(similarity, *chosen))
        return self.loss_weight * mean_of_frames(torch.stack(levels).mean(0), labelled)

    def _choose(self, response: Tensor) -> tuple[Tensor, Tensor]:
        """Positive and negative pixels, bool (N, L) each, from the response (N, L)."""
        count = max(1, round(self.fraction * response.shape[1]))
        # A stable sort makes the choice among equal responses deterministic.
        order = response.detach().sort(dim=1, descending=True, stable=True).indices
        none = torch.zeros_like(response, dtype=torch.bool)
        return none.scatter(1, order[:, :count], True), none.scatter(1, order[:, -count:], True)

    def _choose_by_masks(self, masks: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Cells of sounding objects and cells of background, bool (N, L) each."""
        cells = F.interpolate(masks.unsqueeze(1), size, mode='nearest-exact').flatten(1)
        return (cells != 0) & (cells != UNLABELLED), cells == 0


def info_nce(similarity: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """``-log(exp(s+) / (exp(s+) + sum over negatives of exp(s-)))``, mean over the positives.

    Args:
        similarity: s (N, L), divided by the temperature.
        positive: (N, L) bool.
        negative: (N, L) bool.

    Returns:
        Losses (N,); 0 without positives or without negatives.
    """
    # A finite value: the gradient of logsumexp over -inf alone would be NaN.
    negatives = similarity.masked_fill(~negative, torch.finfo(similarity.dtype).min).logsumexp(1, keepdim=True)
    return (F.softplus(negatives - similarity) * positive).sum(1) / positive.sum(1).clamp(min=1)
