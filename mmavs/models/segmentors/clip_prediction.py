"""Predictions of one clip, filled in frame by frame."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmavs.structures import AVSDataSample, check_outputs

# Scores of one frame that are resized at once: 16 MiB of float32.
MAX_RESIZED_SCORES = 2**22
PROB_DTYPES = (torch.float32, torch.float16, torch.uint8)


class ClipPrediction:
    """Predictions of one clip, filled in frame by frame.

    At the size of the predictions, only the requested ``outputs`` exist for the whole clip: the scores of a frame are
    reduced as soon as they are resized, those of a large frame one class after the other.

    Args:
        sample: The data sample, which gets the fields ``outputs``; 0 in frames that are not filled in.
        num_frames: T.
        num_classes: Channels K of the scores.
        input_shape: (H, W) of the padded network input.
        outputs: Names of the fields, see :class:`AVSDataSample`.
        prob_dtype: Type of ``foreground_prob``: float32, float16, or uint8 as ``ceil(256 p) - 1``, which exceeds 127 if
            and only if p exceeds 0.5.
        device: Device of the fields.

    Raises:
        ValueError: An output or the type is unknown.
    """

    def __init__(self, sample: AVSDataSample, num_frames: int, num_classes: int, input_shape: tuple[int, int],
                 outputs: Sequence[str], prob_dtype: torch.dtype, device: torch.device) -> None:
        if prob_dtype not in PROB_DTYPES:
            raise ValueError(f'prob_dtype is {prob_dtype}, expected one of {", ".join(map(str, PROB_DTYPES))}')
        self.input_shape, self.img_shape = tuple(input_shape), tuple(sample.img_shape)
        self.out_shape = tuple(sample.out_shape)
        self.frame_shape = tuple(sample.get('ori_shape') or sample.out_shape)
        layouts = dict(
            pred_sem_seg=(self.out_shape, torch.uint8),
            foreground_prob=(self.out_shape, prob_dtype),
            pred_frame_seg=(self.frame_shape, torch.uint8),
            seg_logits=((num_classes, *self.out_shape), torch.float32))
        self.fields = {}
        for name in check_outputs(outputs):
            shape, dtype = layouts[name]
            self.fields[name] = torch.zeros(num_frames, *shape, dtype=dtype, device=device)
        sample.set_data(self.fields)

    def add_frame(self, index: int, scores: Tensor) -> None:
        """Fill in the frame ``index`` from its scores (K, h, w)."""
        fields = self.fields
        if fields.keys() & {'pred_sem_seg', 'foreground_prob', 'seg_logits'}:
            logits = fields['seg_logits'][index] if 'seg_logits' in fields else None
            labels, margin = self._reduce(scores, self.out_shape, logits, 'foreground_prob' in fields)
            if 'pred_sem_seg' in fields:
                fields['pred_sem_seg'][index] = labels
            if 'foreground_prob' in fields:
                prob = margin.sigmoid()
                if fields['foreground_prob'].dtype == torch.uint8:
                    prob = prob.float().mul_(256).ceil_().sub_(1).clamp_(min=0)
                fields['foreground_prob'][index] = prob
        if 'pred_frame_seg' in fields:
            if self.frame_shape != self.out_shape or 'pred_sem_seg' not in fields:
                labels, _ = self._reduce(scores, self.frame_shape)
            fields['pred_frame_seg'][index] = labels

    def _reduce(self,
                scores: Tensor,
                size: tuple[int, int],
                logits: Tensor | None = None,
                needs_margin: bool = False) -> tuple[Tensor, Tensor]:
        """Predict class (H, W) uint8 and margin of the foreground (H, W) of a frame from its scores (K, h, w).

        Args:
            scores: The scores.
            size: (H, W).
            logits: (K, H, W), filled with the resized scores; None if they are not needed.
            needs_margin: Whether the margin is needed where it is not above 0.
        """
        if logits is None and len(scores) * size[0] * size[1] > MAX_RESIZED_SCORES:
            background, best, labels = self._best_class(scores, size, needs_margin)
        else:
            resized = self._resize(scores[None], size)[0]
            if logits is not None:
                logits.copy_(resized)
            background = resized[0]
            best, labels = resized[1:].max(0) if len(scores) > 1 else (None, None)
            labels = None if labels is None else labels.to(torch.uint8).add_(1)
        if best is None:
            return (background > 0).to(torch.uint8), background
        # With two classes the sigmoid of the margin is their softmax. With more, scores need not be
        # log-probabilities (VCT's are sums over queries), but the margin agrees with the most likely class.
        margin = best - background
        return labels.mul_(margin > 0), margin

    def _best_class(self, scores: Tensor, size: tuple[int, int],
                    needs_margin: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Resize the scores (K, h, w) of one class after the other, and keep the best of the foreground.

        Returns:
            Scores of the background, best scores of the foreground and their classes, each (H, W). Of equal scores the
            first is the best.
        """
        classes = range(1, len(scores))
        if not needs_margin and len(classes) > 1:
            # Interpolated scores are averages: a class that nowhere exceeds the background is not predicted.
            exceeds = (scores[1:] > scores[0]).flatten(1).any(1)
            classes = (1 + exceeds.nonzero()[:, 0]).tolist() or [1]
        background, best, labels = self._resize(scores[None, :1], size)[0, 0], None, None
        for label in classes:
            resized = self._resize(scores[None, label:label + 1], size)[0, 0]
            if best is None:
                best, labels = resized, torch.full_like(resized, label, dtype=torch.uint8)
                continue
            # Of the labels the last that was better is the largest.
            better = (resized > best).view(torch.uint8)
            labels = torch.maximum(labels, better.mul_(label))
            best = torch.maximum(best, resized)
        return background, best, labels

    def _resize(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize scores (1, k, h, w) to ``size`` after the batch padding is cropped from them."""
        height, width = self.img_shape
        if (height, width) != self.input_shape:
            scores = F.interpolate(scores, self.input_shape, mode='bilinear', align_corners=False)
            scores = scores[..., :height, :width]
        if scores.shape[-2:] != size:
            scores = F.interpolate(scores, size, mode='bilinear', align_corners=False)
        return scores
