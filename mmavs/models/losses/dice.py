"""Dice loss."""
from torch import Tensor


def dice_loss(logits: Tensor, targets: Tensor, eps: float = 1.0) -> Tensor:
    """``1 - (2 sum(p y) + eps) / (sum(p) + sum(y) + eps)`` with ``p = sigmoid(logits)``, sums over the last axis.

    Args:
        logits: (..., P) scores of P pixels or points.
        targets: (..., P) values in [0, 1].
        eps: Smoothing constant; 1 in Mask2Former and the methods built on it.

    Returns:
        (...) losses in [0, 1), not reduced.
    """
    probabilities = logits.sigmoid()
    overlap = (probabilities * targets).sum(-1)
    return 1 - (2 * overlap + eps) / (probabilities.sum(-1) + targets.sum(-1) + eps)
