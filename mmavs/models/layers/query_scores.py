"""Class scores of pixels from the classes and masks of queries (Mask2Former)."""
import torch.nn.functional as F
from torch import Tensor

from mmavs.utils.exporting import is_exporting

# Bound on the values of the upsampled masks that give class scores (64 MiB of float32, a frame at 384x384).
MAX_SCORES_PER_CHUNK = 2**24


def semantic_scores(class_logits: Tensor, mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Class scores (N, K, H, W): the sum over queries of class probability times mask probability, in [0, Q].

    Args:
        class_logits: (N, Q, K + 1); the last class, "no object", is dropped after the softmax.
        mask_logits: (N, Q, h, w), resized bilinearly to ``size``.
        size: (H, W).
    """
    classes = class_logits.softmax(2)[..., :-1].transpose(1, 2)
    if is_exporting():
        upsampled = F.interpolate(mask_logits, size, mode='bilinear', align_corners=False).flatten(2)
        return (classes @ upsampled.sigmoid()).unflatten(2, size)
    chunk = max(1, MAX_SCORES_PER_CHUNK // (mask_logits.shape[1] * size[0] * size[1]))
    scores = mask_logits.new_empty(*classes.shape[:2], size[0] * size[1])
    for score, weights, mask in zip(*(x.split(chunk) for x in (scores, classes, mask_logits))):
        upsampled = F.interpolate(mask, size, mode='bilinear', align_corners=False).flatten(2)
        score.copy_(weights @ upsampled.sigmoid_())
    return scores.unflatten(2, size)
