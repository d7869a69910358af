"""Class scores of pixels from queries that each predict a class and a mask (MaskFormer)."""
import torch
import torch.nn.functional as F
from torch import Tensor

from mmavs.utils.exporting import is_recording
from mmavs.utils.precision import in_float32

# Bound on the values of the upsampled masks that give class scores (64 MiB of float32, a frame at 384x384).
MAX_SCORES_PER_CHUNK = 2**24


def class_scores(class_logits: Tensor, mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Class scores (N, K, H, W) of N frames at ``size``, float32 also under autocast.

    The score of class c at a pixel is ``sum_q softmax(class logits of q)[c] * sigmoid(mask logit of q)``, in [0, Q];
    "no object" is dropped. Masks are upsampled bilinearly before the sigmoid.

    Args:
        class_logits: (N, Q, K + 1), the last class is "no object".
        mask_logits: (N, Q, h, w).
        size: (H, W).
    """

    def score(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
        classes = class_logits.softmax(2)[..., :-1].transpose(1, 2)  # (N, K, Q)
        if is_recording():
            return classes @ _upsample(mask_logits, size).sigmoid()
        chunk = max(1, MAX_SCORES_PER_CHUNK // (mask_logits.shape[1] * size[0] * size[1]))
        scores = mask_logits.new_empty(len(mask_logits), classes.shape[1], size[0] * size[1])
        for out, weights, masks in zip(*(x.split(chunk) for x in (scores, classes, mask_logits))):
            torch.bmm(weights, _upsample(masks, size).sigmoid_(), out=out)
        return scores

    return in_float32(score, class_logits, mask_logits).unflatten(2, size)


def _upsample(masks: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(masks, size, mode='bilinear', align_corners=False).flatten(2)
