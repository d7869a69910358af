"""Vision-Centric Transformer (VCT, CVPR 2025): vision-derived queries that attend to audio and visual features in turn.

Symbols of the paper, as used below: P the projected pixel features, Q queries, V^q the queries that PPQG makes of a
frame, A the assignment of pixels to queries, E the audio prototypes, a the audio tokens, K classes with background.
The paper's audio-centric baseline (ACT) and the other rows of its ablation are options of the one head.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmavs.models.layers import (
    MLP,
    AudioQueryGenerator,
    MaskedAttentionDecoder,
    MultiheadAttention,
    class_scores,
    run_checkpointed,
)
from mmavs.registry import MODELS
from mmavs.structures import FrameTargets, QueryPrediction, select_frames
from mmavs.utils.precision import in_float32


class PixelGrouping(nn.Module):
    """Compute a mean of the pixels for each query, from single-head attention logits L of queries and pixels.

    - ``'hard'`` and ``'soft'``, grouping attention of GroupViT: each pixel is distributed over the queries, ``A =
      softmax_q(L)``, and a query gets the mean of its pixels, ``A / (sum_pixels A + 1)``. Soft grouping uses A
      directly. Hard grouping assigns each pixel to one query: the best one in evaluation; in training one sampled by
      Gumbel-softmax, with the gradient of the softmax (straight-through).
    - ``'cross-attention'``, the ordinary attention that VCT's ablation replaces by grouping: each query is distributed
      over the pixels, ``softmax_pixels(L)``. Queries do not compete for pixels.

    Args:
        embed_dims: Channels C.
        mode: ``'hard'``, ``'soft'`` or ``'cross-attention'``.
    """

    def __init__(self, embed_dims: int, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.q_proj = nn.Linear(embed_dims, embed_dims)
        self.k_proj = nn.Linear(embed_dims, embed_dims)
        self.v_proj = nn.Linear(embed_dims, embed_dims)
        self.out_proj = nn.Linear(embed_dims, embed_dims)

    def forward(self, queries: Tensor, pixels: Tensor) -> Tensor:
        """Grouped pixels (N, Q, C) from queries (N, Q, C) and pixels (N, C, h * w)."""
        # In a prediction the logits decide between queries: float32 also under autocast.
        logits = self._logits(queries, pixels) if self.training else in_float32(self._logits, queries, pixels)
        if self.mode == 'cross-attention':
            attention = logits.softmax(2)  # (N, Q, h * w)
        else:
            assignment = self._assign(logits)
            attention = assignment / (assignment.sum(2, keepdim=True) + 1)
        # W_v acts on the Q sums over pixels, which is cheaper than on all pixels.
        means = F.linear(attention @ pixels.transpose(1, 2), self.v_proj.weight)
        return self.out_proj(means + attention.sum(2, keepdim=True) * self.v_proj.bias)

    def _logits(self, queries: Tensor, pixels: Tensor) -> Tensor:
        """Logits L = (W_q Q + b_q)(W_k P + b_k)^T / sqrt(C), (N, Q, h * w)."""
        # W_k acts on the queries, which is cheaper than on all pixels.
        q = self.q_proj(queries)
        scale = queries.shape[2]**-0.5
        bias = (q @ self.k_proj.bias).unsqueeze(2)
        return torch.baddbmm(bias, q @ self.k_proj.weight, pixels, beta=scale, alpha=scale)

    def _assign(self, logits: Tensor) -> Tensor:
        """Assignment A of pixels to queries, (N, Q, h * w)."""
        if self.mode == 'soft':
            return logits.softmax(1)
        if not self.training:
            return _one_hot(logits)
        info = torch.finfo(logits.dtype)
        uniform = info.tiny + torch.rand_like(logits) * (1 - info.eps - info.tiny)
        soft = (logits - (-uniform.log()).log()).softmax(1)
        return (_one_hot(soft) - soft.detach()) + soft


def _one_hot(scores: Tensor) -> Tensor:
    """One-hot vector of the query with the highest score at each pixel: (N, Q, pixels)."""
    return torch.zeros_like(scores).scatter_(1, scores.argmax(1, keepdim=True), 1)


class QueryGenerator(nn.Module):
    """Prototype-prompted query generation (PPQG): queries V^q of a frame, from its mask features only.

    Args:
        embed_dims: Channels C.
        num_queries: Queries Q.
        grid: (h, w) of the mask features. The query mixer is a perceptron over the pixels, which fixes their number.
        grouping: How the queries get pixels, a mode of :class:`PixelGrouping`, or None for not at all.
        num_prototypes: Audio prototypes M that the queries attend to, or None.
    """

    def __init__(self, embed_dims: int, num_queries: int, grid: tuple[int, int], grouping: str | None,
                 num_prototypes: int | None) -> None:
        super().__init__()
        self.pre_proj = nn.Sequential(
            nn.Conv2d(embed_dims, embed_dims, 1), nn.ReLU(inplace=True),
            nn.Conv2d(embed_dims, embed_dims, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(embed_dims, embed_dims, 1))
        self.query_mixer = MLP(grid[0] * grid[1], embed_dims, embed_dims, num_queries)
        self.prototypes = None
        if num_prototypes is not None:
            self.prototypes = nn.Embedding(num_prototypes, embed_dims)
            self.prototype_attn = MultiheadAttention(embed_dims, num_heads=4)
            self.prototype_norm = nn.LayerNorm(embed_dims)
        self.grouping = None if grouping is None else PixelGrouping(embed_dims, grouping)

    def forward(self, mask_features: Tensor, more_prototypes: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Queries V^q (N, Q, C) from mask features (N, C, h, w).

        ``more_prototypes`` of a :class:`~mmavs.models.layers.PrototypeBank` are attended to beside the learned ones:
        (c, C), and which of them exist, (c,) bool.
        """
        pixels = self.pre_proj(mask_features).flatten(2)  # (N, C, h * w)

        # Visual embeddings
        queries = self.query_mixer(pixels).transpose(1, 2)  # (N, Q, C)
        # Audio prototype prompting
        if self.prototypes is not None:
            prototypes, attend = self.prototypes.weight[None], None
            if more_prototypes is not None:
                more, exist = more_prototypes
                prototypes = torch.cat((prototypes, more[None]), 1)
                attend = torch.cat((exist.new_ones(len(self.prototypes.weight)), exist))[None, None, None]
            queries = self.prototype_norm(queries + self.prototype_attn(queries, prototypes, prototypes, attend))
        # Pixel context grouping
        if self.grouping is not None:
            queries = queries + self.grouping(queries, pixels)
        return queries


class EarlyFusion(nn.Module):
    """Fuse the audio of a frame into its visual pyramid F, before the pixel decoder.

    The mean a of the audio tokens is projected to the channels of each level, ``a_l = W_l a + b_l``, and fused at every
    pixel: ``F_l * a_l``, ``F_l + a_l``, or a 1x1 convolution of their concatenation. VCT's ablation names the three
    operations; that they act here, and on every level, is inferred. The GroupNorm of the pixel decoder removes the mean
    over a group, so added audio has an effect only if a group has several channels.

    Args:
        channels: Channels C_l of each level of the pyramid.
        embed_dims: Channels C of the audio tokens.
        operation: ``'multiply'``, ``'concatenate'`` or ``'add'``.
    """

    def __init__(self, channels: Sequence[int], embed_dims: int, operation: str) -> None:
        super().__init__()
        self.operation = operation
        self.audio_projs = nn.ModuleList(nn.Linear(embed_dims, c) for c in channels)
        if operation == 'concatenate':
            self.convs = nn.ModuleList(nn.Conv2d(2 * c, c, 1) for c in channels)

    def forward(self, features: Sequence[Tensor], audio_tokens: Tensor) -> list[Tensor]:
        """Fused pyramid, (N, C_l, h_l, w_l) like ``features``, from audio tokens (N, tokens, C)."""
        audio = audio_tokens.mean(1)
        projected = [proj(audio)[:, :, None, None] for proj in self.audio_projs]  # (N, C_l, 1, 1)
        if self.operation == 'multiply':
            return [f * a for f, a in zip(features, projected)]
        if self.operation == 'add':
            return [f + a for f, a in zip(features, projected)]
        return [conv(torch.cat((f, a.expand_as(f)), 1)) for f, a, conv in zip(features, projected, self.convs)]


@MODELS.register_module()
class VCTHead(BaseModule):
    """Head of the Vision-Centric Transformer; every frame is segmented independently, with its own audio.

    Defaults are those of the released code. The rows of the paper's ablation, each a config in
    ``configs/vct/ablation``, are the options ``query_source`` and ``attend_audio``, ``grouping`` (None: visual
    embeddings only; ``'cross-attention'``; ``'hard'``: Gumbel hard grouping), ``num_prototypes``, ``pac_loss``,
    ``contrast`` and ``early_fusion``. Two extensions that are not the paper's answer limits that it names:
    ``consistency_loss`` (frames are independent) and ``prototype_bank`` (the set of events is closed).

    Args:
        num_classes: K, background included.
        input_size: (H, W) of the (padded) frames. The number of pixels at stride 4 is the width of a layer; other sizes
            are an error.
        audio_channels: Channels of an audio token.
        pixel_decoder: Config of the pixel decoder; its ``embed_dims`` is the C of the whole head.
        criterion: Config of the loss on class and mask logits of all layers; gets ``num_classes`` from the head.
        pac_loss: Config of the loss on prototypes and audio, or None. Needs prototypes, and ``events`` in the targets;
            gets ``channels`` from the head.
        audio_grid: Rows and columns of the audio tokens: 6 steps of time by 4 of frequency for VGGish's map.
        audio_hidden_dims: Hidden channels of the audio perceptron.
        num_queries: Queries Q.
        num_heads: Heads of the decoder's attentions.
        num_layers: Decoder layers.
        ffn_dims: Hidden channels of the decoder's feed-forward networks.
        grouping: How queries get pixels: ``'hard'``, ``'soft'`` or ``'cross-attention'`` (:class:`PixelGrouping`), or
            None.
        num_prototypes: Audio prototypes M: 23 on S4 (a prototype per category), 71 on AVSS, None on MS3.
        query_source: Source of the queries of a frame: ``'vision'`` (PPQG), or ``'audio'`` for the audio-centric
            baseline, which needs PPQG's ``grouping`` and ``num_prototypes`` to be None.
        attend_audio: Whether the audio is a level of the decoder. VCT's queries get no audio without it; the decoder of
            the audio-centric baseline attends only to the visual levels, as COMBO's does.
        contrast: Features that the PAC loss compares with the prototypes: the ``'audio'`` of a frame, or its
            ``'queries'``.
        early_fusion: How the audio is fused into the visual pyramid before the pixel decoder: ``'multiply'``,
            ``'concatenate'``, ``'add'``, or None.
        consistency_loss: Config of a loss on the masks of adjacent frames, or None. It is applied to the predictions of
            all layers but the last, as in COMBO, and needs ``model.independent_frames=False``.
        prototype_bank: Config of the :class:`~mmavs.models.layers.PrototypeBank` of unknown events, or None. Needs a
            ``pac_loss``, which compares audio; gets ``channels`` from the head.
        init_cfg: Initialization config of MMEngine. The constructor initializes as the released code does.
        with_cp: Gradient checkpointing of the query generation and of each decoder layer. The pixel decoder has this
            option itself.
    """

    def __init__(self,
                 num_classes: int,
                 input_size: tuple[int, int],
                 audio_channels: int,
                 pixel_decoder: dict,
                 criterion: dict,
                 pac_loss: dict | None = None,
                 audio_grid: tuple[int, int] = (6, 4),
                 audio_hidden_dims: int = 4096,
                 num_queries: int = 100,
                 num_heads: int = 8,
                 num_layers: int = 9,
                 ffn_dims: int = 2048,
                 grouping: str | None = 'hard',
                 num_prototypes: int | None = None,
                 query_source: str = 'vision',
                 attend_audio: bool = True,
                 contrast: str = 'audio',
                 early_fusion: str | None = None,
                 consistency_loss: dict | None = None,
                 prototype_bank: dict | None = None,
                 init_cfg: dict | None = None,
                 with_cp: bool = False) -> None:
        super().__init__(init_cfg)
        self.with_cp = with_cp
        for name, value, choices in (('grouping', grouping, ('hard', 'soft', 'cross-attention', None)),
                                     ('query_source', query_source, ('vision', 'audio')),
                                     ('contrast', contrast, ('audio', 'queries')),
                                     ('early_fusion', early_fusion, ('multiply', 'concatenate', 'add', None))):
            if value not in choices:
                *others, last = map(repr, choices)
                raise ValueError(f"VCTHead: {name} is {value!r}, expected {', '.join(others)} or {last}")
        if query_source == 'audio' and (grouping, num_prototypes) != (None, None):
            raise ValueError(f'VCTHead: audio queries have no grouping and no prototypes, but grouping is {grouping!r} '
                             f'and num_prototypes {num_prototypes}: set both to None')
        if query_source == 'vision' and not attend_audio and early_fusion is None:
            raise ValueError("VCTHead: the audio would not be used: set attend_audio=True, query_source='audio' or "
                             'early_fusion')
        if pac_loss is not None and num_prototypes is None:
            raise ValueError('VCTHead: pac_loss compares the audio with prototypes, but num_prototypes is None: set '
                             'it, or set pac_loss=None')
        if prototype_bank is not None and (pac_loss is None or contrast != 'audio'):
            raise ValueError("VCTHead: prototype_bank finds events with the pac_loss of the audio, but pac_loss is "
                             f"{pac_loss} and contrast {contrast!r}: set both, or set prototype_bank=None")
        self.num_classes = num_classes
        self.input_size = tuple(input_size)
        self.audio_grid = tuple(audio_grid)
        self.query_source = query_source
        self.attend_audio = attend_audio
        self.contrast = contrast
        self.pixel_decoder = MODELS.build(pixel_decoder)
        embed_dims = self.pixel_decoder.embed_dims
        self.audio_mlp = MLP(audio_channels, audio_hidden_dims, audio_hidden_dims, embed_dims)
        if query_source == 'vision':
            self.query_generator = QueryGenerator(embed_dims, num_queries, self._mask_size, grouping, num_prototypes)
        else:
            self.query_generator = AudioQueryGenerator(num_queries)
        num_levels = self.pixel_decoder.num_levels + (1 if attend_audio else 0)
        self.decoder = MaskedAttentionDecoder(num_classes, embed_dims, num_queries, num_heads, num_layers,
                                            num_levels, ffn_dims, with_cp)
        self.criterion = MODELS.build(criterion, default_args=dict(num_classes=num_classes))
        self.pac_loss = MODELS.build(pac_loss, default_args=dict(channels=embed_dims)) if pac_loss else None
        self.consistency_loss = MODELS.build(consistency_loss) if consistency_loss else None
        self.prototype_bank = None
        if prototype_bank is not None:
            self.prototype_bank = MODELS.build(prototype_bank, default_args=dict(channels=embed_dims))
        self.early_fusion = None
        if early_fusion is not None:
            self.early_fusion = EarlyFusion(pixel_decoder['in_channels'], embed_dims, early_fusion)

    @property
    def _mask_size(self) -> tuple[int, int]:
        return self.input_size[0] // 4, self.input_size[1] // 4

    def forward(self, features: Sequence[Tensor], audio: Tensor, valid: Tensor | None) -> dict[str, Tensor | list]:
        """Raw outputs for N frames.

        Args:
            features: Visual pyramid, (N, C_l, h_l, w_l) at strides 4, 8, 16, 32.
            audio: Audio tokens (N, tokens, C_a).
            valid: (B, T) bool, which frames exist, or None; not used, because the predictions of frames are
                independent.

        Returns:
            dict with

            - ``class_logits`` (N, Q, K + 1), the last class is "no object";
            - ``mask_logits`` (N, Q, H / 4, W / 4);
            - ``queries`` (N, Q, C), V^q, or the audio queries of ``query_source='audio'``;
            - ``mask_features`` (N, C, H / 4, W / 4);
            - ``audio_tokens`` (N, tokens, C), the input of the decoder;
            - in training mode ``aux``, the (class logits, mask logits) before and after all layers but the last.
        """
        outputs, predictions = self._segment(features, audio)
        if self.training:
            outputs['aux'] = [(x.class_logits, x.mask_logits) for x in predictions[:-1]]
        return outputs

    def _segment(self, features: Sequence[Tensor], audio: Tensor) -> tuple[dict[str, Tensor], list[QueryPrediction]]:
        """Outputs of :meth:`forward`, and the predictions of the decoder."""
        self._check_sizes(features, audio)
        audio_tokens = self.audio_mlp(audio)  # (N, tokens, C)
        if self.early_fusion is not None:
            features = self.early_fusion(features, audio_tokens)
        # Pixel features
        mask_features, maps = self.pixel_decoder(features)
        # Query generation
        queries = self._generate_queries(audio_tokens, mask_features)
        # Transformer decoder
        attended = audio_tokens if self.attend_audio else None
        predictions = self.decoder(queries, maps, mask_features, attended, self.audio_grid)
        outputs = dict(
            class_logits=predictions[-1].class_logits,
            mask_logits=predictions[-1].mask_logits,
            queries=queries,
            mask_features=mask_features,
            audio_tokens=audio_tokens)
        return outputs, predictions

    def loss(self, features: Sequence[Tensor], audio: Tensor, valid: Tensor,
             targets: FrameTargets) -> dict[str, Tensor]:
        """Loss terms of the labelled frames: those of the criterion, and with a ``pac_loss`` ``loss_pac``.

        A ``consistency_loss`` adds ``d{i}.loss_consistency``, of all frames.
        """
        outputs, predictions = self._segment(features, audio)
        losses = self.criterion(predictions, targets)
        if self.pac_loss is not None:
            if targets.events is None:
                raise ValueError('the head has a pac_loss, but the targets hold no events: add GenerateEventLabels to '
                                 'the training pipeline, or set pac_loss=None')
            frames = targets.labelled_frames.to(audio.device, non_blocking=True)
            compared = outputs['queries' if self.contrast == 'queries' else 'audio_tokens'].mean(1)
            losses['loss_pac'] = self._pac(select_frames(compared, frames), select_frames(targets.events, frames))
        if self.consistency_loss is not None:
            terms = self.consistency_loss([x.mask_logits for x in predictions[:-1]], valid)
            losses.update({f'd{i}.loss_consistency': term for i, term in enumerate(terms)})
        return losses

    def _generate_queries(self, audio_tokens: Tensor, mask_features: Tensor) -> Tensor:
        if self.query_source == 'audio':
            return self.query_generator(audio_tokens)
        if self.prototype_bank is None:
            return run_checkpointed(self.with_cp, self.query_generator, mask_features)
        prototypes = self.query_generator.prototypes.weight
        return run_checkpointed(
            self.with_cp, self.query_generator, mask_features,
            self.prototype_bank.prompts(prototypes, self.pac_loss.proto_proj.weight))

    def _pac(self, audio: Tensor, events: Tensor) -> Tensor:
        """PAC loss of features (n, C) and events (n, M) of labelled frames; lets the bank of prototypes grow."""
        prototypes, bank = self.query_generator.prototypes.weight, self.prototype_bank
        if bank is None or not self.training:
            return self.pac_loss(audio, prototypes, events)
        with torch.no_grad():
            # Event 0 is the background, which is in nearly every frame.
            sounding = self.pac_loss.embed_prototypes(prototypes[1:])
            owned = bank.update(self.pac_loss.embed_audio(audio), sounding, events[:, 1:].any(1))
        exist = bank.counts > 0
        return self.pac_loss(audio, prototypes, torch.cat((events, owned[:, exist]), 1), bank.centers[exist])

    @torch.no_grad()
    def predict(self, features: Sequence[Tensor], audio: Tensor, valid: Tensor | None,
                input_shape: tuple[int, int]) -> Tensor:
        """:func:`~mmavs.models.layers.class_scores` (N, K, h, w) at the size ``input_shape`` of the network input."""
        outputs = self(features, audio, valid)
        return class_scores(outputs['class_logits'], outputs['mask_logits'], input_shape)

    def _check_sizes(self, features: Sequence[Tensor], audio: Tensor) -> None:
        size = tuple(features[0].shape[-2:])
        if size != self._mask_size:
            raise ValueError(
                f'VCTHead is configured for frames of input_size={self.input_size} (height, width), that is features '
                f'of {self._mask_size} at stride 4, and got {size}, frames of {(size[0] * 4, size[1] * 4)}: '
                'resize or crop and pad the frames to the configured size in the pipeline, or set input_size')
        rows, columns = self.audio_grid
        if audio.shape[1] != rows * columns:
            raise ValueError(f'VCTHead is configured for audio_grid={self.audio_grid}, that is {rows * columns} audio '
                             f'tokens, and got {audio.shape[1]}: set audio_grid to that of the audio backbone')
