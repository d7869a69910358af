"""Predict whether a visible object sounds in a frame."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmavs.models.layers import MLP, lower_foreground
from mmavs.models.losses import mean_of_frames
from mmavs.registry import MODELS
from mmavs.structures import UNLABELLED, FrameTargets
from mmavs.utils.precision import at_least_float32


@MODELS.register_module()
class AudioPresence(BaseModule):
    """Probability that a visible object sounds in a frame, which removes the mask of a frame where none does.

    The audio attends to the pixels of the coarsest map. The attended feature, multiplied by the audio, and the audio
    itself give the probability. Segmentation losses say little about frames with an empty target (dice has no gradient
    there); this is one binary decision for each frame, and each frame counts the same, with a target or without. It
    needs frames without sounding objects in training, for example of :class:`NegativeAudio`.

    Not from a paper.

    Args:
        in_channels: Channels C_l of the visual pyramid, finest first; the last map is used.
        audio_channels: Channels of an audio token.
        embed_dims: Channels of the attention.
        loss_weight: Weight of the binary cross-entropy.
        threshold: Frames of a lower probability get no foreground, in (0, 1).
        init_cfg: Initialization config of MMEngine.
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 audio_channels: int,
                 embed_dims: int = 64,
                 loss_weight: float = 1.,
                 threshold: float = 0.5,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if not 0 < threshold < 1:
            raise ValueError(f'AudioPresence: threshold is {threshold}, expected a probability between 0 and 1')
        self.loss_weight = loss_weight
        self.threshold = threshold
        self.norm = nn.LayerNorm(in_channels[-1])
        self.query_proj = nn.Linear(audio_channels, embed_dims)
        self.key_proj = nn.Linear(in_channels[-1], embed_dims, bias=False)
        self.value_proj = nn.Linear(in_channels[-1], embed_dims)
        self.classifier = MLP(2 * embed_dims, embed_dims, 1)

    def forward(self, features: Sequence[Tensor], audio: Tensor) -> Tensor:
        """Logits (N,) that a visible object sounds.

        Args:
            features: Visual pyramid, (N, C_l, h_l, w_l).
            audio: Audio tokens (N, tokens, C_a).
        """
        query = self.query_proj(audio.mean(1))  # (N, C)
        pixels = self.norm(features[-1].flatten(2).transpose(1, 2))  # (N, L, C_l)
        # Pixels that fit the audio
        logits = self.key_proj(pixels) @ query.unsqueeze(2) * query.shape[1]**-0.5
        found = (logits.softmax(1) * self.value_proj(pixels)).sum(1)  # (N, C)
        # Whether they do
        return self.classifier(torch.cat((found * query, query), 1)).squeeze(1)

    def loss(self, features: Sequence[Tensor], audio: Tensor, targets: FrameTargets) -> Tensor:
        """Weighted binary cross-entropy, the mean over the labelled frames; their masks tell whether an object sounds.

        Args:
            features: As for :meth:`forward`.
            audio: As for :meth:`forward`.
            targets: Ground truth of the N frames.
        """
        masks = targets.masks
        sounds = ((masks != 0) & (masks != UNLABELLED)).flatten(1).any(1)
        logits = at_least_float32(self(features, audio))
        losses = F.binary_cross_entropy_with_logits(logits, sounds.to(logits), reduction='none')
        return self.loss_weight * mean_of_frames(losses, targets.labelled)

    def gate(self, scores: Tensor, features: Sequence[Tensor], audio: Tensor) -> Tensor:
        """Lower the foreground of frames whose probability c is below the threshold: p becomes c p, at most p / 2.

        No pixel of such a frame exceeds 1/2 afterwards, hence none is predicted. Other frames are not changed.

        Args:
            scores: (N, K, h, w) logits of the foreground (K = 1) or of classes with background.
            features: As for :meth:`forward`.
            audio: As for :meth:`forward`.
        """
        probability = at_least_float32(self(features, audio)).sigmoid()
        factor = torch.where(probability < self.threshold, probability.clamp(max=0.5), torch.ones_like(probability))
        return lower_foreground(scores, factor.clamp(min=1e-6).log()[:, None, None])
