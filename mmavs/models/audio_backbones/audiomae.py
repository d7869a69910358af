"""AudioMAE (Huang et al., NeurIPS 2022): encoder of a masked autoencoder of spectrograms, without its decoder."""
from collections.abc import Mapping

import torch
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from mmpretrain.models.utils import build_2d_sincos_position_embedding
from torch import Tensor, nn

from mmavs.audio.log_mel import FRAMES_PER_EXAMPLE
from mmavs.checkpoint.converters.audiomae import convert_audiomae
from mmavs.registry import MODELS

from .base import AudioBackbone, fit_waveforms, frames_with_audio
from .filter_bank import NUM_MELS, KaldiFilterBank

# Statistics of AudioSet, for samples in [-1, 1].
MEAN, STD = -4.2677393, 4.5689974
PATCH = 16
# Rows of the spectrogram that the published models are trained on, 10.24 s.
NUM_ROWS = 1024


@MODELS.register_module()
class AudioMAE(AudioBackbone):
    """Vision transformer over patches of a spectrogram, 160 ms by 16 bands each.

    A frame has 48 tokens, 6 steps of time by 8 of frequency, frequency fastest, from its own 0.975 s (see
    :class:`AudioBackbone`). The published models are for 10.24 s, that is 512 patches. The patches of a frame get the
    first 48 positions, those that they have at the beginning of a recording. There are no attention masks. After the
    end of a waveform, or of ``num_samples``, silence follows, and frames that begin later have tokens of zeros.

    Defaults are those of the published base model. Its positions are constant (2D sine-cosine); a checkpoint brings its
    own table, because the released code makes it for 8 x 64 patches, though they are 64 x 8.

    Args:
        frozen: Do not train the weights; no gradient is recorded either.
        embed_dims: Channels of the transformer, a multiple of 4.
        num_layers: Layers.
        num_heads: Heads of its attentions.
        ffn_dims: Hidden channels of its feed-forward networks.
        examples_per_frame: Examples of a frame, see :class:`AudioBackbone`.
        stereo: Encode two channels, see there.
        init_cfg: Initialization config of MMEngine. A published file is loaded unchanged, pre-trained or fine-tuned.
            The final norm of a fine-tuned file is trained on the mean of the tokens; here it is applied to each.

    Attributes:
        embed_dims: Channels C of a token.
    """

    def __init__(self,
                 frozen: bool = True,
                 embed_dims: int = 768,
                 num_layers: int = 12,
                 num_heads: int = 12,
                 ffn_dims: int = 3072,
                 examples_per_frame: int = 1,
                 stereo: bool = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(frozen, init_cfg, examples_per_frame, stereo)
        self.embed_dims = 2 * embed_dims if stereo else embed_dims
        self.kaldi = KaldiFilterBank('hanning')
        self.patch_embed = nn.Conv2d(1, embed_dims, PATCH, stride=PATCH)
        self.cls_token = nn.Parameter(torch.randn(1, 1, embed_dims) * 0.02)
        # The function has the second axis slowest: time.
        grid = NUM_MELS // PATCH, NUM_ROWS // PATCH
        self.register_buffer('pos_embed', build_2d_sincos_position_embedding(grid, embed_dims, cls_token=True))
        norm = dict(type='LN', eps=1e-6)
        self.layers = nn.ModuleList(
            TransformerEncoderLayer(embed_dims, num_heads, ffn_dims, norm_cfg=norm) for _ in range(num_layers))
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)
        self.register_load_state_dict_pre_hook(_unpack_published)
        self.freeze()

    def encode(self, audio: Tensor, num_frames: int, num_samples: Tensor | None) -> Tensor:
        """Tokens (B, T, 48, C) of waveforms (B, L)."""
        waveform, num_samples = fit_waveforms(audio, num_frames, num_samples, 'AudioMAE')
        rows = self.filter_bank(waveform).view(-1, FRAMES_PER_EXAMPLE, NUM_MELS)
        tokens = self.encode_filter_bank(rows).unflatten(0, (-1, num_frames))
        if num_samples is not None:
            tokens = tokens * frames_with_audio(num_frames, num_samples)[:, :, None, None]
        return tokens

    def filter_bank(self, waveform: Tensor) -> Tensor:
        """Normalized filter bank (B, rows, 128) of waveforms (B, L) in [-1, 1].

        The authors subtract the mean of the waveform first, which changes nothing: each window loses its own.
        """
        return (self.kaldi(waveform) - MEAN) / (2 * STD)

    def encode_filter_bank(self, rows: Tensor) -> Tensor:
        """Tokens (N, rows // 16 * 8, C) of a filter bank (N, rows, 128) of up to 1024 rows, frequency fastest."""
        x = self.patch_embed(rows.unsqueeze(1)).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), 1)
        x = x + self.pos_embed[:, :x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)[:, 1:]


def _unpack_published(module: AudioMAE, state_dict: dict, *args: object) -> None:
    """Convert a published file, ``dict(model=..., optimizer=..., ...)`` or bare weights, while it is loaded."""
    weights = state_dict.get('model', state_dict)
    if isinstance(weights, Mapping) and 'patch_embed.proj.weight' in weights:
        converted = convert_audiomae(weights).state_dict
        state_dict.clear()
        state_dict.update(converted)
