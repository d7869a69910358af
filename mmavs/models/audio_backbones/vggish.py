"""VGGish, the audio backbone of AVSBench, AVSegFormer, COMBO and VCT."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmavs.audio.log_mel import (
    EXAMPLE_SHAPE,
    FRAMES_PER_EXAMPLE,
    NUM_MELS,
    WINDOW,
    log_mel_examples,
    mel_filters,
    num_complete_examples,
    num_samples_for,
)
from mmavs.registry import MODELS

from .base import AudioBackbone


@MODELS.register_module()
class VGGish(AudioBackbone):
    """Convolutional features of 0.96 s of audio per frame (Hershey et al., ICASSP 2017; torchvggish weights).

    Frame t of a clip gets the t-th example of its audio, from 0.96 t to 0.96 t + 0.975 s, as in AVSBench (waveforms of
    more than ten examples: from t s on, see :class:`AudioBackbone`). Examples beyond the first T are not computed.
    Frames beyond the end of the audio get silence (waveform) or an example of zeros (log-mel, or a waveform with
    ``num_samples``), as AVSBench pads its semantic subset.

    With ``examples_per_frame=3`` the single frame of a clip of VPO gets 2.895 of its 3 s.

    Args:
        output: ``'embedding'``, one token of 128 channels for each example, or ``'conv'``, the convolutional map as 24
            tokens of ``channels[-1]`` channels: 6 steps of time by 4 of frequency, frequency fastest.
        frozen: Do not train the weights; no gradient is recorded either.
        channels: Width of the six convolutions; the published weights need the default.
        hidden_dims: Width of the two hidden layers of the embedding; the published weights need the default.
        examples_per_frame: Examples of a frame, see :class:`AudioBackbone`.
        stereo: Encode two channels, see there; waveforms only.
        init_cfg: Initialization config of MMEngine. The file of torchvggish is loaded unchanged.

    Attributes:
        embed_dims: Channels C of a token.
    """

    def __init__(self,
                 output: str = 'embedding',
                 frozen: bool = True,
                 channels: Sequence[int] = (64, 128, 256, 256, 512, 512),
                 hidden_dims: int = 4096,
                 examples_per_frame: int = 1,
                 stereo: bool = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(frozen, init_cfg, examples_per_frame, stereo)
        if output not in ('embedding', 'conv'):
            raise ValueError(f"VGGish: output is {output!r}, expected 'embedding' or 'conv'")
        if len(channels) != 6:
            raise ValueError(f'VGGish: channels is {tuple(channels)}, expected the widths of 6 convolutions')
        self.output = output
        self.register_buffer('window', torch.hann_window(WINDOW), persistent=False)
        self.register_buffer('mel_filters', mel_filters(), persistent=False)
        self.features = conv_stack(channels)
        if output == 'conv':
            width = channels[-1]
            self.register_load_state_dict_pre_hook(_drop_embeddings)
        else:
            width = 128
            self.embeddings = nn.Sequential(
                nn.Linear(channels[-1] * 6 * 4, hidden_dims), nn.ReLU(inplace=True),
                nn.Linear(hidden_dims, hidden_dims), nn.ReLU(inplace=True), nn.Linear(hidden_dims, width),
                nn.ReLU(inplace=True))
        self.embed_dims = 2 * width if stereo else width
        self.freeze()

    def encode(self, audio: Tensor, num_examples: int, num_samples: Tensor | None) -> Tensor:
        """Tokens (B, examples, tokens, C) of the first examples of waveforms (B, L) or log-mel (B, n, 1, 96, 64).

        With ``num_samples``, incomplete examples are replaced by zeros. Without it, waveforms are padded with silence.
        """
        return self._encode(self._examples(audio, num_examples, num_samples))

    def log_mel_examples(self, waveform: Tensor) -> Tensor:
        """Examples (B, n, 1, 96, 64) of waveforms (B, L), see :func:`mmavs.audio.log_mel.log_mel_examples`."""
        return log_mel_examples(waveform, self.window, self.mel_filters)

    def _examples(self, audio: Tensor, num_examples: int, num_samples: Tensor | None) -> Tensor:
        """Log-mel of exactly ``num_examples`` examples of each clip: (B, examples, 1, 96, 64)."""
        if audio.ndim == 2:
            needed = num_samples_for(num_examples * FRAMES_PER_EXAMPLE)
            audio = audio[:, :needed]
            examples = self.log_mel_examples(F.pad(audio, (0, needed - audio.shape[1])))
            if num_samples is not None:
                indices = torch.arange(num_examples, device=examples.device)
                missing = indices >= num_complete_examples(num_samples.to(indices.device))[:, None]
                examples = examples.masked_fill(missing[:, :, None, None, None], 0)
            return examples
        if audio.ndim == 5 and audio.shape[2:] == EXAMPLE_SHAPE:
            audio = audio[:, :num_examples]
            return F.pad(audio, (0, 0, 0, 0, 0, 0, 0, num_examples - audio.shape[1]))
        raise ValueError(f'VGGish: the audio has shape {tuple(audio.shape)}, expected waveforms (B, L) or log-mel '
                         f'examples (B, n, 1, {FRAMES_PER_EXAMPLE}, {NUM_MELS})')

    def _encode(self, examples: Tensor) -> Tensor:
        # Channels last takes a fifth less time on the CPU, and its transpose below is not a copy.
        x = self.features(examples.flatten(0, 1).to(memory_format=torch.channels_last))  # (N, C, 6, 4)
        if self.output == 'conv':
            tokens = x.flatten(2).transpose(1, 2)  # (N, 24, C)
        else:
            # The published weights expect channels fastest.
            tokens = self.embeddings(x.permute(0, 2, 3, 1).flatten(1)).unsqueeze(1)  # (N, 1, 128)
        return tokens.unflatten(0, examples.shape[:2])


def conv_stack(channels: Sequence[int]) -> nn.Sequential:
    """The six 3x3 convolutions of VGGish, (N, 1, 96, 64) -> (N, C, 6, 4), numbered as in torchvggish."""
    layers, previous = [], 1
    for index, width in enumerate(channels):
        layers += [nn.Conv2d(previous, width, 3, padding=1), nn.ReLU(inplace=True)]
        if index in (0, 1, 3, 5):
            layers.append(nn.MaxPool2d(2))
        previous = width
    return nn.Sequential(*layers)


def _drop_embeddings(module: nn.Module, state_dict: dict, prefix: str, *args: object) -> None:
    """Drop the fully connected layers, which the published file holds too."""
    for key in [key for key in state_dict if key.startswith(f'{prefix}embeddings.')]:
        del state_dict[key]
