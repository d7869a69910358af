"""Contrastive loss between the pixels that respond to the audio and those that do not (RAVS, CVPR 2025)."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmavs.registry import MODELS

from .frame_losses import mean_of_frames


@MODELS.register_module()
class ResponseContrastLoss(nn.Module):
    """InfoNCE between the audio and the pixels of a frame, chosen by response and not by ground-truth masks.

    On each level, the ``fraction`` of pixels with the strongest response is positive, that with the weakest negative.
    With z the projected pixels and a the projected audio, both of length 1, a positive has the loss
    ``-log(exp(z+ a / tau) / (exp(z+ a / tau) + sum over negatives of exp(z- a / tau)))``.
    The choice of pixels has no gradient. The defaults are inferred; the paper's were not at hand.

    Args:
        in_channels: Channels of each level.
        audio_channels: Channels of an audio token; several tokens of a frame are averaged.
        embed_dims: Channels of the projected pixels and audio.
        fraction: Fraction of the pixels that is positive, and fraction that is negative, in (0, 0.5].
        temperature: tau.
        loss_weight: Weight lambda of the mean over the levels.
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 audio_channels: int,
                 embed_dims: int = 256,
                 fraction: float = 0.2,
                 temperature: float = 0.1,
                 loss_weight: float = 0.1) -> None:
        super().__init__()
        if not 0 < fraction <= 0.5:
            raise ValueError(f'ResponseContrastLoss: fraction is {fraction}, expected a value in (0, 0.5]: beyond it '
                             'pixels would be both positive and negative')
        self.fraction = fraction
        self.temperature = temperature
        self.loss_weight = loss_weight
        self.visual_projs = nn.ModuleList(nn.Linear(channels, embed_dims) for channels in in_channels)
        self.audio_proj = nn.Linear(audio_channels, embed_dims)

    def forward(self, maps: Sequence[Tensor], responses: Sequence[Tensor], audio: Tensor, labelled: Tensor) -> Tensor:
        """Weighted loss, mean over positives, levels, and the labelled frames of all processes.

        Args:
            maps: Maps (N, C_l, h_l, w_l) of each level.
            responses: Response (N, h_l, w_l) of the pixels of each map.
            audio: Audio tokens (N, tokens, C_a).
            labelled: (N,) bool.
        """
        anchor = F.normalize(self.audio_proj(audio.mean(1)), dim=1)
        levels = [self._contrast(proj, x.flatten(2).transpose(1, 2), response.flatten(1), anchor)
                  for proj, x, response in zip(self.visual_projs, maps, responses)]
        return self.loss_weight * mean_of_frames(torch.stack(levels).mean(0), labelled)

    def _contrast(self, proj: nn.Linear, tokens: Tensor, response: Tensor, anchor: Tensor) -> Tensor:
        """Loss (N,) of one level, from tokens (N, L, C), response (N, L) and anchor (N, D)."""
        count = max(1, round(self.fraction * response.shape[1]))
        # A stable sort makes the choice among equal responses deterministic.
        order = response.detach().sort(dim=1, descending=True, stable=True).indices

        def similarity(chosen: Tensor) -> Tensor:
            z = F.normalize(proj(tokens.gather(1, chosen.unsqueeze(2).expand(-1, -1, tokens.shape[2]))), dim=2)
            return (z @ anchor.unsqueeze(2)).squeeze(2) / self.temperature

        positive, negative = similarity(order[:, :count]), similarity(order[:, -count:])
        return F.softplus(negative.logsumexp(1, keepdim=True) - positive).mean(1)
