"""Annotations and predictions of one clip, and the per-frame targets of a batch."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

# Value of pixels without ground truth in masks.
UNLABELLED = 255


class AVSDataSample(BaseDataElement):
    """Annotations and predictions of one clip of T frames.

    Meta information (``sample.metainfo``): ``clip_id`` (str), ``subset`` (str), ``category`` (str or None),
    ``ori_shape`` (H, W of the stored frames), ``img_shape`` (H, W that enter the model, before batch padding),
    ``out_shape`` (H, W of predictions: that of the ground-truth masks if there are any, else ``ori_shape``).

    Data fields, tensors that are present only if known:

    ====================  ==================  ==============================================================
    field                 shape, type         meaning
    ====================  ==================  ==============================================================
    ``valid``             (T,) bool           the frame exists (is not padding)
    ``labelled``          (T,) bool           the frame has ground truth
    ``gt_sem_seg``        (T, H, W) uint8     class of every pixel, 0 background, 255 unlabelled
    ``gt_events``         (T, M) float32      1 where audio event m is present, for prototype losses
    ``pred_sem_seg``      (T, H, W) uint8     predicted class
    ``seg_logits``        (T, K, H, W) float  per-class scores before softmax or, with K = 1, sigmoid
    ``foreground_prob``   (T, H, W) float     above 0.5 if the pixel belongs to a sounding object
    ====================  ==================  ==============================================================
    """


@dataclass
class FrameTargets:
    """Ground truth of the N frames that a head gets.

    Attributes:
        masks: (N, H, W) uint8, class of every pixel at the size of the padded network input, 255 = unlabelled.
        labelled: (N,) bool on the CPU, frames that have ground truth.
        events: (N, M) float32, audio events of each frame, or None if the dataset has none.
    """
    masks: Tensor
    labelled: Tensor
    events: Tensor | None = None

    @property
    def labelled_frames(self) -> Tensor:
        """Indices of the labelled frames, (n,) int64 on the CPU."""
        return self.labelled.nonzero().squeeze(1)

    def labelled_or_first(self) -> Tensor:
        """Indices of the labelled frames; if there is none, the first frame.

        A mean over the ``labelled`` frames gives that frame weight 0: the loss is 0, and every parameter still gets a
        gradient, which distributed training requires.
        """
        frames = self.labelled_frames
        return frames if len(frames) else torch.zeros(1, dtype=torch.long)

    def select(self, frames: Tensor) -> FrameTargets:
        """Targets of the chosen frames, from their indices (n,) on the CPU."""
        events = None if self.events is None else select_frames(self.events, frames)
        return FrameTargets(select_frames(self.masks, frames), select_frames(self.labelled, frames), events)


def select_frames(x: Tensor, frames: Tensor) -> Tensor:
    """``x[frames]`` of x (N, ...), without a copy if these are all N frames.

    Args:
        x: (N, ...), on any device.
        frames: (n,) ascending indices, on any device.
    """
    return x if len(frames) == len(x) else x[frames.to(x.device, non_blocking=True)]
