"""Losses of dense predictions: one value per frame over its labelled pixels, and the mean over labelled frames."""
import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor

from mmavs.structures import UNLABELLED
from mmavs.utils.precision import at_least_float32

# Smoothing constant of dice and IoU in DDESeg.
SMOOTH = 1e-5


def frame_dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """``1 - 2 sum(p y) / (sum(p^2) + sum(y^2) + 0.002)`` of each frame, with ``p = sigmoid(logits)`` (AVSegFormer).

    A frame without foreground has loss 1 and gradient 0 for any prediction: the loss does not teach to predict nothing.

    Args:
        logits: (N, 1, H, W) scores of the foreground.
        masks: (N, H, W) uint8; every class except 0 is foreground, pixels of 255 count neither as overlap nor as area.

    Returns:
        (N,) losses in (0, 1], float32 at least.
    """
    valid_pixels = (masks != UNLABELLED).flatten(1)
    probabilities = at_least_float32(logits).flatten(1).sigmoid() * valid_pixels
    foreground = (masks != 0).flatten(1) & valid_pixels
    areas = probabilities.square().sum(1) + foreground.sum(1) + 2e-3
    return 1 - 2 * (probabilities * foreground).sum(1) / areas


def frame_cross_entropy(logits: Tensor, masks: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over the labelled pixels of each frame (AVSBench, AVSegFormer).

    Args:
        logits: (N, K, H, W) class scores.
        masks: (N, H, W) uint8 classes; pixels of 255 are ignored.
        class_weights: (K,) weights of the classes, None for equal ones. The mean is weighted: only their ratios count,
            and a frame of a single class has the same loss with any weights.

    Returns:
        (N,) losses, float32 at least; 0 if all pixels are 255.
    """
    logits, labels = at_least_float32(logits), masks.long()
    weights = None if class_weights is None else class_weights.to(logits)
    losses = F.cross_entropy(logits, labels, weights, ignore_index=UNLABELLED, reduction='none')
    labelled = masks != UNLABELLED
    if weights is None:
        return losses.sum((1, 2)) / labelled.sum((1, 2)).clamp(min=1)
    total = (weights[labels.masked_fill(~labelled, 0)] * labelled).sum((1, 2))
    return losses.sum((1, 2)) / total.clamp(min=torch.finfo(losses.dtype).eps)


def frame_binary_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean binary cross-entropy over the labelled pixels of each frame (AVSBench).

    Args:
        logits: (N, 1, H, W) logits of the foreground.
        masks: (N, H, W) uint8; every class except 0 is foreground, pixels of 255 are ignored.

    Returns:
        (N,) losses, float32 at least; 0 if all pixels are 255.
    """
    valid_pixels = masks != UNLABELLED
    logits = at_least_float32(logits).squeeze(1)
    losses = F.binary_cross_entropy_with_logits(logits, (masks > 0).to(logits), reduction='none') * valid_pixels
    return losses.sum((1, 2)) / valid_pixels.sum((1, 2)).clamp(min=1)


def mean_of_frames(losses: Tensor, labelled: Tensor) -> Tensor:
    """Mean over the labelled frames of all processes; 0 if there is none.

    Args:
        losses: (N,) one value per frame.
        labelled: (N,) bool or weights in [0, 1].
    """
    weights = labelled.to(losses)
    count = weights.sum()
    # Gradients are averaged over the processes.
    all_reduce(count, 'mean')
    return (losses * weights).sum() / count.clamp(min=torch.finfo(count.dtype).eps)


def frame_overlap_losses(probabilities: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """``1 - dice`` and ``1 - IoU`` of each frame, as means over all classes, with soft overlaps (DDESeg, CVPR 2025).

    With ``I = sum(p y)``, ``A = sum(p)`` and ``Y = sum(y)`` over the pixels, a class has dice
    ``(2 I + 1e-5) / (A + Y + 1e-5)`` and IoU ``(I + 1e-5) / (A + Y - I + 1e-5)``. Absent classes
    count as well: their loss is 0 only if they are not predicted.

    Args:
        probabilities: (N, K, H, W), softmax of class scores.
        masks: (N, H, W) uint8 classes; pixels of 255 are ignored.

    Returns:
        Two (N,) losses in [0, 1].
    """
    valid_pixels = (masks != UNLABELLED).flatten(1)
    labels = masks.flatten(1).long().masked_fill(~valid_pixels, 0)
    p = probabilities.flatten(2) * valid_pixels.unsqueeze(1)
    of_label = p.gather(1, labels.unsqueeze(1)).squeeze(1)
    zeros = torch.zeros_like(p[:, :, 0])
    overlap = zeros.scatter_add(1, labels, of_label)
    areas = p.sum(2) + zeros.scatter_add(1, labels, valid_pixels.to(p))
    dice = (2 * overlap + SMOOTH) / (areas + SMOOTH)
    iou = (overlap + SMOOTH) / (areas - overlap + SMOOTH)
    return 1 - dice.mean(1), 1 - iou.mean(1)
