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
      stereo ``waveform`` (B, 2, L);
    - ``num_samples`` (B,) int64, the recorded samples of each waveform, if the clips have it;
    - ``valid`` (B, T) bool on the CPU.

    Networks do not mask the padding of frames, which changes predictions. Therefore clips of different padded sizes are
    one batch in training only; in a test, :meth:`split` puts them into several.

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
        """Batch ``data = dict(inputs=[dict, ...], data_samples=[AVSDataSample, ...])`` of B clips.

        Raises:
            ValueError: Clips of a test are padded to different sizes.
        """
        clips, data_samples = _list_clips(data['inputs']), data.get('data_samples')
        lengths = [len(clip['frames']) for clip in clips]
        num_frames = max(lengths)
        sizes = sorted({self._padded_size(clip) for clip in clips})
        if len(sizes) > 1 and not training:
            raise ValueError(f'a test batch has clips of the padded sizes {", ".join(map(str, sizes))}: padding would '
                             'change their predictions. Pass the clips to model.test_step, which splits the batch, or '
                             'resize all frames to one size')
        height, width = (max(size[axis] for size in sizes) for axis in (0, 1))

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
                time = -1 if key == 'waveform' else 0
                inputs[key] = _stack_audio([self.cast_data(clip[key]) for clip in clips], time)
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

    def split(self, data: dict) -> list[tuple[list[int], dict]]:
        """Split clips into batches in which nothing is padded beyond what each clip alone is padded to.

        Args:
            data: As for :meth:`forward`.

        Returns:
            The indices of the clips of each batch, and the batch. Its clips have one padded size, one number of frames
            and one length of audio.
        """
        clips, groups = _list_clips(data['inputs']), {}
        for index, clip in enumerate(clips):
            shapes = [tuple(clip[key].shape) for key in ('waveform', 'log_mel') if key in clip]
            groups.setdefault((self._padded_size(clip), len(clip['frames']), *shapes), []).append(index)
        data = dict(data, inputs=clips)
        return [(indices, {key: [values[i] for i in indices] for key, values in data.items()})
                for indices in groups.values()]

    def _padded_size(self, clip: dict) -> tuple[int, int]:
        """Height and width of a clip, rounded up."""
        divisor = self.pad_size_divisor
        height, width = (-(-size // divisor) * divisor for size in clip['frames'].shape[-2:])
        return height, width

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
        size = num_frames, 3, height, width
        allocate = self.mean.new_empty if all(clip.shape == size for clip in clips) else self.mean.new_zeros
        batch = allocate(len(clips), *size, dtype=torch.float32)
        for frames, clip in zip(batch, clips):
            # Frames go to the device as bytes, and to floats where they are to be.
            frames = frames[:len(clip), :, :clip.shape[-2], :clip.shape[-1]].copy_(self.cast_data(clip))
            frames.sub_(self.mean).div_(self.std)
        return batch

    @staticmethod
    def _valid(index: int, length: int, num_frames: int, data_samples: list | None) -> Tensor:
        valid = torch.zeros(num_frames, dtype=torch.bool)
        valid[:length] = True
        if data_samples is not None and 'valid' in data_samples[index]:
            valid[:length] = data_samples[index].valid.cpu()
        return valid


def _list_clips(inputs: list[dict] | dict) -> list[dict]:
    """Clips, of which MMEngine's ``pseudo_collate`` makes a dict of lists."""
    return [dict(zip(inputs, values)) for values in zip(*inputs.values())] if isinstance(inputs, dict) else inputs


def _stack_audio(audio: list[Tensor], time: int) -> Tensor:
    """Stack audio, zero-padded along the axis of time to the longest."""
    longest = max(x.shape[time] for x in audio)
    after = (0, 0) * (audio[0].ndim - 1) if time == 0 else ()
    return torch.stack([F.pad(x, (*after, 0, longest - x.shape[time])) for x in audio])
