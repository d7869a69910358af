"""EASE (encoder-only audio-visual segmentation): queries that ride in the last blocks of the backbone, no decoder.

Symbols, as used below: L blocks, Q queries, d channels of a token, P patches of a frame, A its audio tokens, K classes
with background. Built on EoMT (CVPR 2025); every frame is segmented independently, with its own audio.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models.utils import LayerNorm2d
from torch import Tensor, nn

from mmavs.models.layers import class_scores, query_masks, run_checkpointed
from mmavs.registry import MODELS
from mmavs.structures import BlockFeatures, FrameTargets, QueryPrediction

from .ease_audio import AudioEnhancer, AudioFuser, AudioQueries

# Exponent of the annealing of masked attention.
ANNEALING_POWER = 0.9


class UpscaleBlock(nn.Module):
    """Double the height and width of a map: transposed convolution, GELU, depthwise convolution, LayerNorm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = LayerNorm2d(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, d, 2 h, 2 w) of a map (N, d, h, w)."""
        return self.norm(self.conv2(F.gelu(self.conv1(x))))


@MODELS.register_module()
class EASEHead(BaseModule):
    """Head of EASE, which runs the last blocks of the backbone itself (:class:`BlockFeatures`).

    The audio enters three times: five tokens A are made of it (:class:`AudioEnhancer`), they give the queries their
    content (:class:`AudioQueries`), and one fuser adds it to the patches before the blocks ``fusion_blocks`` and after
    the last block. The queries join the tokens before the last ``num_query_blocks`` blocks. Classes and masks are
    predicted from them after the last block; the mask of a query is its similarity to the upscaled patches.

    In training, the queries attend only to the patches inside of their own current masks in the blocks that they ride
    in (masked attention). ``mask_annealing`` lets go of that, block by block, so that inference needs no masks. These
    masks are predictions too, and have the same loss.

    Args:
        num_classes: K, background included.
        embed_dims: Channels d of a token of the backbone.
        audio_channels: Channels of an audio token of the audio backbone.
        criterion: Config of the loss on class and mask logits of all predictions; gets ``num_classes`` from the head.
        fusion_blocks: Blocks before which the audio is fused into the patches; they are among those that the backbone
            leaves to the head.
        num_queries: Queries Q.
        num_query_blocks: Blocks that the queries ride in.
        mask_annealing: Starts and ends of the annealing in each of these blocks, as fractions of the training: the
            probability that a query is masked is 1 until the start, then ``(1 - progress)^0.9``, and 0 from the end on.
            :class:`~mmavs.engine.hooks.TrainingProgressHook` tells the head how far the training is. None: always 1.
        norm_before_late_fusion: Whether the last norm precedes the fusion after the last block (PVTv2) or follows it.
        assignment: Assignment to clusters in evaluation: ``'softmax'``, or ``'gumbel'`` as in the released code, which
            adds noise, so that scores differ from run to run. Training always adds it.
        audio_dims: Channels of the audio tokens A.
        num_clusters: Clusters of the audio.
        num_query_layers: Layers of :class:`AudioQueries`.
        ffn_dims: Hidden channels of their feed-forward networks.
        dropout: Probability of dropping a channel of the upscaled patches in training.
        init_cfg: Initialization config of MMEngine. The constructor initializes as the released code does.
        with_cp: Gradient checkpointing of the upscaling of the patches. The backbone has this option for the blocks.

    Raises:
        ValueError: ``assignment`` is unknown, or ``mask_annealing`` does not have a value for each block.
    """

    def __init__(self,
                 num_classes: int,
                 embed_dims: int,
                 audio_channels: int,
                 criterion: dict,
                 fusion_blocks: Sequence[int],
                 num_queries: int = 100,
                 num_query_blocks: int = 4,
                 mask_annealing: tuple[Sequence[float], Sequence[float]] | None = None,
                 norm_before_late_fusion: bool = False,
                 assignment: str = 'softmax',
                 audio_dims: int = 320,
                 num_clusters: int = 71,
                 num_query_layers: int = 2,
                 ffn_dims: int = 1280,
                 dropout: float = 0.1,
                 init_cfg: dict | None = None,
                 with_cp: bool = False) -> None:
        super().__init__(init_cfg)
        self.with_cp = with_cp
        if assignment not in ('softmax', 'gumbel'):
            raise ValueError(f"EASEHead: assignment is {assignment!r}, expected 'softmax' or 'gumbel'")
        if mask_annealing is not None and [len(x) for x in mask_annealing] != [num_query_blocks] * 2:
            raise ValueError(f'EASEHead: mask_annealing is {mask_annealing}, expected the starts and the ends in each '
                             f'of num_query_blocks={num_query_blocks} blocks')
        self.num_classes = num_classes
        self.fusion_blocks = tuple(fusion_blocks)
        self.num_queries = num_queries
        self.num_query_blocks = num_query_blocks
        self.mask_annealing = mask_annealing
        self.norm_before_late_fusion = norm_before_late_fusion
        # Fraction of the training that is done, in [0, 1].
        self.progress = 0.
        noise = assignment == 'gumbel'
        self.audio_enhancer = AudioEnhancer(audio_channels, audio_dims, num_clusters, noise)
        self.query_generator = AudioQueries(num_queries, audio_dims, embed_dims, num_query_layers, ffn_dims)
        self.query_embed = nn.Embedding(num_queries, embed_dims)
        self.fuser = AudioFuser(audio_dims, embed_dims, noise)
        self.class_head = nn.Linear(embed_dims, num_classes + 1)
        self.mask_head = nn.Sequential(
            nn.Linear(embed_dims, embed_dims), nn.GELU(), nn.Linear(embed_dims, embed_dims), nn.GELU(),
            nn.Linear(embed_dims, embed_dims))
        self.upscale = nn.Sequential(UpscaleBlock(embed_dims), UpscaleBlock(embed_dims))
        self.dropout = nn.Dropout2d(dropout)
        self.criterion = MODELS.build(criterion, default_args=dict(num_classes=num_classes))

    def forward(self, features: BlockFeatures, audio: Tensor, valid: Tensor | None) -> dict[str, Tensor | list]:
        """Raw outputs for N frames.

        Args:
            features: Tokens of the backbone before its last blocks, and these blocks.
            audio: Audio tokens (N, tokens, C_a) of the audio backbone, of which the mean is taken.
            valid: (B, T) bool, which frames exist, or None; not used, because the predictions of frames are
                independent.

        Returns:
            dict with

            - ``class_logits`` (N, Q, K + 1), the last class is "no object";
            - ``mask_logits`` (N, Q, 4 h, 4 w) for patches on a grid of (h, w): stride 4 for patches of 16 pixels;
            - ``queries`` (N, Q, d), made of the audio, before they join the tokens;
            - ``mask_features`` (N, d, 4 h, 4 w), the upscaled patches;
            - ``audio_tokens`` A (N, 5, C);
            - in training mode ``aux``, the (class logits, mask logits) before each block that the queries ride in.

        Raises:
            ValueError: The features are not those of a backbone that hands out its blocks, or of too few blocks.
        """
        outputs, predictions = self._segment(features, audio)
        if self.training:
            outputs['aux'] = [(x.class_logits, x.mask_logits) for x in predictions[:-1]]
        return outputs

    def _segment(self, features: BlockFeatures, audio: Tensor) -> tuple[dict[str, Tensor], list[QueryPrediction]]:
        """Outputs of :meth:`forward`, and in training mode also the predictions before the last one."""
        self._check_features(features)
        audio_tokens = self.audio_enhancer(audio)
        queries = self.query_generator(audio_tokens)

        # The last blocks, with the queries before all other tokens
        x, predictions = features.tokens, []
        first_query_block = features.num_blocks - self.num_query_blocks
        for index in range(features.first_block, features.num_blocks):
            if index in self.fusion_blocks:
                x = self._fuse(x, audio_tokens, features.grid)
            if index == first_query_block:
                x = torch.cat((self.query_embed.weight + queries, x), 1)
            attend = None
            if self.training and index >= first_query_block:
                predictions.append(self._predict(features.norm(x), features.grid))
                attend = self._attended(predictions[-1].mask_logits, x.shape[1], features.grid,
                                        index - first_query_block)
            x = features.run_block(index, x, attend)
        # Late fusion
        if self.norm_before_late_fusion:
            x = self._fuse(features.norm(x), audio_tokens, features.grid)
        else:
            x = features.norm(self._fuse(x, audio_tokens, features.grid))
        final = self._predict(x, features.grid)
        outputs = dict(
            class_logits=final.class_logits,
            mask_logits=final.mask_logits,
            queries=queries,
            mask_features=final.features,
            audio_tokens=audio_tokens)
        return outputs, [*predictions, final]

    def _fuse(self, x: Tensor, audio_tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Fuse the audio into the patches of the tokens x, which are the last ones; all others pass."""
        num_patches = grid[0] * grid[1]
        others, patches = x[:, :-num_patches], x[:, -num_patches:]
        return torch.cat((others, self.fuser(patches, audio_tokens)), 1)

    def _predict(self, x: Tensor, grid: tuple[int, int]) -> QueryPrediction:
        """Prediction from normalized tokens, of which the first Q are the queries."""
        queries, patches = x[:, :self.num_queries], x[:, -grid[0] * grid[1]:]
        patches = patches.transpose(1, 2).unflatten(2, grid)
        mask_features = self.dropout(run_checkpointed(self.with_cp, self.upscale, patches))
        embeddings = self.mask_head(queries)
        return QueryPrediction(self.class_head(queries), query_masks(embeddings, mask_features), embeddings,
                               mask_features)

    @torch.no_grad()
    def _attended(self, mask_logits: Tensor, num_tokens: int, grid: tuple[int, int], block: int) -> Tensor:
        """Tokens that each token may attend to, bool (N, 1, L, L): queries only to the patches inside of their masks.

        Args:
            mask_logits: (N, Q, 4 h, 4 w), resized to the grid.
            num_tokens: Tokens L.
            grid: (h, w) of the patches.
            block: Which of the blocks that the queries ride in, for the annealing.
        """
        inside = _inside_masks(mask_logits, grid)
        masked = torch.rand(inside.shape[:2], device=inside.device) <= self.mask_probability(block)
        attend = inside.new_ones(len(inside), 1, num_tokens, num_tokens)
        attend[:, 0, :self.num_queries, -inside.shape[2]:] = inside | ~masked.unsqueeze(2)
        return attend

    def mask_probability(self, block: int) -> float:
        """Probability that a query is masked in one of the blocks that the queries ride in, at this ``progress``."""
        if self.mask_annealing is None:
            return 1.
        start, end = (values[block] for values in self.mask_annealing)
        progress = min(max((self.progress - start) / (end - start), 0.), 1.)
        return (1 - progress)**ANNEALING_POWER

    def loss(self, features: BlockFeatures, audio: Tensor, valid: Tensor, targets: FrameTargets) -> dict[str, Tensor]:
        """Loss terms of the criterion on the labelled frames; ``d{i}`` are those of the predictions in the blocks."""
        _, predictions = self._segment(features, audio)
        return self.criterion(predictions, targets)

    @torch.no_grad()
    def predict(self, features: BlockFeatures, audio: Tensor, valid: Tensor | None,
                input_shape: tuple[int, int]) -> Tensor:
        """:func:`~mmavs.models.layers.class_scores` (N, K, h, w) at the size ``input_shape`` of the network input."""
        outputs = self(features, audio, valid)
        return class_scores(outputs['class_logits'], outputs['mask_logits'], input_shape)

    def _check_features(self, features: BlockFeatures) -> None:
        if not isinstance(features, BlockFeatures):
            raise ValueError(f'EASEHead runs the last blocks of the backbone, and got {type(features).__name__}: use a '
                             'backbone that hands them out, TransformersViT, TimmViT or BlockPVTv2')
        channels, embed_dims = features.tokens.shape[2], self.query_embed.embedding_dim
        if channels != embed_dims:
            raise ValueError(f'EASEHead: embed_dims is {embed_dims}, the tokens of the backbone have {channels} '
                             f'channels: set decode_head.embed_dims={channels}')
        last, first = features.num_blocks, features.first_block
        needed = min(last - self.num_query_blocks, *self.fusion_blocks, last)
        if needed < first or max(self.fusion_blocks, default=0) >= last:
            raise ValueError(
                f'EASEHead: num_query_blocks={self.num_query_blocks} and fusion_blocks={self.fusion_blocks} need the '
                f'blocks {needed} to {max(last - 1, *self.fusion_blocks)}, and the backbone has {last} and leaves '
                f'{first} to {last - 1} to the head: set backbone.num_head_blocks, or fusion_blocks')


def _inside_masks(mask_logits: Tensor, grid: tuple[int, int]) -> Tensor:
    """Patches inside of the masks, bool (N, Q, h * w), from mask logits (N, Q, 4 h, 4 w)."""
    return F.interpolate(mask_logits, grid, mode='bilinear', align_corners=False).flatten(2) > 0
