"""AVSegFormer (AAAI 2024): transformer with audio queries; dense masks are predicted from query-pixel similarity.

Symbols of the paper, as used below: a the audio tokens, S the tokens of all visual levels, Q queries, F the mask
feature, F~ the mask feature mixed with the audio, E the similarity of queries and pixels, K classes.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmavs.models.layers import (
    MLP,
    DeformableEncoderLayer,
    MultiheadAttention,
    encode_pyramid,
    run_checkpointed,
    split_levels,
)
from mmavs.registry import MODELS
from mmavs.structures import FrameTargets, select_frames
from mmavs.utils.exporting import is_exporting, is_recording
from mmavs.utils.precision import at_least_float32, disable_autocast_in_training, in_float32

# Bound on the values of a hidden map of the mask perceptron in inference (256 MiB, two frames at 512x512).
MAX_HIDDEN_PER_CHUNK = 2**26


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention, feed-forward network with GELU; each with residual and LayerNorm.

    There are no positional encodings, neither of queries nor of keys.
    """

    def __init__(self, embed_dims: int, num_heads: int, ffn_dims: int, dropout: float = 0., bias: bool = True) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(embed_dims, num_heads, dropout, bias)
        self.norm1 = nn.LayerNorm(embed_dims)
        self.cross_attn = MultiheadAttention(embed_dims, num_heads, dropout, bias)
        self.norm2 = nn.LayerNorm(embed_dims)
        self.linear1 = nn.Linear(embed_dims, ffn_dims)
        self.linear2 = nn.Linear(ffn_dims, embed_dims)
        self.norm3 = nn.LayerNorm(embed_dims)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor, with_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """Queries (N, Q, C) from queries x and memory (N, L, C), and the cross-attention (N, Q, L) if requested."""
        x = self.norm1(x + self.dropout(self.self_attn(x, x, x)))
        weights = None
        if with_weights:
            attended, weights = self.cross_attn.with_weights(x, memory, memory)
        else:
            attended = self.cross_attn(x, memory, memory)
        x = self.norm2(x + self.dropout(attended))
        hidden = self.dropout(F.gelu(self.linear1(x)))
        return self.norm3(x + self.dropout(self.linear2(hidden))), weights


class QueryGenerator(nn.Module):
    """Generate the queries of a frame: learned vectors that attend to its audio tokens."""

    def __init__(self, embed_dims: int, num_queries: int, num_heads: int, num_layers: int, ffn_dims: int,
                 with_cp: bool) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.query = nn.Embedding(num_queries, embed_dims)
        self.layers = nn.ModuleList(
            DecoderLayer(embed_dims, num_heads, ffn_dims, bias=False) for _ in range(num_layers))

    def forward(self, audio: Tensor) -> Tensor:
        """Queries (N, Q, C) from audio tokens (N, tokens, C)."""
        x = self.query.weight.unsqueeze(0)
        if not is_exporting():
            x = x.expand(len(audio), -1, -1)
        for layer in self.layers:
            x, _ = run_checkpointed(self.with_cp, layer, x, audio)
        return x


class ChannelAttentionMixer(nn.Module):
    """Weight the channels of the mask feature by audio-to-pixel attention (CHA), as released: ``F~ = F * w``.

    The audio attends to all pixels; a projection and a sigmoid turn the result into a weight w for each channel.

    Args:
        embed_dims: Channels C.
        num_heads: Heads of the attention.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(embed_dims, embed_dims, bias=False)
        self.kv_proj = nn.Linear(embed_dims, 2 * embed_dims, bias=False)
        self.proj = nn.Linear(embed_dims, embed_dims)

    def forward(self, mask_feature: Tensor, audio: Tensor) -> Tensor:
        """F~ (N, C, h, w) from F (N, C, h, w) and the mean of the audio tokens (N, tokens, C)."""
        pixels = mask_feature.flatten(2)  # (N, C, h * w)
        key, value = (w.unflatten(0, (self.num_heads, -1)) for w in self.kv_proj.weight.chunk(2))  # (heads, d, C)
        query = self.q_proj(audio.mean(1)).unflatten(1, (self.num_heads, -1))  # (N, heads, d)
        # The projections act on the query and its context, which is cheaper than projecting all pixels.
        query = torch.einsum('nhd,hdc->nhc', query, key) * key.shape[1]**-0.5
        context = (query @ pixels).softmax(2) @ pixels.transpose(1, 2)  # (N, heads, C)
        context = torch.einsum('nhc,hdc->nhd', context, value).flatten(1)  # (N, C)
        return mask_feature * self.proj(context).sigmoid()[:, :, None, None]


class ChannelAttentionEquation(nn.Module):
    """Channel attention by the paper's equation, ``w = softmax(a F^T / sqrt(C / heads)) F``, ``F~ = F + F * w``.

    It has no parameters: audio and pixels are not projected, and w is not limited to (0, 1) by a sigmoid.

    Args:
        num_heads: Heads, each with its part of the channels.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads

    def forward(self, mask_feature: Tensor, audio: Tensor) -> Tensor:
        """F~ (N, C, h, w) from F (N, C, h, w) and the mean of the audio tokens (N, tokens, C)."""
        query, pixels = (x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
                         for x in (audio.mean(1, keepdim=True), mask_feature.flatten(2).transpose(1, 2)))
        weight = F.scaled_dot_product_attention(query, pixels, pixels).flatten(1)  # (N, heads, 1, d) -> (N, C)
        return mask_feature * (1 + weight[:, :, None, None])


class CrossAttentionMixer(nn.Module):
    """Add the audio to every pixel of the mask feature by cross-attention, ``F~ = F + attention(F, a, a)`` (CRA).

    There is no public code for it. With a single audio token, all pixels get the same update.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.attn = MultiheadAttention(embed_dims, num_heads)

    def forward(self, mask_feature: Tensor, audio: Tensor) -> Tensor:
        """F~ (N, C, h, w) from F (N, C, h, w) and audio tokens (N, tokens, C)."""
        context = self.attn(mask_feature.flatten(2).transpose(1, 2), audio, audio)  # (N, h * w, C)
        return mask_feature + context.transpose(1, 2).unflatten(2, mask_feature.shape[2:])


class MaskHead(nn.Sequential):
    """Predict scores (N, K, 4 h, 4 w) from a map (N, C, h, w)."""

    def __init__(self, embed_dims: int, num_classes: int) -> None:
        super().__init__(
            nn.Conv2d(embed_dims, 128, 3, padding=1),
            nn.Upsample(scale_factor=4, mode='bilinear'),
            nn.Conv2d(128, 32, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, num_classes, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        *hidden, classifier = self
        for layer in hidden:
            x = layer(x)
        # Scores in float32 also under autocast: half precision would make classes equal.
        return in_float32(classifier, x)


class IntermediateMaskHead(nn.Module):
    """Predict masks from the cross-attention of a decoder layer, for training only (first public version).

    The cross-attention M of a layer, averaged over its heads, is mapped back to the positions of the visual levels:
    mixed with the queries q of the layer, ``sum_q M q`` (QR, the released code), or alone, with the Q values at a
    position projected to C channels (AR, for which there is no public code). The levels are added up from coarse to
    fine, and a mask head predicts the mask.
    """

    def __init__(self, embed_dims: int, num_classes: int, num_levels: int, num_queries: int, mix_queries: bool) -> None:
        super().__init__()
        self.attention_proj = None if mix_queries else nn.Linear(num_queries, embed_dims)
        self.convs = nn.ModuleList(nn.Conv2d(embed_dims, embed_dims, 3, padding=1) for _ in range(num_levels))
        self.mask_head = MaskHead(embed_dims, num_classes)

    def forward(self, queries: Tensor, weights: Tensor, shapes: list[tuple[int, int]],
                mask_size: tuple[int, int]) -> Tensor:
        """Scores (N, K, 4 h, 4 w) of one decoder layer.

        Args:
            queries: Its output (N, Q, C).
            weights: Its cross-attention (N, Q, S).
            shapes: Sizes of the levels, finest first.
            mask_size: (h, w) of the mask feature.
        """
        weights = weights.transpose(1, 2)  # (N, S, Q)
        tokens = weights @ queries if self.attention_proj is None else self.attention_proj(weights)  # (N, S, C)
        *finer, x = split_levels(tokens, shapes)
        for conv, level in zip(self.convs, reversed(finer)):
            x = conv(F.interpolate(x, level.shape[2:], mode='bilinear', align_corners=False)) + level
        return self.mask_head(self.convs[-1](F.interpolate(x, mask_size, mode='bilinear', align_corners=False)))


@MODELS.register_module()
class AVSegFormerHead(BaseModule):
    """Head of AVSegFormer; every frame is segmented independently, with its own audio.

    Defaults are those of the released code (AAAI version), which has a ``mix_loss``. The first public version has
    ``num_query_layers=0``, ``intermediate_masks='query'`` and an ``intermediate_loss``.

    Frames without ground truth and pixels of 255 do not contribute to the losses.

    Args:
        num_classes: K; 1 for the foreground's logit, else classes with background.
        in_channels: Channels of the visual pyramid at strides 4, 8, 16, 32. The decoder attends to all except
            the first.
        mask_loss: Config of the loss of the masks, such as :class:`MaskLoss`.
        audio_channels: Channels of an audio token.
        embed_dims: Channels C. A multiple of 32 (groups of GroupNorm).
        num_queries: Queries Q.
        num_heads: Heads of all attentions.
        num_points: Points that a head of the encoder samples from each level.
        num_encoder_layers: Layers of the deformable encoder.
        num_query_layers: Layers of the query generator; with 0 the mean audio token, repeated, takes its place.
        num_decoder_layers: Layers of the decoder.
        ffn_dims: Hidden channels of encoder and decoder.
        query_ffn_dims: Hidden channels of the query generator.
        mask_dims: Hidden channels of the perceptron that acts on the similarity of queries and pixels. In training its
            two hidden maps are the largest of the network: 134 MB each for a frame at 512x512.
        dropout: Dropout of encoder and decoder.
        learnable_queries: Whether to add learned queries to the audio queries.
        mixer: How to mix the audio into the mask feature: ``'channel'`` (CHA as released), ``'channel-equation'`` (CHA
            by the paper's equation), ``'cross'`` (CRA of the paper) or None.
        mix_loss: Config of the loss of F~, such as :class:`MixLoss`, or None; gets ``mask_loss`` from the head.
        intermediate_masks: Masks of every decoder layer to train on: ``'query'`` (QR), ``'attention'`` (AR) or None.
        intermediate_loss: Config of the loss of these masks, such as :class:`IntermediateMaskLoss`, or None without
            them; gets ``mask_loss`` from the head.
        init_cfg: Initialization config of MMEngine. The constructor initializes as the released code does.
        with_cp: Gradient checkpointing of each layer of encoder, query generator and decoder, and of the mask heads.
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: Sequence[int],
                 mask_loss: dict,
                 audio_channels: int = 128,
                 embed_dims: int = 256,
                 num_queries: int = 300,
                 num_heads: int = 8,
                 num_points: int = 4,
                 num_encoder_layers: int = 6,
                 num_query_layers: int = 6,
                 num_decoder_layers: int = 6,
                 ffn_dims: int = 2048,
                 query_ffn_dims: int = 1024,
                 mask_dims: int = 2048,
                 dropout: float = 0.1,
                 learnable_queries: bool = True,
                 mixer: str | None = 'channel',
                 mix_loss: dict | None = None,
                 intermediate_masks: str | None = None,
                 intermediate_loss: dict | None = None,
                 init_cfg: dict | None = None,
                 with_cp: bool = False) -> None:
        super().__init__(init_cfg)
        self.with_cp = with_cp
        mixers = {
            'channel': lambda: ChannelAttentionMixer(embed_dims, num_heads),
            'channel-equation': lambda: ChannelAttentionEquation(num_heads),
            'cross': lambda: CrossAttentionMixer(embed_dims, num_heads),
            None: lambda: None,
        }
        if mixer not in mixers:
            raise ValueError(f"AVSegFormerHead: mixer is {mixer!r}, expected 'channel', 'channel-equation', 'cross' or "
                             'None')
        if intermediate_masks not in ('query', 'attention', None):
            raise ValueError(f"AVSegFormerHead: intermediate_masks is {intermediate_masks!r}, expected 'query', "
                             "'attention' or None")
        if (intermediate_masks is None) != (intermediate_loss is None):
            raise ValueError(f'AVSegFormerHead: intermediate_masks is {intermediate_masks!r} and intermediate_loss is '
                             f'{intermediate_loss!r}, expected both or neither: the masks serve the loss alone')
        num_levels = len(in_channels) - 1
        self.num_classes = num_classes
        self.mask_dims = mask_dims

        # Visual tokens
        self.in_proj = nn.ModuleList(_projection(channels, embed_dims) for channels in in_channels)
        self.level_embed = nn.Parameter(torch.empty(num_levels, embed_dims))
        self.encoder = nn.ModuleList(
            DeformableEncoderLayer(embed_dims, num_heads, num_levels, num_points, ffn_dims, dropout, F.gelu)
            for _ in range(num_encoder_layers))
        # Queries
        self.audio_proj = nn.Linear(audio_channels, embed_dims)
        self.num_queries = num_queries
        self.query_generator = None
        if num_query_layers > 0:
            self.query_generator = QueryGenerator(embed_dims, num_queries, num_heads, num_query_layers, query_ffn_dims,
                                                  with_cp)
        self.learnable_query = nn.Embedding(num_queries, embed_dims) if learnable_queries else None
        self.decoder = nn.ModuleList(
            DecoderLayer(embed_dims, num_heads, ffn_dims, dropout) for _ in range(num_decoder_layers))
        # Masks
        self.lateral_conv = _projection(embed_dims, embed_dims)
        self.out_conv = nn.Sequential(
            nn.Conv2d(embed_dims, embed_dims, 3, padding=1), nn.GroupNorm(32, embed_dims), nn.ReLU(inplace=True))
        self.mixer = mixers[mixer]()
        self.mask_mlp = MLP(num_queries, mask_dims, mask_dims, embed_dims)
        self.mask_head = MaskHead(embed_dims, num_classes)
        self.intermediate_head = None
        if intermediate_masks is not None:
            self.intermediate_head = IntermediateMaskHead(embed_dims, num_classes, num_levels, num_queries,
                                                          mix_queries=intermediate_masks == 'query')
        self._init_as_published()
        # Losses
        self.mask_loss = MODELS.build(mask_loss)
        self.mix_loss, self.intermediate_loss = (
            MODELS.build(loss, default_args=dict(mask_loss=mask_loss)) if loss else None
            for loss in (mix_loss, intermediate_loss))

    def _init_as_published(self) -> None:
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        for layer in self.encoder:
            layer.self_attn.reset_parameters()
        nn.init.normal_(self.level_embed)
        self.audio_proj.reset_parameters()

    def forward(self, features: Sequence[Tensor], audio: Tensor, valid: Tensor | None) -> dict[str, Tensor]:
        """Raw outputs for N frames.

        Args:
            features: Visual pyramid, (N, C_l, h_l, w_l) at strides 4, 8, 16, 32.
            audio: Audio tokens (N, tokens, C_a).
            valid: (B, T) bool, which frames exist, or None; not used, because frames are independent.

        Returns:
            dict with

            - ``logits`` (N, K, H, W);
            - ``queries`` (N, Q, C), after the decoder;
            - ``encoded`` (N, S, C), the visual tokens of strides 8, 16, 32, one level after the other;
            - ``mask_feature`` (N, C, H / 4, W / 4), F before the mixer, and ``mixed_feature``, F~.
        """
        return self._segment(features, audio)

    def loss(self, features: Sequence[Tensor], audio: Tensor, valid: Tensor,
             targets: FrameTargets) -> dict[str, Tensor]:
        """Weighted loss terms of the labelled frames.

        ``loss_mask``; with a mix loss ``loss_mix``; with intermediate masks ``d0.loss_mask``, ``d1.loss_mask``, ...
        """
        # Frames are independent, so compute only the labelled ones.
        frames = targets.labelled_or_first()
        targets = targets.select(frames)
        frames = frames.to(audio.device, non_blocking=True)
        outputs = self._segment([select_frames(x, frames) for x in features], select_frames(audio, frames),
                                with_intermediate=self.intermediate_head is not None)

        labels = targets.masks, targets.labelled
        losses = dict(loss_mask=self.mask_loss(outputs['logits'], *labels))
        if self.mix_loss is not None:
            losses['loss_mix'] = self.mix_loss(outputs['mixed_feature'], *labels)
        if self.intermediate_loss is not None:
            of_layers = self.intermediate_loss(outputs['intermediate_logits'], *labels)
            losses.update({f'd{i}.loss_mask': loss for i, loss in enumerate(of_layers)})
        return losses

    @torch.no_grad()
    def predict(self, features: Sequence[Tensor], audio: Tensor, valid: Tensor | None,
                input_shape: tuple[int, int]) -> Tensor:
        """Logits (N, K, h, w), float32, at the size ``input_shape`` of the network input; 0 for padding frames."""
        if is_recording():
            logits = _resize(self._segment(features, audio)['logits'], input_shape)
            return logits if valid is None else logits * valid.to(logits).view(-1, 1, 1, 1)
        frames = torch.arange(len(audio)) if valid is None else valid.flatten().nonzero().squeeze(1)
        height, width = features[0].shape[2:]
        chunk_size = max(1, MAX_HIDDEN_PER_CHUNK // (height * width * self.mask_dims))
        logits = audio.new_zeros(len(audio), self.num_classes, *input_shape, dtype=torch.float32)
        for chunk in frames.to(audio.device).split(chunk_size):
            outputs = self._segment([x[chunk] for x in features], audio[chunk])
            logits[chunk] = _resize(outputs['logits'], input_shape)
        return logits

    def _segment(self, features: Sequence[Tensor], audio: Tensor,
                 with_intermediate: bool = False) -> dict[str, Tensor | list[Tensor]]:
        # Visual tokens (N, S, C); training under autocast computes them in float32
        with disable_autocast_in_training(self, audio):
            finest, *maps = (project(at_least_float32(x)) for project, x in zip(self.in_proj, features))
            shapes = [tuple(map(int, x.shape[2:])) for x in maps]
            tokens = encode_pyramid(self.encoder, maps, self.level_embed, normalize_positions=False,
                                    with_cp=self.with_cp)

        # Audio queries (N, Q, C)
        audio = self.audio_proj(audio)  # (N, tokens, C)
        if self.query_generator is not None:
            queries = self.query_generator(audio)
        else:
            queries = audio.mean(1, keepdim=True).expand(-1, self.num_queries, -1)
        if self.learnable_query is not None:
            queries = queries + self.learnable_query.weight

        # Decoder: the queries attend to the visual tokens
        intermediate = []
        for layer in self.decoder:
            queries, weights = run_checkpointed(self.with_cp, layer, queries, tokens, with_intermediate)
            if with_intermediate:
                intermediate.append(run_checkpointed(self.with_cp, self.intermediate_head, queries, weights, shapes,
                                                     finest.shape[2:]))

        # Mask feature F (N, C, H / 4, W / 4), and F~, mixed with the audio
        finest_encoded = split_levels(tokens, shapes)[0]
        upsampled = F.interpolate(finest_encoded, finest.shape[2:], mode='bilinear', align_corners=False)
        mask_feature = self.out_conv(self.lateral_conv(finest) + upsampled)
        mixed = mask_feature if self.mixer is None else self.mixer(mask_feature, audio)

        outputs = dict(
            logits=self._logits(mixed + self._similarity(queries, mixed)),
            queries=queries,
            encoded=tokens,
            mask_feature=mask_feature,
            mixed_feature=mixed)
        if with_intermediate:
            outputs['intermediate_logits'] = intermediate
        return outputs

    def _logits(self, x: Tensor) -> Tensor:
        """Logits (N, K, 4 h, 4 w) of the map x (N, C, h, w)."""
        if not self.with_cp or not torch.is_grad_enabled():
            return self.mask_head(x)
        # A frame at a time, so that the backward pass holds the hidden maps of one frame and not of all.
        return torch.cat([run_checkpointed(True, self.mask_head, frame) for frame in x.split(1)])

    def _similarity(self, queries: Tensor, mixed: Tensor) -> Tensor:
        """Perceptron over the similarities E = Q F~ of all queries to a pixel: (N, C, h, w)."""
        first, *others = self.mask_mlp.layers
        # W (Q F~) = (W Q) F~ is cheaper, and E itself is never stored.
        weights = (first.weight @ queries).transpose(1, 2)  # (N, C, mask_dims)
        x = torch.baddbmm(first.bias, mixed.flatten(2).transpose(1, 2), weights)  # (N, h * w, mask_dims)
        for layer in others:
            x = layer(x.relu_())
        return x.transpose(1, 2).unflatten(2, mixed.shape[2:])


def _projection(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.GroupNorm(32, out_channels))


def _resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(logits.shape[2:]) == tuple(size):
        return logits
    return F.interpolate(logits, tuple(size), mode='bilinear', align_corners=False)
