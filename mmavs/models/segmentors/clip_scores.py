"""A segmentor as a function of tensors, for export."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmavs.audio.log_mel import FRAMES_PER_EXAMPLE, HOP, MAX_CONTIGUOUS_EXAMPLES, SAMPLE_RATE, num_samples_for

from .audio_visual_segmentor import AudioVisualSegmentor

# Samples from the beginning of an example to that of the next one, and those that it takes.
STEP, EXAMPLE = FRAMES_PER_EXAMPLE * HOP, num_samples_for(FRAMES_PER_EXAMPLE)


class ClipScores(nn.Module):
    """Scores of one clip, from frames at the size of the network: what :class:`AudioVisualSegmentor` predicts.

    Frames are normalized and padded here, and the waveform is cut into the audio of each frame, so that T is the size
    of an axis everywhere and never decides what is computed.

    Args:
        model: The model.
        frame_size: (H, W) of the frames.
    """

    def __init__(self, model: AudioVisualSegmentor, frame_size: tuple[int, int]) -> None:
        super().__init__()
        self.model = model
        self.frame_size = frame_size

    def forward(self,
                frames: Tensor,
                waveform: Tensor,
                mask_prior: Tensor | None = None,
                num_samples: Tensor | None = None) -> Tensor:
        """Scores (T, K, H, W) of the classes, or of the foreground (K = 1).

        Args:
            frames: (T, 3, H, W) uint8 RGB.
            waveform: (L,) float32 in [-1, 1] at 16 kHz, (2, L) for a stereo model: one second for each of the T frames,
                or ``examples_per_frame`` seconds. Silence follows a shorter one.
            mask_prior: (T, 3, H, W) uint8, a rendered segmentation of each frame, for models that need one.
            num_samples: (1,) int64, the samples that are recorded; those after them are missing, not silent.
        """
        num_frames = frames.shape[0]
        audio = self.model.audio_backbone(*self._audio_of_frames(waveform, num_frames, num_samples))[:, 0]
        frames = self._normalize(frames)
        mask_prior = None if mask_prior is None else self._normalize(mask_prior)
        features = self.model.extract_pyramid(frames, audio, mask_prior)
        valid = torch.ones(1, num_frames, dtype=torch.bool)
        scores = self.model.predict_scores(features, audio, valid, tuple(map(int, frames.shape[-2:])))
        return scores[..., :self.frame_size[0], :self.frame_size[1]]

    def _normalize(self, images: Tensor) -> Tensor:
        preprocessor, divisor = self.model.data_preprocessor, self.model.data_preprocessor.pad_size_divisor
        height, width = self.frame_size
        normalized = (images.float() - preprocessor.mean) / preprocessor.std
        return F.pad(normalized, (0, -width % divisor, 0, -height % divisor))

    def _audio_of_frames(self, waveform: Tensor, num_frames: int,
                         num_samples: Tensor | None) -> tuple[Tensor, int, Tensor | None]:
        """Arguments of the audio backbone for T clips of one frame, with the audio that the frame has in its clip."""
        num_examples = self.model.audio_backbone.examples_per_frame
        frames = torch.arange(num_frames, device=waveform.device)
        # See AudioBackbone: contiguous examples in short clips.
        is_long = frames[-1:] >= MAX_CONTIGUOUS_EXAMPLES // num_examples
        begins = frames * num_examples * torch.where(is_long, SAMPLE_RATE, STEP)
        length = (num_examples - 1) * STEP + EXAMPLE
        samples = begins[:, None] + torch.arange(length, device=waveform.device)
        padded = torch.cat((waveform, waveform.new_zeros(*waveform.shape[:-1], 1)), -1)
        silence = waveform.shape[-1]
        audio = padded[..., samples.clamp(max=silence)]  # (T, length), or (2, T, length)
        if num_samples is not None:
            num_samples = (num_samples - begins).clamp(0, length)
        return audio.transpose(0, 1) if audio.ndim == 3 else audio, 1, num_samples
