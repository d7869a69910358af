"""Dice and IoU of class probabilities."""
import torch
from torch import Tensor

SMOOTH = 1e-5


def frame_overlap_losses(probabilities: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """``1 - dice`` and ``1 - IoU`` of each frame, means over all classes, with soft overlaps (DDESeg, CVPR 2025).

    With ``I = sum(p y)``, ``A = sum(p)`` and ``Y = sum(y)`` over the pixels, a class has dice
    ``(2 I + 1e-5) / (A + Y + 1e-5)`` and IoU ``(I + 1e-5) / (A + Y - I + 1e-5)``. Classes that are not in the frame
    count too: their loss is 0 only where nothing of them is predicted.

    Args:
        probabilities: (N, K, H, W), softmax of class scores.
        masks: (N, H, W) uint8 classes; pixels of 255 are left out.

    Returns:
        Two (N,) losses in [0, 1].
    """
    known = (masks != 255).flatten(1)
    labels = masks.flatten(1).long() * known
    p = probabilities.flatten(2) * known.unsqueeze(1)
    of_label = p.gather(1, labels.unsqueeze(1)).squeeze(1)
    zeros = torch.zeros_like(p[:, :, 0])
    overlap = zeros.scatter_add(1, labels, of_label)
    areas = p.sum(2) + zeros.scatter_add(1, labels, known.to(p))
    dice = (2 * overlap + SMOOTH) / (areas + SMOOTH)
    iou = (overlap + SMOOTH) / (areas - overlap + SMOOTH)
    return 1 - dice.mean(1), 1 - iou.mean(1)
