"""Annotations and predictions of one clip, and the per-frame targets of a batch."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

# Value of pixels without ground truth in masks.
UNLABELLED = 255

#: Fields that a model can fill in.
PREDICTIONS = ('pred_sem_seg', 'foreground_prob', 'pred_frame_seg', 'seg_logits')
#: Those that it fills in unless others are requested: all that the metrics of mmavs read.
DEFAULT_OUTPUTS = PREDICTIONS[:2]


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
    ``foreground_prob``   (T, H, W) float     above 0.5 if the pixel belongs to a sounding object
    ``pred_frame_seg``    (T, H, W) uint8     predicted class at the size ``ori_shape`` of the stored frames
    ``seg_logits``        (T, K, H, W) float  per-class scores before softmax or, with K = 1, sigmoid
    ====================  ==================  ==============================================================

    Of the last four, a model fills in those that are requested (``model.outputs`` of the config).

    Raises:
        AttributeError: A prediction is read that was not requested; KeyError from the dict of :meth:`to_dict`. The
            message names the config key.
    """

    def __getattr__(self, name: str) -> NoReturn:
        # Called only if the field is absent.
        if name in PREDICTIONS:
            raise AttributeError(_not_requested(name))
        raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')

    def to_dict(self) -> dict:
        """Return fields and meta information as a dict, in which metrics get the data samples."""
        return _SampleDict(super().to_dict())


class _SampleDict(dict):

    def __missing__(self, key: str) -> NoReturn:
        raise KeyError(_not_requested(key) if key in PREDICTIONS else key)


def _not_requested(name: str) -> str:
    return (f"{name} is not in the data sample: request it by model.outputs=({', '.join(map(repr, DEFAULT_OUTPUTS))}, "
            f'{name!r}) in the config, or by the argument outputs of inference_clip')


def check_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the requested predictions; a ValueError if one is unknown or there is none."""
    if isinstance(outputs, str) or not outputs or set(outputs) - set(PREDICTIONS):
        raise ValueError(f"outputs are {outputs!r}, expected a list of {', '.join(PREDICTIONS)}")
    return tuple(dict.fromkeys(outputs))


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
