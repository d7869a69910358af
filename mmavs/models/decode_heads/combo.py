"""COMBO (CVPR 2024): pixel features and audio fused both ways, queries from the audio, and frames that agree.

*Cooperation Does Matter: Exploring Multi-Order Bilateral Relations for Audio-Visual Segmentation* has three bilateral
relations: of pixels (frames and mask priors, :class:`~mmavs.models.backbones.MaskPriorBranch`), of modalities
(:class:`BilateralFusion`) and of time (:class:`~mmavs.models.losses.TemporalConsistencyLoss`). Symbols: M the mask
features, a the audio token of a frame, v and α their normalized values, K classes with background.
"""
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.functional import dropout

from mmavs.models.layers import (
    MLP,
    AudioQueryGenerator,
    MaskedAttentionDecoder,
    class_scores,
    sine_positional_encoding,
)
from mmavs.registry import MODELS
from mmavs.structures import FrameTargets, QueryPrediction

# The released code clamps the attention logits to this range before its softmax.
MAX_LOGIT = 50000.


class BilateralFusion(nn.Module):
    """Let the pixels of a frame attend to its audio and its audio to the pixels, from one attention map.

    With v = LN(M), α = LN(a) and positional encodings p_v and p_a, every head has logits L = (W_v (v + p_v)) (W_a (α +
    p_a))^T / sqrt(d) and weights A = softmax(L) *over the pixels* in both directions: over a single audio token, a
    softmax would be 1. The outputs are v + γ_v W_out (A W (α)) and α + γ_a W_out (A^T W (v)). They start from the
    normalized values, as in the released code.

    Args:
        embed_dims: Channels C of the mask features; width of the attention.
        audio_channels: Channels C_a of the audio tokens.
        num_heads: Heads; divides ``embed_dims``.
        dropout: Probability of dropping an attention weight in training, in each direction.
    """

    def __init__(self, embed_dims: int, audio_channels: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.level_embed = nn.Embedding(1, embed_dims)
        self.audio_pos = nn.Embedding(1, audio_channels)
        self.visual_norm = nn.LayerNorm(embed_dims)
        self.audio_norm = nn.LayerNorm(audio_channels)
        self.visual_query = nn.Linear(embed_dims, embed_dims)
        self.audio_key = nn.Linear(audio_channels, embed_dims)
        self.visual_value = nn.Linear(embed_dims, embed_dims)
        self.audio_value = nn.Linear(audio_channels, embed_dims)
        self.visual_out = nn.Linear(embed_dims, embed_dims)
        self.audio_out = nn.Linear(embed_dims, audio_channels)
        self.visual_scale = nn.Parameter(torch.full((embed_dims, ), 1e-4))
        self.audio_scale = nn.Parameter(torch.full((audio_channels, ), 1e-4))
        for layer in self.children():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, mask_features: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Fused mask features (N, C, h, w) and audio tokens (N, tokens, C_a), from those before."""
        height, width = map(int, mask_features.shape[-2:])
        visual = self.visual_norm(mask_features.flatten(2).transpose(1, 2) + self.level_embed.weight)  # v (N, h * w, C)
        audio = self.audio_norm(audio)  # α
        attention = self._attention(visual, audio, (height, width))  # A (N, heads * tokens, h * w)
        visual_update = self._audio_to_pixels(self._drop(attention), audio)
        audio_update = self._pixels_to_audio(self._drop(attention), visual)
        visual = visual + self.visual_scale * visual_update
        return visual.transpose(1, 2).unflatten(2, (height, width)), audio + self.audio_scale * audio_update

    def _attention(self, visual: Tensor, audio: Tensor, size: tuple[int, int]) -> Tensor:
        positions = sine_positional_encoding(*size, visual.shape[2], device=visual.device)
        keys = self._split_heads(self.audio_key(audio + self.audio_pos.weight))  # (N, heads, tokens, d)
        keys = keys * keys.shape[3]**-0.5
        # W_v acts on the few keys, which is cheaper than on all pixels; so do the projections below.
        weight, bias = self._split_output(self.visual_query)
        logits = (keys @ weight).flatten(1, 2) @ (visual + positions).transpose(1, 2)
        logits = logits + (keys @ bias.unsqueeze(2)).flatten(1, 2)
        return logits.clamp(-MAX_LOGIT, MAX_LOGIT).softmax(2)

    def _audio_to_pixels(self, attention: Tensor, audio: Tensor) -> Tensor:
        """W_out (A W (α)), (N, h * w, C)."""
        values = self._split_heads(self.audio_value(audio))  # (N, heads, tokens, d)
        weight = self.visual_out.weight.unflatten(1, (self.num_heads, -1)).permute(1, 2, 0)  # (heads, d, C)
        return attention.transpose(1, 2) @ (values @ weight).flatten(1, 2) + self.visual_out.bias

    def _pixels_to_audio(self, attention: Tensor, visual: Tensor) -> Tensor:
        """W_out (A^T W (v)), (N, tokens, C_a)."""
        attention = attention.unflatten(1, (self.num_heads, -1))  # (N, heads, tokens, h * w)
        weight, bias = self._split_output(self.visual_value)
        means = attention @ visual.unsqueeze(1)  # (N, heads, tokens, C)
        # With dropout the weights do not sum to 1.
        values = means @ weight.transpose(1, 2) + attention.sum(3, keepdim=True) * bias.unsqueeze(1)
        return self.audio_out(values.transpose(1, 2).flatten(2))

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def _split_output(self, layer: nn.Linear) -> tuple[Tensor, Tensor]:
        """Weight (heads, d, C) and bias (heads, d) of a projection to all heads."""
        return layer.weight.unflatten(0, (self.num_heads, -1)), layer.bias.unflatten(0, (self.num_heads, -1))

    def _drop(self, attention: Tensor) -> Tensor:
        return dropout(attention, self.dropout, self.training)


@MODELS.register_module()
class COMBOHead(BaseModule):
    """Head of COMBO: a deformable pixel decoder, bilateral fusion, audio queries and a masked-attention decoder.

    Only the mask features are fused with the audio, not the maps that the decoder attends to. The audio after the
    fusion is projected and added to the learned queries. Frames are predicted independently (except with
    ``query_layout='released'``); a consistency loss compares the masks of adjacent frames in training. Any input size.

    Defaults are those of the released code, except for ``query_layout``.

    Args:
        num_classes: K, background included.
        audio_channels: Channels of an audio token.
        pixel_decoder: Config of the pixel decoder; its ``embed_dims`` is the C of the whole head.
        criterion: Config of the loss on class and mask logits of all layers; gets ``num_classes`` from the head.
        consistency_loss: Config of the loss on the masks of adjacent frames, or None. It is applied to the predictions
            of all layers but the last and needs ``model.independent_frames=False``.
        query_layout: Whose audio a query gets: ``'frame'``, that of its own frame, or ``'released'``, that of one frame
            of the clip, by the number of the query. The released checkpoints need the second, which is the result of a
            reshape in their code (see :class:`~mmavs.models.layers.AudioQueryGenerator`).
        audio_hidden_dims: Hidden channels of the audio perceptron.
        num_queries: Queries Q.
        num_heads: Heads of the fusion and of the decoder's attentions.
        num_layers: Decoder layers.
        ffn_dims: Hidden channels of the decoder's feed-forward networks.
        fusion_dropout: Probability of dropping an attention weight of the fusion in training.
        init_cfg: Initialization config of MMEngine. The constructor initializes as the released code does.
        with_cp: Gradient checkpointing of each decoder layer. The pixel decoder has this option itself.
    """

    def __init__(self,
                 num_classes: int,
                 audio_channels: int,
                 pixel_decoder: dict,
                 criterion: dict,
                 consistency_loss: dict | None = None,
                 query_layout: str = 'frame',
                 audio_hidden_dims: int = 4096,
                 num_queries: int = 100,
                 num_heads: int = 8,
                 num_layers: int = 9,
                 ffn_dims: int = 2048,
                 fusion_dropout: float = 0.1,
                 init_cfg: dict | None = None,
                 with_cp: bool = False) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.pixel_decoder = MODELS.build(pixel_decoder)
        embed_dims = self.pixel_decoder.embed_dims
        self.fusion = BilateralFusion(embed_dims, audio_channels, num_heads, fusion_dropout)
        self.audio_mlp = MLP(audio_channels, audio_hidden_dims, audio_hidden_dims, embed_dims)
        self.query_generator = AudioQueryGenerator(num_queries, query_layout)
        self.decoder = MaskedAttentionDecoder(num_classes, embed_dims, num_queries, num_heads, num_layers,
                                              self.pixel_decoder.num_levels, ffn_dims, with_cp)
        self.criterion = MODELS.build(criterion, default_args=dict(num_classes=num_classes))
        self.consistency_loss = MODELS.build(consistency_loss) if consistency_loss else None

    def forward(self, features: Sequence[Tensor], audio: Tensor, valid: Tensor | None) -> dict[str, Tensor | list]:
        """Raw outputs for N frames.

        Args:
            features: Visual pyramid, (N, C_l, h_l, w_l) at strides 4, 8, 16, 32, mask priors included.
            audio: Audio tokens (N, tokens, C_a).
            valid: (B, T) bool, which frames exist; None if all N exist and are one clip. Only
                ``query_layout='released'`` reads it.

        Returns:
            dict with

            - ``class_logits`` (N, Q, K + 1), the last class is "no object";
            - ``mask_logits`` (N, Q, H / 4, W / 4);
            - ``mask_features`` (N, C, H / 4, W / 4) before the fusion and ``fused_features`` after it;
            - ``fused_audio`` (N, tokens, C_a);
            - ``audio_tokens`` (N, tokens, C), projected for the queries;
            - in training mode ``aux``, the (class logits, mask logits) before and after all layers but the last.
        """
        outputs, predictions = self._segment(features, audio, valid)
        if self.training:
            outputs['aux'] = [(x.class_logits, x.mask_logits) for x in predictions[:-1]]
        return outputs

    def _segment(self, features: Sequence[Tensor], audio: Tensor,
                 valid: Tensor | None) -> tuple[dict[str, Tensor], list[QueryPrediction]]:
        """Outputs of :meth:`forward`, and the predictions of the decoder."""
        # Pixel features
        mask_features, maps = self.pixel_decoder(features)
        # Bilateral fusion
        fused_features, fused_audio = self.fusion(mask_features, audio)
        # Audio queries
        audio_tokens = self.audio_mlp(fused_audio)
        queries = self.query_generator(audio_tokens, valid)
        # Transformer decoder
        predictions = self.decoder(queries, maps, fused_features)
        outputs = dict(
            class_logits=predictions[-1].class_logits,
            mask_logits=predictions[-1].mask_logits,
            mask_features=mask_features,
            fused_features=fused_features,
            fused_audio=fused_audio,
            audio_tokens=audio_tokens)
        return outputs, predictions

    def loss(self, features: Sequence[Tensor], audio: Tensor, valid: Tensor,
             targets: FrameTargets) -> dict[str, Tensor]:
        """Loss terms of the criterion, of the labelled frames, and ``d{i}.loss_consistency``, of all frames."""
        _, predictions = self._segment(features, audio, valid)
        losses = self.criterion(predictions, targets)
        if self.consistency_loss is not None:
            terms = self.consistency_loss([x.mask_logits for x in predictions[:-1]], valid)
            losses.update({f'd{i}.loss_consistency': term for i, term in enumerate(terms)})
        return losses

    @torch.no_grad()
    def predict(self, features: Sequence[Tensor], audio: Tensor, valid: Tensor | None,
                input_shape: tuple[int, int]) -> Tensor:
        """Class scores (N, K, h, w) at the size ``input_shape`` of the network input.

        See :func:`~mmavs.models.layers.class_scores`.
        """
        outputs = self(features, audio, valid)
        return class_scores(outputs['class_logits'], outputs['mask_logits'], input_shape)
