"""Base class of the audio backbones: freezing, stereo, and the part of the waveform that belongs to a frame."""
import logging

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor

from mmavs.audio.log_mel import FRAMES_PER_EXAMPLE, HOP, MAX_CONTIGUOUS_EXAMPLES, SAMPLE_RATE, num_samples_for


class AudioBackbone(BaseModule):
    """Encode the audio of B clips as audio tokens of each frame.

    Frame t of a clip gets one *example*: 96 rows of 10 ms, from 0.96 t to 0.96 t + 0.975 s of the waveform, as in
    AVSBench and the same for all backbones. Frames are encoded independently. A frame with more audio, as in VPO, gets
    several examples.

    Frame t belongs to second t, hence its audio is 0.04 t s early. In clips of more than ten examples, which are not
    published, the audio of frame t is cut from the waveform at t s (times the examples of a frame) instead.

    A subclass sets ``embed_dims``, calls :meth:`freeze` at the end of its constructor, and implements :meth:`encode`.

    Args:
        frozen: Do not train the weights. No gradient is recorded, and the backbone stays in evaluation mode.
        init_cfg: Initialization config of MMEngine.
        examples_per_frame: Number k of examples of a frame: frame t gets those from k t to k t + k - 1. Each is encoded
            independently, and their tokens are concatenated in order.
        stereo: Encode the left and right channel of a waveform independently, with the same weights. They are
            concatenated along the channels of a token, left first, to keep them apart when tokens are averaged.

    Attributes:
        embed_dims: Channels C of a token, those of left and right together.
    """
    embed_dims: int
    # The setting that loads pretrained weights, for a warning.
    PRETRAINED = 'audio_backbone.init_cfg=dict(type="Pretrained", checkpoint=...) to the published weights'

    def __init__(self,
                 frozen: bool,
                 init_cfg: dict | None,
                 examples_per_frame: int = 1,
                 stereo: bool = False) -> None:
        super().__init__(init_cfg)
        self.frozen = frozen
        self.examples_per_frame = examples_per_frame
        self.stereo = stereo

    def freeze(self) -> None:
        """Freeze the weights if the backbone is ``frozen``."""
        if self.frozen:
            self.requires_grad_(False)
        self.train()

    def forward(self, audio: Tensor, num_frames: int, num_samples: Tensor | None = None) -> Tensor:
        """Tokens of the first ``num_frames`` = T frames of each clip.

        Args:
            audio: Waveforms (B, L) in [-1, 1] at 16 kHz, (B, 2, L) for a ``stereo`` backbone, or another form that the
                backbone documents.
            num_frames: Frames T in a clip.
            num_samples: Number of the L samples that are recorded, (B,); the rest is missing, not silent. None: all L.

        Returns:
            Tokens (B, T, tokens, C).

        Raises:
            ValueError: The audio has another form, or another number of channels.
        """
        if self.stereo:
            if audio.ndim != 3 or audio.shape[1] != 2:
                raise ValueError(f'{type(self).__name__} is stereo, but the audio has shape {tuple(audio.shape)}, '
                                 "expected waveforms (B, 2, L): set audio_mode='stereo' in the dataset, or "
                                 'audio_backbone.stereo=False')
            audio = audio.flatten(0, 1)
            num_samples = None if num_samples is None else num_samples.repeat_interleave(2)
        elif audio.ndim == 3 and audio.shape[1] == 2:
            raise ValueError(f'{type(self).__name__} is mono, but the waveforms are stereo: set '
                             "audio_mode='mono' in the dataset, whose waveform is the sum of the two channels, or "
                             'audio_backbone.stereo=True')
        num_examples = num_frames * self.examples_per_frame
        if audio.ndim == 2 and num_examples > MAX_CONTIGUOUS_EXAMPLES:
            audio, num_samples = cut_into_frames(audio, num_frames, self.examples_per_frame, num_samples)
            num_examples = self.examples_per_frame
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            tokens = self.encode(audio, num_examples, num_samples)
        tokens = tokens.flatten(0, 1).unflatten(0, (-1, num_frames, self.examples_per_frame)).flatten(2, 3)
        if self.stereo:
            tokens = torch.cat((tokens[::2], tokens[1::2]), dim=3)  # (2 B, ...) -> (B, ..., 2 C)
        return tokens

    def encode(self, audio: Tensor, num_examples: int, num_samples: Tensor | None) -> Tensor:
        """Tokens (B, examples, tokens, C) of the first ``num_examples`` examples of mono audio; see :meth:`forward`."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> 'AudioBackbone':
        """Set the training mode; a frozen backbone stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says; warn if a frozen backbone has no pretrained weights."""
        if self.frozen and not self.init_cfg:
            name = type(self).__name__
            print_log(
                f'{name} is frozen and has no pretrained weights: unless a checkpoint is loaded into the whole model, '
                f'its weights stay random. Set {self.PRETRAINED}, or frozen=False to train it.',
                logger='current',
                level=logging.WARNING)
        super().init_weights()


def cut_into_frames(audio: Tensor, num_frames: int, seconds: int,
                    num_samples: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Cut the waveforms of clips into those of their frames, each as a clip of one frame.

    Args:
        audio: (B, L); silence follows if it is too short.
        num_frames: Frames T.
        seconds: Seconds of a frame.
        num_samples: Number of the L samples that are recorded, (B,), or None for all.

    Returns:
        The waveforms (B * T, seconds * 16000), and the number of their samples that are recorded, (B * T,), or None.
    """
    length = seconds * SAMPLE_RATE
    frames = F.pad(audio, (0, num_frames * length - audio.shape[1])).view(-1, length)
    if num_samples is not None:
        begins = torch.arange(num_frames, device=num_samples.device) * length
        num_samples = (num_samples[:, None] - begins).clamp(0, length).flatten()
    return frames, num_samples


def fit_waveforms(audio: Tensor, num_frames: int, num_samples: Tensor | None,
                  name: str) -> tuple[Tensor, Tensor | None]:
    """Cut or zero-pad waveforms to the length of T frames; set missing samples to 0.

    Args:
        audio: (B, L).
        num_frames: Frames T.
        num_samples: Number of the L samples that are recorded, (B,), or None for all.
        name: Name of the backbone, for the error.

    Returns:
        The waveforms (B, samples), and the number of their samples that are recorded, (B,), or None for all.

    Raises:
        ValueError: The audio is not a batch of mono waveforms.
    """
    if audio.ndim != 2:
        raise ValueError(f"{name}: the audio has shape {tuple(audio.shape)}, expected waveforms (B, L); {name} does "
                         "not read VGGish's log-mel examples: set LoadAudio(source='waveform') in the pipelines")
    needed, given = num_samples_for(num_frames * FRAMES_PER_EXAMPLE), audio.shape[1]
    if given < needed:
        missing = audio.new_full((len(audio), ), given, dtype=torch.long)
        num_samples = missing if num_samples is None else num_samples.to(audio.device).clamp(max=given)
    waveforms = F.pad(audio[:, :needed], (0, max(0, needed - given)))
    if num_samples is not None:
        num_samples = num_samples.to(audio.device)
        after_end = torch.arange(needed, device=audio.device) >= num_samples[:, None]
        waveforms = waveforms.masked_fill(after_end, 0)
    return waveforms, num_samples


def frames_with_audio(num_frames: int, num_samples: Tensor) -> Tensor:
    """Frames that begin before the audio ends, bool (B, T), from the number of recorded samples (B,)."""
    begins = torch.arange(num_frames, device=num_samples.device) * FRAMES_PER_EXAMPLE * HOP
    return begins < num_samples[:, None]
