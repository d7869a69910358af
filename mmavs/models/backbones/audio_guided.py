"""Audio-guided modality alignment (AMA) of RAVS (CVPR 2025): fuses the audio into a backbone after every stage.

Symbols, as used below: f_v the L visual tokens of a stage, a the audio of the frame, P groups of tokens, S the response
of each token to the audio, G the compact tokens, one for each group, D channels.

The authors have released no code. Grouping, attention within groups, merging by response, decoder layers with the
response as bias, and the mapping back to the grid are the paper's; how they are wired in detail is inferred.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmavs.models.layers import (
    empty_groups,
    group_by_density_peaks,
    softmax_within_groups,
    spread_groups,
    sum_groups,
)
from mmavs.registry import MODELS
from mmavs.structures import AudioGuidedPyramid

from .pvt_v2 import to_map, to_tokens
from .staged import as_staged

# Hidden channels of the decoder layers' feed-forward network relative to D, the usual ratio of transformers.
FFN_RATIO = 4


class ModalityAlignment(nn.Module):
    """Fuse the audio of a frame into the pixels of a map, by groups of similar pixels.

    1. Grouping: DPC-KNN distributes the normalized tokens over P groups, or over as many as are prominent, at most P.
    2. Audio-visual attention within groups, with several heads h: the audio attends to the tokens of a group,
       ``l_hi = q_h(a) k_h(f_i) / sqrt(D / heads)``, softmax over the members, which gives the audio of that group.
       It is added to each token. The response ``S_i`` is the mean of l_hi over h.
    3. Merging: ``G_p = sum_i w_i f_i`` over the members of p, with w the softmax of S over the members.
    4. Update by transformer decoder layers: G attends to itself, then to f_v with S added to the attention logits, and
       passes a feed-forward network.
    5. Mapping back: the compact token of its group is added to every token.

    Args:
        channels: Channels D of the map.
        audio_channels: Channels of an audio token; several tokens of a frame are averaged.
        num_groups: Groups P; None for no grouping: the frame is one group.
        merging: Whether to merge groups into compact tokens, steps 3 to 5.
        num_heads: Heads of the attention.
        num_neighbors: The k of DPC-KNN.
        num_updates: Number of updates of G.
        compact_update: ``'decoder'`` for step 4 as above, ``'formula'`` for :func:`update_compact_tokens` in its place.
        gate: Whether a token receives the audio of its group weighted by ``sigmoid(l_hi)``, as in DDESeg (CVPR 2025).
        min_prominence: See :func:`group_by_density_peaks`.
    """

    def __init__(self, channels: int, audio_channels: int, num_groups: int | None, merging: bool, num_heads: int,
                 num_neighbors: int, num_updates: int, compact_update: str, gate: bool, min_prominence: float) -> None:
        super().__init__()
        self.num_groups = num_groups
        self.num_heads = num_heads
        self.num_neighbors = num_neighbors
        self.num_updates = num_updates
        self.gate = gate
        self.min_prominence = min_prominence
        self.norm = nn.LayerNorm(channels)
        self.audio_proj = nn.Linear(audio_channels, channels)
        self.audio_norm = nn.LayerNorm(channels)
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.sound_proj = nn.Linear(channels, channels)
        self.token_proj = nn.Linear(channels, channels)
        self.merging = merging
        if merging:
            self.compact_norm = nn.LayerNorm(channels)
            self.compact_proj = nn.Linear(channels, channels)
        self._init_projections()
        self.decoder = None
        if merging and compact_update == 'decoder':
            self.decoder = nn.ModuleList(
                nn.TransformerDecoderLayer(channels, num_heads, FFN_RATIO * channels, dropout=0., activation=F.gelu,
                                           batch_first=True, norm_first=True) for _ in range(num_updates))

    def forward(self, visual_map: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Audio-guided map (N, D, h, w) and the response of its pixels (N, h, w).

        Args:
            visual_map: (N, D, h, w).
            audio: Audio tokens (N, tokens, C_a).
        """
        size = tuple(visual_map.shape[2:])
        tokens = to_tokens(visual_map)  # (N, L, D)
        visual = self.norm(tokens)
        audio = self.audio_norm(self.audio_proj(audio.mean(1)))  # (N, D)

        # Group the tokens
        groups, num_groups = self._group(visual)
        # Audio-visual attention within the groups
        logits = self._audio_logits(audio, visual)  # (N, L, heads)
        response = logits.mean(2)
        group_audio = self._aggregate_audio(audio, visual, logits, groups, num_groups)  # (N, P, D)
        received = spread_groups(group_audio, groups)  # (N, L, D)
        update = self.token_proj(_weigh_heads(received, logits.sigmoid()) if self.gate else received)
        tokens = tokens + update
        if self.merging:
            visual = visual + update
            # Merge each group by the response of its members
            weights = softmax_within_groups(response.unsqueeze(2), groups, num_groups)
            compact = sum_groups(weights * visual, groups, num_groups)  # (N, P, D)
            # Update the compact tokens
            compact = self.update_compact(compact, visual, response, groups)
            # Map them back to the grid
            tokens = tokens + spread_groups(self.compact_proj(self.compact_norm(compact)), groups)
        return to_map(tokens, size), response.unflatten(1, size)

    def update_compact(self, compact: Tensor, visual: Tensor, response: Tensor, groups: Tensor) -> Tensor:
        """Compact tokens after all updates, (N, P, D); those of empty groups influence no other.

        Args:
            compact: G (N, P, D).
            visual: f_v (N, L, D).
            response: S (N, L).
            groups: Group of each token (N, L).
        """
        if self.decoder is None:
            for _ in range(self.num_updates):
                compact = update_compact_tokens(compact, visual, response)
            return compact
        empty = empty_groups(groups, compact.shape[1]) if self.min_prominence > 0 else None
        for layer in self.decoder:
            # A mask of floats is added to the attention logits.
            compact = layer(compact, visual, tgt_key_padding_mask=empty, memory_key_padding_mask=response)
        return compact

    def _init_projections(self) -> None:
        for linear in (module for module in self.children() if isinstance(module, nn.Linear)):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        # Small, so that the first updates hardly change the maps of a pretrained backbone.
        for linear in (self.token_proj, self.compact_proj) if self.merging else (self.token_proj, ):
            nn.init.trunc_normal_(linear.weight, std=0.02)

    def _group(self, visual: Tensor) -> tuple[Tensor, int]:
        """Group of each token (N, L), and the number of groups."""
        if self.num_groups is None:
            return torch.zeros(visual.shape[:2], dtype=torch.long, device=visual.device), 1
        num_groups = min(self.num_groups, visual.shape[1])
        return group_by_density_peaks(visual, num_groups, self.num_neighbors, self.min_prominence), num_groups

    def _audio_logits(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Attention logits l of each token, (N, L, heads)."""
        q = self.q_proj(audio).unflatten(1, (self.num_heads, -1))
        k = self.k_proj(visual).unflatten(2, (self.num_heads, -1))
        return torch.einsum('nhd,nlhd->nlh', q, k) * q.shape[2]**-0.5

    def _aggregate_audio(self, audio: Tensor, visual: Tensor, logits: Tensor, groups: Tensor,
                         num_groups: int) -> Tensor:
        """Audio of each group, (N, P, D)."""
        attention = softmax_within_groups(logits, groups, num_groups)
        context = sum_groups(_weigh_heads(self.v_proj(visual), attention), groups, num_groups)
        return audio.unsqueeze(1) + self.sound_proj(context)


def update_compact_tokens(compact: Tensor, visual: Tensor, response: Tensor) -> Tensor:
    """Compact tokens after one update, ``G + softmax(G f_v^T / sqrt(D) + S) f_v``, (N, P, D).

    The formula as the paper states it, without the projections, norms and feed-forward network of a decoder layer.

    Args:
        compact: G (N, P, D).
        visual: f_v (N, L, D).
        response: S (N, L), added to the logits of every compact token.
    """
    logits = torch.baddbmm(response.unsqueeze(1), compact, visual.transpose(1, 2), alpha=visual.shape[2]**-0.5)
    return torch.baddbmm(compact, logits.softmax(2), visual)


def _weigh_heads(x: Tensor, weights: Tensor) -> Tensor:
    """Weigh the heads of tokens (N, L, D) by (N, L, heads)."""
    return (x.unflatten(2, (weights.shape[2], -1)) * weights.unsqueeze(3)).flatten(2)


@MODELS.register_module()
class AudioGuidedBackbone(BaseModule):
    """Backbone with an audio-guided modality alignment after each stage (RAVS).

    Args:
        backbone: Config of a backbone whose stages run one at a time (:class:`StagedBackbone`): ``PVTv2``, a ResNet
            of mmseg or mmpretrain with all four stages, or a CNN of timm. Pretrained weights are its own ``init_cfg``.
        audio_channels: Channels of an audio token.
        num_groups: Groups P of each stage; None for no grouping: a frame is one group.
        merging: Whether to merge groups into compact tokens.
        num_heads: Heads of the attention between audio and pixels, and of the decoder layers.
        num_neighbors: Neighbors k that give the density of a token. 5 is that of DPC-KNN in TCFormer; the paper's value
            is not known, nor are its ``num_updates``, ``num_groups`` and ``num_heads``.
        num_updates: Number of updates of the compact tokens.
        compact_update: ``'decoder'`` to update them by transformer decoder layers, ``'formula'`` for the bare formula
            of :func:`update_compact_tokens`.
        gate: Whether each pixel weighs the audio that it receives by a sigmoid, as in DDESeg (CVPR 2025).
        min_prominence: Prominence of the center of a group, relative to the largest of the frame, below which the group
            is left out: the number of groups adapts to the frame, and ``num_groups`` bounds it. 0 for a fixed number.
        init_cfg: Initialization config of MMEngine.

    Attributes:
        uses_audio: Whether :class:`AudioVisualSegmentor` also passes the audio tokens to the backbone.
        embed_dims: Channels of the maps.
    """
    uses_audio: bool = True

    def __init__(self,
                 backbone: dict,
                 audio_channels: int,
                 num_groups: Sequence[int] | None,
                 merging: bool = True,
                 num_heads: int = 8,
                 num_neighbors: int = 5,
                 num_updates: int = 2,
                 compact_update: str = 'decoder',
                 gate: bool = False,
                 min_prominence: float = 0.,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if compact_update not in ('decoder', 'formula'):
            raise ValueError(f'AudioGuidedBackbone: compact_update is {compact_update!r}, expected '
                             "'decoder' or 'formula'")
        if not 0 <= min_prominence <= 1:
            raise ValueError(f'AudioGuidedBackbone: min_prominence is {min_prominence}, expected a fraction in [0, 1]')
        self.backbone = MODELS.build(backbone)
        # In a list: the backbone is not to be registered twice.
        self._stages = [as_staged(self.backbone)]
        self.embed_dims = tuple(self._stages[0].embed_dims)
        num_groups = (None, ) * len(self.embed_dims) if num_groups is None else tuple(num_groups)
        if len(num_groups) != len(self.embed_dims):
            raise ValueError(f'AudioGuidedBackbone: num_groups is {num_groups}, expected the groups of '
                             f'{len(self.embed_dims)} stages, or None')
        self.ama = nn.ModuleList(
            ModalityAlignment(channels, audio_channels, groups, merging, num_heads, num_neighbors, num_updates,
                              compact_update, gate, min_prominence)
            for channels, groups in zip(self.embed_dims, num_groups))

    def forward(self, x: Tensor, audio: Tensor) -> AudioGuidedPyramid:
        """Audio-guided maps (N, C_l, h_l, w_l), one for each stage, and the responses of their pixels.

        Args:
            x: Normalized frames (N, 3, H, W).
            audio: Audio tokens (N, tokens, C_a) of the frames.
        """
        stages = self._stages[0]
        maps, responses = [], []
        for i, align in enumerate(self.ama):
            x, response = align(stages.run_stage(i, x), audio)
            maps.append(x)
            responses.append(response)
        return AudioGuidedPyramid(maps, responses)
