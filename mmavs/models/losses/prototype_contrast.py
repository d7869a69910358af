"""Prototype-audio contrastive (PAC) loss of VCT."""
import math

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmavs.registry import MODELS
from mmavs.utils.precision import disable_autocast


def prototype_audio_contrast(audio: Tensor, prototypes: Tensor, events: Tensor, logit_scale: Tensor) -> Tensor:
    """Binary cross-entropy of scaled cosine similarities, mean over prototypes and the frames of all processes.

    Args:
        audio: (n, C) L2-normalized audio features of n frames, or other features instead of them.
        prototypes: (M, C) L2-normalized prototypes.
        events: (n, M) float, 1 where the event of prototype m sounds in the frame.
        logit_scale: Scalar, logarithm of the factor on the similarities.

    Returns:
        Scalar; 0 if there are no frames.
    """
    logits = logit_scale.exp() * audio @ prototypes.t()
    total = F.binary_cross_entropy_with_logits(logits, events.to(logits), reduction='sum')
    count = logits.new_tensor(events.numel())
    all_reduce(count, 'mean')
    return total / count.clamp(min=1)


@MODELS.register_module()
class PACLoss(nn.Module):
    """Pull the audio features of a frame towards the prototypes of its events (VCT, CVPR 2025, "PAC").

    The paper calls the loss contrastive; like the released code, this is a multi-label binary cross-entropy on scaled
    cosine similarities, without bias, and the learned scale is not clamped.

    Args:
        channels: C of the audio features and of the prototypes; both are projected, then normalized.
        temperature: Initial temperature of the similarities.
    """

    def __init__(self, channels: int = 256, temperature: float = 0.07) -> None:
        super().__init__()
        self.audio_proj = nn.Linear(channels, channels, bias=False)
        self.proto_proj = nn.Linear(channels, channels, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        for projection in (self.audio_proj, self.proto_proj):
            nn.init.normal_(projection.weight, std=channels**-0.5)

    def forward(self, audio: Tensor, prototypes: Tensor, events: Tensor, centers: Tensor | None = None) -> Tensor:
        """Unweighted loss of n labelled frames, in float32.

        Args:
            audio: (n, C) audio features, averaged over the tokens of each frame; the head may compare its queries
                with the prototypes instead.
            prototypes: (M, C) learned prototypes.
            events: (n, M) audio events of each frame.
            centers: (c, C) unit vectors of a :class:`~mmavs.models.layers.PrototypeBank`, compared like c more
                prototypes; ``events`` is then (n, M + c).
        """
        num_prototypes = len(prototypes) + (0 if centers is None else len(centers))
        if events.shape != (len(audio), num_prototypes):
            raise ValueError(f'events have the shape {tuple(events.shape)}, expected {len(audio)} frames x '
                             f'{num_prototypes} prototypes: set num_prototypes of the head to the number of classes '
                             'of the dataset (or to num_events of GenerateEventLabels)')
        with disable_autocast(audio):
            compared = self.embed_prototypes(prototypes)
            if centers is not None:
                compared = torch.cat((compared, centers))
            return prototype_audio_contrast(self.embed_audio(audio), compared, events, self.logit_scale)

    def embed_audio(self, audio: Tensor) -> Tensor:
        """Projected audio features (n, C) as unit vectors, float32."""
        with disable_autocast(audio):
            return F.normalize(self.audio_proj(audio.float()), dim=-1)

    def embed_prototypes(self, prototypes: Tensor) -> Tensor:
        """Projected prototypes (M, C) as unit vectors, float32."""
        with disable_autocast(prototypes):
            return F.normalize(self.proto_proj(prototypes.float()), dim=-1)
