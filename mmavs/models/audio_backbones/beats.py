"""BEATs: Audio Pre-Training with Acoustic Tokenizers (Chen et al., ICML 2023), iter3 and later."""
import math

import torch
import torch.nn.functional as F
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from mmavs.audio.log_mel import FRAMES_PER_EXAMPLE, HOP
from mmavs.checkpoint.converters.beats import beats_arguments, convert_beats
from mmavs.registry import MODELS

from .base import AudioBackbone, fit_waveforms
from .filter_bank import NUM_MELS, KaldiFilterBank

# The filter bank is computed from 16-bit samples and normalized by statistics of AudioSet.
INT16 = 2**15
MEAN, STD = 15.41663, 6.55582
PATCH = 16


@MODELS.register_module()
class BEATs(AudioBackbone):
    """Transformer over patches of a spectrogram, 160 ms by 16 bands each, with the authors' parameter names.

    A frame has 48 tokens, 6 steps of time by 8 of frequency, frequency fastest, from its own 0.975 s (see
    :class:`AudioBackbone`). Frames are encoded independently. BEATs could encode a whole clip at once, but then the
    tokens of a frame would depend on the audio before and after it. The masks contain the objects that are sounding in
    the frame itself.

    If a waveform or its ``num_samples`` end before its frames do, patches after the end are masked in the attention and
    get tokens of zeros.

    Defaults are those of the published models (iter3, iter3+, fine-tuned or not). Layer drop and the scaled gradients
    of their pre-training are left out: every step trains every parameter.

    Args:
        frozen: Do not train the weights; no gradient is recorded either.
        patch_dims: Channels of the patch embedding.
        embed_dims: Channels of the encoder.
        num_layers: Layers of the encoder.
        num_heads: Heads of its attentions.
        ffn_dims: Hidden channels of its feed-forward networks.
        num_buckets: Rows of the table of relative positions.
        max_distance: Distance in tokens from which all share the last bucket.
        conv_size: Kernel size of the convolution for positions.
        conv_groups: Groups of this convolution.
        dropout: Dropout in the encoder while it is trained.
        examples_per_frame: Examples of a frame, see :class:`AudioBackbone`.
        stereo: Encode two channels, see there.
        init_cfg: Initialization config of MMEngine. A published file is loaded unchanged; its ``cfg`` has to agree with
            the arguments.

    Attributes:
        embed_dims: Channels C of a token.
    """

    def __init__(self,
                 frozen: bool = True,
                 patch_dims: int = 512,
                 embed_dims: int = 768,
                 num_layers: int = 12,
                 num_heads: int = 12,
                 ffn_dims: int = 3072,
                 num_buckets: int = 320,
                 max_distance: int = 800,
                 conv_size: int = 128,
                 conv_groups: int = 16,
                 dropout: float = 0.1,
                 examples_per_frame: int = 1,
                 stereo: bool = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(frozen, init_cfg, examples_per_frame, stereo)
        self.embed_dims = 2 * embed_dims if stereo else embed_dims
        self.architecture = dict(
            patch_dims=patch_dims, embed_dims=embed_dims, num_layers=num_layers, num_heads=num_heads,
            ffn_dims=ffn_dims, num_buckets=num_buckets, max_distance=max_distance, conv_size=conv_size,
            conv_groups=conv_groups)
        self.kaldi = KaldiFilterBank('povey')
        self.patch_embedding = nn.Conv2d(1, patch_dims, PATCH, stride=PATCH, bias=False)
        self.layer_norm = nn.LayerNorm(patch_dims)
        self.post_extract_proj = nn.Linear(patch_dims, embed_dims)
        self.encoder = Encoder(embed_dims, num_layers, num_heads, ffn_dims, num_buckets, max_distance, conv_size,
                               conv_groups, dropout)
        self.register_load_state_dict_pre_hook(_unpack_published)
        self.freeze()

    def init_weights(self) -> None:
        """Load the file of ``init_cfg``; a published file is converted, and its ``cfg`` must agree with the arguments.

        Raises:
            ValueError: They differ.
        """
        init_cfg = self.init_cfg if isinstance(self.init_cfg, dict) else {}
        if init_cfg.get('type') == 'Pretrained':
            # MMEngine would pass the weights alone, without the cfg.
            checkpoint = CheckpointLoader.load_checkpoint(init_cfg['checkpoint'], 'cpu')
            if 'cfg' in checkpoint:
                self.load_state_dict(dict(cfg=checkpoint['cfg'], model=checkpoint['state_dict']))
                self._is_init = True
                return
        super().init_weights()

    def encode(self, audio: Tensor, num_frames: int, num_samples: Tensor | None) -> Tensor:
        """Tokens (B, T, 48, C) of waveforms (B, L)."""
        waveform, num_samples = fit_waveforms(audio, num_frames, num_samples, 'BEATs')
        rows = self.filter_bank(waveform).view(-1, FRAMES_PER_EXAMPLE, NUM_MELS)
        recorded = None
        if num_samples is not None:
            begins = torch.arange(num_frames * FRAMES_PER_EXAMPLE // PATCH, device=rows.device) * PATCH * HOP
            recorded = begins < num_samples[:, None]  # (B, 6 T)
            bands = NUM_MELS // PATCH
            recorded = recorded.unsqueeze(2).expand(-1, -1, bands).reshape(-1, FRAMES_PER_EXAMPLE // PATCH * bands)
        return self.encode_filter_bank(rows, recorded).unflatten(0, (-1, num_frames))

    def filter_bank(self, waveform: Tensor) -> Tensor:
        """Normalized filter bank (B, rows, 128) of waveforms (B, L) in [-1, 1]."""
        return (self.kaldi(waveform * INT16) - MEAN) / (2 * STD)

    def encode_filter_bank(self, rows: Tensor, recorded: Tensor | None = None) -> Tensor:
        """Tokens of a filter bank of any length.

        Args:
            rows: (N, rows, 128); rows beyond a multiple of 16 are not used.
            recorded: (N, tokens) bool, False for patches after the end of the audio; None if all are recorded.

        Returns:
            (N, tokens, C), tokens = rows // 16 * 8, frequency fastest; zeros for patches that are not recorded.
        """
        patches = self.patch_embedding(rows.unsqueeze(1)).flatten(2).transpose(1, 2)
        return self.encoder(self.post_extract_proj(self.layer_norm(patches)), recorded)


class Encoder(nn.Module):
    """Post-norm transformer with DeepNorm: residuals are scaled by alpha = (2 * layers) ** (1/4)."""

    def __init__(self, embed_dims: int, num_layers: int, num_heads: int, ffn_dims: int, num_buckets: int,
                 max_distance: int, conv_size: int, conv_groups: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.max_distance = max_distance
        self.pos_conv = nn.Sequential(PositionConv(embed_dims, conv_size, conv_groups))
        self.layer_norm = nn.LayerNorm(embed_dims)
        alpha = (2 * num_layers)**0.25
        self.layers = nn.ModuleList(
            EncoderLayer(embed_dims, num_heads, ffn_dims, alpha, dropout) for _ in range(num_layers))
        # The authors keep the table that all layers share in the first one.
        self.layers[0].self_attn.relative_attention_bias = nn.Embedding(num_buckets, num_heads)

    def forward(self, x: Tensor, recorded: Tensor | None) -> Tensor:
        """Tokens (N, L, C); those that are not ``recorded`` (N, L) do not influence the others and come out as 0."""
        attend = None
        if recorded is not None:
            x = x * recorded.unsqueeze(2)
            # If no token is recorded all are attended, otherwise the softmax would be NaN.
            attend = (recorded | ~recorded.any(1, keepdim=True))[:, None, None]  # (N, 1, 1, L)

        # Positions by convolution
        x = self.layer_norm(x + self.pos_conv(x))
        x = F.dropout(x, self.dropout, self.training)
        # Relative positions, the same for all layers
        table = self.layers[0].self_attn.relative_attention_bias
        buckets = relative_position_buckets(x.shape[1], table.num_embeddings, self.max_distance, x.device)
        position_bias = table(buckets).permute(2, 0, 1)
        for layer in self.layers:
            x = layer(x, position_bias, attend)
        return x if recorded is None else x * recorded.unsqueeze(2)


class PositionConv(nn.Module):
    """Grouped convolution over time, then GELU. Weight: ``g * v / |v|``, normalized for each step of the kernel."""

    def __init__(self, embed_dims: int, size: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.bias = nn.Parameter(torch.zeros(embed_dims))
        self.weight_v = nn.Parameter(torch.empty(embed_dims, embed_dims // groups, size))
        nn.init.normal_(self.weight_v, std=(size * embed_dims / 4)**-0.5)
        self.weight_g = nn.Parameter(self.weight_v.detach().norm(dim=(0, 1), keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight_v * (self.weight_g / self.weight_v.norm(dim=(0, 1), keepdim=True))
        y = F.conv1d(x.transpose(1, 2), weight, self.bias, padding=weight.shape[2] // 2, groups=self.groups)
        return F.gelu(y[..., :x.shape[1]]).transpose(1, 2)  # a kernel of even size gives one step too many


class EncoderLayer(nn.Module):
    """Attention, then feed-forward network, ``x = LN(alpha x + f(x))`` each."""

    def __init__(self, embed_dims: int, num_heads: int, ffn_dims: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.dropout = dropout
        self.self_attn = GatedAttention(embed_dims, num_heads, dropout)
        self.self_attn_layer_norm = nn.LayerNorm(embed_dims)
        self.fc1 = nn.Linear(embed_dims, ffn_dims)
        self.fc2 = nn.Linear(ffn_dims, embed_dims)
        self.final_layer_norm = nn.LayerNorm(embed_dims)

    def forward(self, x: Tensor, position_bias: Tensor, attend: Tensor | None) -> Tensor:
        y = F.dropout(self.self_attn(x, position_bias, attend), self.dropout, self.training)
        x = self.self_attn_layer_norm(self.alpha * x + y)
        y = F.dropout(self.fc2(F.gelu(self.fc1(x))), self.dropout, self.training)
        return self.final_layer_norm(self.alpha * x + y)


class GatedAttention(nn.Module):
    """Self-attention whose relative position bias is gated by the query: ``softmax(q k / sqrt(d) + gate(q) * bias) v``.

    ``gate = g_a (g_b a - 1) + 2`` with ``g_a, g_b`` in (0, 1) from the query and a learned ``a`` for each head.
    """

    def __init__(self, embed_dims: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.q_proj = nn.Linear(embed_dims, embed_dims)
        self.k_proj = nn.Linear(embed_dims, embed_dims)
        self.v_proj = nn.Linear(embed_dims, embed_dims)
        self.out_proj = nn.Linear(embed_dims, embed_dims)
        self.grep_linear = nn.Linear(embed_dims // num_heads, 8)
        self.grep_a = nn.Parameter(torch.ones(1, num_heads, 1, 1))

    def forward(self, x: Tensor, position_bias: Tensor, attend: Tensor | None) -> Tensor:
        """Attention output (N, L, C).

        Args:
            x: (N, L, C).
            position_bias: (heads, L, L).
            attend: Bool (N, 1, 1, L), True for keys that may be attended; None for all.
        """
        q, k, v = (
            proj(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj))
        bias = (self._gate(q) * position_bias).to(q.dtype)
        if attend is not None:
            bias = bias.masked_fill(~attend, -torch.inf)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=self.dropout if self.training else 0.)
        return self.out_proj(y.transpose(1, 2).flatten(2))

    def _gate(self, q: Tensor) -> Tensor:
        """Gate (N, heads, L, 1) from queries (N, heads, L, d) that are not scaled yet."""
        a, b = self.grep_linear(q).unflatten(3, (2, 4)).sum(4).sigmoid().split(1, 3)
        return a * (b * self.grep_a - 1) + 2


def relative_position_buckets(length: int, num_buckets: int, max_distance: int,
                              device: torch.device | None = None) -> Tensor:
    """Bucket of each pair of tokens, int64 (length, length), by the distance d = key - query (T5).

    Keys after the query use the upper half of the buckets. Within a half of n buckets, the first n / 2 hold one
    distance each, the others ranges that widen logarithmically up to ``max_distance``; the last holds all beyond.
    """
    positions = torch.arange(length, device=device)
    distance = positions - positions[:, None]
    half = num_buckets // 2
    exact = half // 2
    magnitude = distance.abs()
    widening = (magnitude.clamp(min=exact) / exact).log() / math.log(max_distance / exact) * (half - exact)
    bucket = torch.where(magnitude < exact, magnitude, (exact + widening.long()).clamp(max=half - 1))
    return torch.where(distance > 0, bucket + half, bucket)


def _unpack_published(module: BEATs, state_dict: dict, *args: object) -> None:
    """Convert a published file, ``dict(cfg=..., model=...)``, while it is loaded.

    Raises:
        ValueError: Its ``cfg`` and the arguments of the backbone differ.
    """
    if 'cfg' not in state_dict or 'model' not in state_dict:
        return
    name = (module.init_cfg or {}).get('checkpoint', 'BEATs')
    for argument, value in beats_arguments(state_dict.pop('cfg'), name).items():
        if module.architecture[argument] != value:
            raise ValueError(f'{name}: its cfg says {argument}={value}, the config says '
                             f'{argument}={module.architecture[argument]}: set audio_backbone.{argument}={value}')
    state_dict.pop('label_dict', None)
    state_dict.update(convert_beats(state_dict.pop('model')).state_dict)
