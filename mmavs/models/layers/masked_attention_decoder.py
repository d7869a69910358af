"""Transformer decoder with masked attention (Mask2Former), for COMBO and VCT."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmavs.structures import QueryPrediction
from mmavs.utils.precision import at_least_float32, in_float32

from .attention import MultiheadAttention
from .gradient_checkpointing import run_checkpointed
from .mlp import MLP
from .positional_encoding import sine_positional_encoding


class DecoderLayer(nn.Module):
    """Cross-attention, self-attention, feed-forward network; each with residual and LayerNorm."""

    def __init__(self, embed_dims: int, num_heads: int, ffn_dims: int) -> None:
        super().__init__()
        self.cross_attn = MultiheadAttention(embed_dims, num_heads)
        self.norm1 = nn.LayerNorm(embed_dims)
        self.self_attn = MultiheadAttention(embed_dims, num_heads)
        self.norm2 = nn.LayerNorm(embed_dims)
        self.linear1 = nn.Linear(embed_dims, ffn_dims)
        self.linear2 = nn.Linear(ffn_dims, embed_dims)
        self.norm3 = nn.LayerNorm(embed_dims)
        nn.init.xavier_uniform_(self.linear1.weight)
        nn.init.xavier_uniform_(self.linear2.weight)

    def forward(self, x: Tensor, pos: Tensor, key: Tensor, value: Tensor, attend: Tensor | None) -> Tensor:
        """Queries x (N, Q, C) with positions pos (Q, C); memory key, value (N, L, C); attend (N, 1, Q, L) bool."""
        x = self.norm1(x + self.cross_attn(x + pos, key, value, attend))
        query_key = x + pos
        x = self.norm2(x + self.self_attn(query_key, query_key, x))
        return self.norm3(x + self.linear2(self.linear1(x).relu_()))


class MaskedAttentionDecoder(nn.Module):
    """Let queries attend to the levels of a pyramid in turn, and predict classes and masks from them.

    The decoder of Mask2Former (CVPR 2022), which COMBO and VCT share. Layer i attends to level ``i % num_levels``, the
    coarsest map first; VCT has the audio as a level before the maps. At a map a query attends only inside its own
    current mask (masked attention), or everywhere if that mask is empty.

    Args:
        num_classes: K, background included; class logits have one more entry, "no object".
        embed_dims: Channels C.
        num_queries: Queries Q.
        num_heads: Heads of all attentions.
        num_layers: Layers. The published 9 are three rounds of COMBO's 3 levels. Of VCT's 4 levels they are two rounds
            and a final attention to the audio (the paper's figure ends with a visual level).
        num_levels: Number of visual maps, plus 1 if the decoder attends to the audio.
        ffn_dims: Hidden channels of the feed-forward networks.
        with_cp: Gradient checkpointing of each layer.
    """

    def __init__(self, num_classes: int, embed_dims: int, num_queries: int, num_heads: int, num_layers: int,
                 num_levels: int, ffn_dims: int, with_cp: bool = False) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.query_feat = nn.Embedding(num_queries, embed_dims)
        self.query_embed = nn.Embedding(num_queries, embed_dims)
        self.level_embed = nn.Embedding(num_levels, embed_dims)
        self.layers = nn.ModuleList(DecoderLayer(embed_dims, num_heads, ffn_dims) for _ in range(num_layers))
        self.norm = nn.LayerNorm(embed_dims)
        self.class_embed = nn.Linear(embed_dims, num_classes + 1)
        self.mask_embed = MLP(embed_dims, embed_dims, embed_dims, embed_dims)

    def forward(self, queries: Tensor, maps: list[Tensor], mask_features: Tensor, audio: Tensor | None = None,
                audio_grid: tuple[int, int] = (1, 1)) -> list[QueryPrediction]:
        """Class logits (N, Q, K + 1) and mask logits (N, Q, h, w): in training before the first layer and after each
        one, in evaluation after the last one only, without the factors of the masks.

        Args:
            queries: Queries of the frames, (N, Q, C), to which the learned ones are added.
            maps: Visual maps (N, C, h_l, w_l), coarsest first.
            mask_features: (N, C, h, w).
            audio: (N, tokens, C) on a grid of ``audio_grid``, or None if the decoder attends only to the visual maps.
            audio_grid: Rows and columns of the audio tokens.
        """
        sizes = [tuple(map(int, x.shape[-2:])) for x in maps]
        tokens = [x.flatten(2).transpose(1, 2) for x in maps]  # (N, h_l * w_l, C)
        if audio is not None:
            sizes, tokens = [audio_grid, *sizes], [audio, *tokens]
        memories = [x + embed for x, embed in zip(tokens, self.level_embed.weight)]
        keys = [x + sine_positional_encoding(h, w, x.shape[2], device=x.device) for x, (h, w) in zip(memories, sizes)]

        # Masks are linear in the mask features: where only those at the size of a level are needed, resizing the
        # features first saves the products at full size. In training the losses need all masks.
        resized = {}
        if not self.training:
            mask_features = at_least_float32(mask_features)
            resized = {size: _resize(mask_features, size) for size in sizes[-len(maps):]}

        x = self.query_feat.weight + queries
        pos = self.query_embed.weight
        predictions = []
        for i, layer in enumerate(self.layers):
            level = i % len(sizes)
            attend = None
            if self.training:
                predictions.append(self._predict(x, mask_features))
            if audio is None or level > 0:
                size = sizes[level]
                # Thresholds of a prediction need float32 also under autocast.
                masks = predictions[-1][1] if self.training else in_float32(self._masks, self.norm(x), resized[size])
                attend = inside_masks(masks, size)
            x = run_checkpointed(self.with_cp, layer, x, pos, keys[level], memories[level], attend)
        predictions.append(self._predict(x, mask_features))
        return predictions

    def _predict(self, x: Tensor, mask_features: Tensor) -> QueryPrediction:
        x = self.norm(x)
        if self.training:
            embeddings = self.mask_embed(x)
            return QueryPrediction(self.class_embed(x), query_masks(embeddings, mask_features), embeddings,
                                   mask_features)
        return QueryPrediction(in_float32(self.class_embed, x), in_float32(self._masks, x, mask_features))

    def _masks(self, x: Tensor, mask_features: Tensor) -> Tensor:
        """Mask logits (N, Q, h, w) of the normalized queries x (N, Q, C)."""
        return query_masks(self.mask_embed(x), mask_features)


def query_masks(embeddings: Tensor, mask_features: Tensor) -> Tensor:
    """Mask logits (N, Q, h, w): the similarity of every embedding (N, Q, C) to every pixel of features (N, C, h, w)."""
    return (embeddings @ mask_features.flatten(2)).unflatten(2, mask_features.shape[-2:])


@torch.no_grad()
def inside_masks(mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels that each query may attend to: bool (N, 1, Q, h * w), from its mask resized to (h, w)."""
    inside = _resize(mask_logits, size).flatten(2) >= 0
    inside = inside | ~inside.any(2, keepdim=True)
    return inside.unsqueeze(1)


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x if tuple(x.shape[2:]) == size else F.interpolate(x, size, mode='bilinear', align_corners=False)
