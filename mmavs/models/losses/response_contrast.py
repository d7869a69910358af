"""Contrast of the pixels that respond to a sound with those that do not (RAVS, CVPR 2025)."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmavs.registry import MODELS

from .frame_losses import mean_of_frames


@MODELS.register_module()
class ResponseContrastLoss(nn.Module):
    """InfoNCE of a sound with the pixels of its frame; ground-truth masks are not used to choose any.

    On each level, the share of pixels with the strongest response is positive, that with the weakest negative. With z
    the projected pixels and a the projected sound, both of length 1, a positive has the loss
    ``-log(exp(z+ a / tau) / (exp(z+ a / tau) + sum over negatives of exp(z- a / tau)))``.
    Which pixels are compared is a choice without gradient. The defaults are inferred; the paper's were not at hand.

    Args:
        in_channels: Channels of each level.
        audio_channels: Channels of an audio token; several tokens of a frame are averaged.
        embed_dims: Channels in which pixels and sound are compared.
        share: Share of the pixels that is positive, and share that is negative, in (0, 0.5].
        temperature: tau.
        loss_weight: Weight lambda of the mean over the levels.
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 audio_channels: int,
                 embed_dims: int = 256,
                 share: float = 0.2,
                 temperature: float = 0.1,
                 loss_weight: float = 0.1) -> None:
        super().__init__()
        if not 0 < share <= 0.5:
            raise ValueError(f'ResponseContrastLoss: share is {share}, expected a share in (0, 0.5], so that no pixel '
                             'is both positive and negative')
        self.share = share
        self.temperature = temperature
        self.loss_weight = loss_weight
        self.visual_projs = nn.ModuleList(nn.Linear(channels, embed_dims) for channels in in_channels)
        self.audio_proj = nn.Linear(audio_channels, embed_dims)

    def forward(self, maps: Sequence[Tensor], responses: Sequence[Tensor], audio: Tensor, labelled: Tensor) -> Tensor:
        """Mean over positives, levels, and the labelled frames of all processes.

        Args:
            maps: (N, C_l, h_l, w_l).
            responses: (N, h_l, w_l).
            audio: Audio tokens (N, tokens, C_a).
            labelled: (N,) bool.
        """
        anchor = F.normalize(self.audio_proj(audio.mean(1)), dim=1)
        levels = [self._contrast(proj, x.flatten(2).transpose(1, 2), response.flatten(1), anchor)
                  for proj, x, response in zip(self.visual_projs, maps, responses)]
        return self.loss_weight * mean_of_frames(torch.stack(levels).mean(0), labelled)

    def _contrast(self, proj: nn.Linear, tokens: Tensor, response: Tensor, anchor: Tensor) -> Tensor:
        """(N,) loss of one level, from tokens (N, L, C), response (N, L) and anchor (N, D)."""
        count = max(1, round(self.share * response.shape[1]))
        # Stable, so that pixels that respond alike are chosen in the same way every time.
        order = response.detach().sort(dim=1, descending=True, stable=True).indices

        def similarity(chosen: Tensor) -> Tensor:
            z = F.normalize(proj(tokens.gather(1, chosen.unsqueeze(2).expand(-1, -1, tokens.shape[2]))), dim=2)
            return (z @ anchor.unsqueeze(2)).squeeze(2) / self.temperature

        positive, negative = similarity(order[:, :count]), similarity(order[:, -count:])
        return F.softplus(negative.logsumexp(1, keepdim=True) - positive).mean(1)
