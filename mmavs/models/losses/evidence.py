"""Evidential loss: Dirichlet distributions over classes instead of softmax (Sensoy et al., NeurIPS 2018)."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmavs.registry import MODELS
from mmavs.structures import UNLABELLED
from mmavs.utils.precision import disable_autocast

from .frame_losses import mean_of_frames


def dirichlet_cross_entropy(alpha: Tensor, labels: Tensor) -> Tensor:
    """Expected cross-entropy under Dir(alpha): ``psi(sum alpha) - psi(alpha_y)``, psi the digamma function.

    Args:
        alpha: (N, K, ...) positive.
        labels: (N, ...) int64 classes y.

    Returns:
        Losses (N, ...).
    """
    of_label = alpha.gather(1, labels.unsqueeze(1)).squeeze(1)
    return alpha.sum(1).digamma() - of_label.digamma()


def dirichlet_divergence_from_uniform(alpha: Tensor) -> Tensor:
    """``KL(Dir(alpha) || Dir(1))`` over K classes, (N, ...) from alpha (N, K, ...).

    ``lnG(sum alpha) - lnG(K) - sum lnG(alpha_k) + sum (alpha_k - 1) (psi(alpha_k) - psi(sum alpha))``
    """
    total = alpha.sum(1, keepdim=True)
    log_constants = total.lgamma().squeeze(1) - alpha.lgamma().sum(1) - torch.lgamma(alpha.new_tensor(alpha.shape[1]))
    return log_constants + ((alpha - 1) * (alpha.digamma() - total.digamma())).sum(1)


@MODELS.register_module()
class EvidenceLoss(nn.Module):
    """Train evidence to be high for the class of a pixel and 0 for all others.

    With evidence e and ``alpha = e + 1``, the loss is the expected cross-entropy plus ``KL(Dir(alpha~) || Dir(1))``,
    where alpha~ is alpha with 1 for the true class. The weight of the divergence grows linearly from 0 to 1 over the
    first ``ramp_steps`` training steps. The steps are counted in a buffer, which a resumed training restores.

    Args:
        loss_weight: Weight mu of the sum.
        ramp_steps: Number of training steps until the divergence has its full weight, at least 1.
    """

    def __init__(self, loss_weight: float, ramp_steps: int) -> None:
        super().__init__()
        if ramp_steps < 1:
            raise ValueError(f'EvidenceLoss: ramp_steps is {ramp_steps}, expected at least 1, which is the full weight '
                             'from the second step on')
        self.loss_weight = loss_weight
        self.ramp_steps = ramp_steps
        self.register_buffer('steps', torch.zeros((), dtype=torch.long))

    def forward(self, evidence: Tensor, masks: Tensor, labelled: Tensor) -> Tensor:
        """Mean over the labelled pixels of a frame, then over the labelled frames of all processes.

        Args:
            evidence: (N, K, h, w), not negative.
            masks: (N, H, W) uint8 classes, 255 = unlabelled, of any size: the class of a cell is that at its center.
            labelled: (N,) bool.
        """
        masks = F.interpolate(masks.unsqueeze(1), evidence.shape[2:], mode='nearest-exact').squeeze(1)
        valid_pixels = masks != UNLABELLED
        labels = masks.long().masked_fill(~valid_pixels, 0)
        with disable_autocast(evidence):
            alpha = evidence.float() + 1
            misleading = alpha.scatter(1, labels.unsqueeze(1), 1.)
            ramp = (self.steps / self.ramp_steps).clamp(max=1)
            losses = dirichlet_cross_entropy(alpha, labels) + ramp * dirichlet_divergence_from_uniform(misleading)
            per_frame = (losses * valid_pixels).sum((1, 2)) / valid_pixels.sum((1, 2)).clamp(min=1)
        if self.training:
            self.steps += 1
        return self.loss_weight * mean_of_frames(per_frame, labelled)
