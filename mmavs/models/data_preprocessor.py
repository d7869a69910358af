"""Data preprocessor: batches, normalizes and pads clips on the device of the model."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmavs.registry import MODELS


@MODELS.register_module()
class AVSDataPreprocessor(BaseDataPreprocessor):
    """Batch clips: normalize frames, pad frames, waveforms and masks, move everything to the device.

    Args:
        mean: Mean of the R, G and B channel in the range [0, 255].
        std: Standard deviation of the R, G and B channel in the range [0, 255].
        pad_size_divisor: Height and width of the batch are padded (bottom, right) to a multiple of this. Padding is 0
            in normalized frames and 255 (unlabelled) in masks.

    The batch of B clips is padded to the length T of its longest clip; padding frames are marked in ``valid``.
    :meth:`forward` returns ``dict(inputs=..., data_samples=...)`` with inputs

    - ``frames`` (B, T, 3, H, W) float32, normalized;
    - ``mask_prior`` (B, T, 3, H, W) float32, normalized in the same way, if the clips have one;
    - ``waveform`` (B, L) float32 in [-1, 1], or ``log_mel`` (B, n, 1, 96, 64) float32, zero-padded to the longest;
      stereo ``waveform`` (B, 2, L), all of one length;
    - ``num_samples`` (B,) int64, the recorded samples of each waveform, if the clips have it;
    - ``valid`` (B, T) bool on the CPU.

    The flags of the data samples stay on the CPU as well: they decide what is computed, and reading them from a GPU
    would block until it has finished.
    """

    def __init__(self,
                 mean: Sequence[float] = (123.675, 116.28, 103.53),
                 std: Sequence[float] = (58.395, 57.12, 57.375),
                 pad_size_divisor: int = 32) -> None:
        super().__init__(non_blocking=True)
        self.pad_size_divisor = pad_size_divisor
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(3, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Batch ``data = dict(inputs=[dict, ...], data_samples=[AVSDataSample, ...])`` of B clips."""
        clips, data_samples = data['inputs'], data.get('data_samples')
        if isinstance(clips, dict):  # MMEngine's pseudo_collate makes a dict of lists
            clips = [dict(zip(clips, values)) for values in zip(*clips.values())]
        lengths = [len(clip['frames']) for clip in clips]
        num_frames = max(lengths)
        height, width = (self._round_up(max(clip['frames'].shape[axis] for clip in clips)) for axis in (-2, -1))

        inputs = dict(
            frames=self._batch_frames([clip['frames'] for clip in clips], num_frames, height, width),
            valid=torch.stack([self._valid(i, length, num_frames, data_samples) for i, length in enumerate(lengths)]))
        if not inputs['valid'].all():
            # Padding frames of the pipeline have the mean color only up to rounding, and only without color jitter.
            padding = ~inputs['valid'].to(self.device)
            inputs['frames'].masked_fill_(padding[:, :, None, None, None], 0)
        if 'mask_prior' in clips[0]:
            inputs['mask_prior'] = self._batch_frames([clip['mask_prior'] for clip in clips], num_frames, height, width)
        for key in ('waveform', 'log_mel'):
            if key in clips[0]:
                audio = [self.cast_data(clip[key]) for clip in clips]
                inputs[key] = torch.nn.utils.rnn.pad_sequence(audio, batch_first=True)
        if 'num_samples' in clips[0]:
            inputs['num_samples'] = torch.tensor([clip['num_samples'] for clip in clips], device=self.device)

        if data_samples is not None:
            originals, data_samples = data_samples, self.cast_data(data_samples)
            for sample, original in zip(data_samples, originals):
                sample.set_data({key: original.get(key) for key in ('valid', 'labelled') if key in original})
            if training:
                for sample, clip in zip(data_samples, clips):
                    sample.gt_sem_seg = self._pad_masks(sample.gt_sem_seg, clip['frames'].shape[-2:], height, width)
        return dict(inputs=inputs, data_samples=data_samples)

    def _round_up(self, size: int) -> int:
        return -(-size // self.pad_size_divisor) * self.pad_size_divisor

    @staticmethod
    def _pad_masks(masks: Tensor, frame_size: Sequence[int], height: int, width: int) -> Tensor:
        """Pad (T, h, w) masks at the bottom and right as their frames are padded to (height, width).

        Masks may have another size than the frames, if these are not padded.
        """
        if masks.shape[-2:] == frame_size:
            return F.pad(masks, (0, width - masks.shape[-1], 0, height - masks.shape[-2]), value=255)
        if tuple(frame_size) != (height, width):
            raise ValueError(f'the masks are {tuple(masks.shape[-2:])} (height, width), the frames '
                             f'{tuple(frame_size)}, padded to {(height, width)}: resize both to one size in the '
                             f'training pipeline, or the frames to {(height, width)}')
        return masks

    def _batch_frames(self, clips: list[Tensor], num_frames: int, height: int, width: int) -> Tensor:
        """Normalize uint8 clips of (t, 3, h, w) into one zero-padded float batch (B, T, 3, H, W)."""
        if len({clip.shape for clip in clips}) == 1 and clips[0].shape[-2:] == (height, width):
            frames = self.cast_data(torch.stack(clips)).float()
            return frames.sub_(self.mean).div_(self.std)
        batch = self.mean.new_zeros(len(clips), num_frames, 3, height, width)
        for padded, clip in zip(batch, clips):
            clip = self.cast_data(clip).float().sub_(self.mean).div_(self.std)
            padded[:len(clip), :, :clip.shape[-2], :clip.shape[-1]] = clip
        return batch

    @staticmethod
    def _valid(index: int, length: int, num_frames: int, data_samples: list | None) -> Tensor:
        valid = torch.zeros(num_frames, dtype=torch.bool)
        valid[:length] = True
        if data_samples is not None and 'valid' in data_samples[index]:
            valid[:length] = data_samples[index].valid.cpu()
        return valid
