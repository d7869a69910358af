"""Lower the foreground probability of scores."""
import torch
import torch.nn.functional as F
from torch import Tensor

from mmavs.utils.precision import at_least_float32


def lower_foreground(scores: Tensor, log_factor: Tensor) -> Tensor:
    """Multiply the foreground probability p of every pixel by a factor c; the background receives the rest.

    With odds ``o = p / (1 - p)``, those of ``c p`` are ``c o / (1 + (1 - c) o)``.

    Args:
        scores: (N, K, h, w) logits of the foreground (K = 1) or of classes with background.
        log_factor: log c, at most 0; (N, h, w) or a shape that broadcasts to it.

    Returns:
        Scores (N, K, h, w), float32 at least, whose sigmoid or softmax are the lowered probabilities.
    """
    scores = at_least_float32(scores)
    log_odds = scores[:, 0] if scores.shape[1] == 1 else scores[:, 1:].logsumexp(1) - scores[:, 0]
    shift = (log_factor - F.softplus(log_odds + (-log_factor.expm1()).log())).unsqueeze(1)
    if scores.shape[1] == 1:
        return scores + shift
    return torch.cat((scores[:, :1], scores[:, 1:] + shift), 1)
