"""AST: Audio Spectrogram Transformer (Gong et al., Interspeech 2021), of the library transformers."""
import torch
from torch import Tensor

from mmavs.audio.log_mel import FRAMES_PER_EXAMPLE
from mmavs.checkpoint.transformers_files import check_saved_model, load_pretrained
from mmavs.registry import MODELS
from mmavs.utils.optional_packages import optional_import

from .base import AudioBackbone, fit_waveforms, frames_with_audio
from .filter_bank import NUM_MELS, KaldiFilterBank

# Statistics of AudioSet, for samples in [-1, 1].
MEAN, STD = -4.2677393, 4.5689974


@MODELS.register_module()
class AST(AudioBackbone):
    """Transformer over overlapping patches of a spectrogram, initialized from a directory of the library transformers.

    A frame has 108 tokens, 9 steps of time by 12 of frequency, frequency fastest, from its own 0.975 s (see
    :class:`AudioBackbone`). The published models are for 10.24 s; as the authors do for shorter audio, the positions in
    the middle are used. The library has no attention masks. After the end of a waveform, or of ``num_samples``, silence
    follows, and frames that begin later have tokens of zeros.

    Args:
        frozen: Do not train the weights; no gradient is recorded either.
        arch: Arguments of ``transformers.ASTConfig`` that differ from the published base model's.
        directory: Local directory with the pretrained model, ``config.json`` and ``model.safetensors``, as transformers
            saves it. It is read when weights are initialized, that is before training; nothing is downloaded.
        examples_per_frame: Examples of a frame, see :class:`AudioBackbone`.
        stereo: Encode two channels, see there.

    Attributes:
        embed_dims: Channels C of a token.

    Raises:
        ImportError: transformers is not installed.
    """
    PRETRAINED = 'audio_backbone.directory to the directory of a pretrained AST'

    def __init__(self,
                 frozen: bool = True,
                 arch: dict | None = None,
                 directory: str | None = None,
                 examples_per_frame: int = 1,
                 stereo: bool = False) -> None:
        super().__init__(frozen, None, examples_per_frame, stereo)
        self.directory = directory
        transformers = optional_import('transformers', 'AST', 'transformers>=5')
        config = transformers.ASTConfig(**dict(arch or {}, max_length=FRAMES_PER_EXAMPLE, num_mel_bins=NUM_MELS))
        self.embed_dims = 2 * config.hidden_size if stereo else config.hidden_size
        self.kaldi = KaldiFilterBank('hanning')
        self.transformer = transformers.ASTModel(config)
        self.freeze()

    @property
    def grid(self) -> tuple[int, int]:
        """Steps of time and of frequency of the tokens of a frame."""
        return self.transformer.embeddings.get_shape(self.transformer.config)[::-1]

    def encode(self, audio: Tensor, num_frames: int, num_samples: Tensor | None) -> Tensor:
        """Tokens (B, T, 108, C) of waveforms (B, L)."""
        waveform, num_samples = fit_waveforms(audio, num_frames, num_samples, 'AST')
        rows = self.filter_bank(waveform).view(-1, FRAMES_PER_EXAMPLE, NUM_MELS)
        # Drop the two tokens for classification; the library has time fastest.
        tokens = self.transformer(rows).last_hidden_state[:, 2:]
        tokens = tokens.unflatten(1, self.grid[::-1]).transpose(1, 2).flatten(1, 2).unflatten(0, (-1, num_frames))
        if num_samples is not None:
            tokens = tokens * frames_with_audio(num_frames, num_samples)[:, :, None, None]
        return tokens

    def filter_bank(self, waveform: Tensor) -> Tensor:
        """Normalized filter bank (B, rows, 128) of waveforms (B, L) in [-1, 1]."""
        return (self.kaldi(waveform) - MEAN) / (2 * STD)

    def init_weights(self) -> None:
        """Load the pretrained model of ``directory``.

        Raises:
            FileNotFoundError: The directory or one of its files does not exist.
            ValueError: A file is damaged, or holds another kind of model or an AST of another architecture.
        """
        if self.directory is None:
            super().init_weights()
            return
        self.transformer.load_state_dict(self._published_weights(self.directory))

    def _published_weights(self, directory: str) -> dict[str, Tensor]:
        """Weights of the model in a directory, with the positions that a frame needs."""
        from transformers import ASTConfig, ASTModel
        check_saved_model(directory, 'an AST')
        config, ours = load_pretrained(ASTConfig, directory, 'an AST'), self.transformer.config
        differing = {
            key: (value, getattr(config, key, None))
            for key, value in ours.to_dict().items() if key in ARCHITECTURE and value != getattr(config, key, None)
        }
        if differing:
            listed = ', '.join(f'{key}={theirs} (here {mine})' for key, (mine, theirs) in differing.items())
            raise ValueError(f'{directory}: its config.json says {listed}: set audio_backbone.arch to these values')
        model, report = load_pretrained(
            ASTModel, directory, 'an AST', use_safetensors=True, output_loading_info=True)
        if report['missing_keys']:
            raise ValueError(f'{directory}: does not hold an AST, {len(report["missing_keys"])} weights are missing '
                             f'({", ".join(sorted(report["missing_keys"])[:3])}, ...)')
        weights = model.state_dict()
        key = 'embeddings.position_embeddings'
        weights[key] = middle_positions(weights[key], *model.embeddings.get_shape(config), self.grid[0])
        return weights


# Keys of a config that the shapes and the meaning of the weights depend on.
ARCHITECTURE = {
    'model_type', 'hidden_size', 'num_hidden_layers', 'num_attention_heads', 'intermediate_size', 'hidden_act',
    'layer_norm_eps', 'patch_size', 'qkv_bias', 'frequency_stride', 'time_stride', 'num_mel_bins'
}


def middle_positions(positions: Tensor, num_bands: int, num_steps: int, needed: int) -> Tensor:
    """Position embeddings of the ``needed`` steps of time in the middle, and of the two tokens for classification.

    Args:
        positions: (1, 2 + num_bands * num_steps, C), time fastest.
        num_bands: Steps of frequency.
        num_steps: Steps of time.
        needed: Steps of time to keep, as the authors cut them.
    """
    start = max(0, num_steps // 2 - needed // 2)
    grid = positions[:, 2:].unflatten(1, (num_bands, num_steps))[:, :, start:start + needed]
    return torch.cat((positions[:, :2], grid.flatten(1, 2)), 1)
