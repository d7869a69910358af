"""RAVS (CVPR 2025): audio-guided encoder, temporal attention between frames, and uncertainty estimation.

Symbols, as used below: F the fused features of a frame, e the evidence of each class at a pixel, ``alpha = e + 1`` the
parameters of its Dirichlet distribution, u the uncertainty, p the predicted probabilities.

The authors have released no code. The parts and their purpose are the paper's; how they are wired, and all numbers, are
inferred. configs/ravs/README.md lists which is which.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmavs.models.layers import MLP, MultiheadAttention, lower_foreground, sine_positional_encoding
from mmavs.models.losses import FrameCrossEntropyLoss, frame_overlap_losses, mean_of_frames
from mmavs.registry import MODELS
from mmavs.structures import UNLABELLED, AudioGuidedPyramid, FrameTargets, select_frames
from mmavs.utils.exporting import is_recording
from mmavs.utils.precision import at_least_float32, disable_autocast, in_float32

# Bound on the reference v of a frame, beyond which no object of the frame counts as certain. Chosen on validation
# clips: objects that the small model segments correctly have a mean u of up to 0.67.
MAX_REFERENCE = 0.8


class LevelFusion(nn.Module):
    """Fuse all levels: project each, upsample it to the finest, sum up, then LayerNorm and ReLU.

    This is SegFormer's head with its two consecutive linear maps merged into one. LayerNorm replaces its batch norm,
    whose statistics would mix in padding frames and frames of other clips.

    Args:
        in_channels: Channels C_l of each level.
        embed_dims: Channels C.
    """

    def __init__(self, in_channels: Sequence[int], embed_dims: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, embed_dims, 1) for channels in in_channels)
        self.norm = nn.LayerNorm(embed_dims)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Tokens F (N, h_1 * w_1, C) from maps (N, C_l, h_l, w_l), finest first."""
        size = features[0].shape[2:]
        levels = [F.interpolate(conv(x), size, mode='bilinear', align_corners=False)
                  for conv, x in zip(self.convs, features)]
        return self.norm(sum(levels).flatten(2).transpose(1, 2)).relu()


class TemporalAttention(nn.Module):
    """Attention of every pixel to the pixels at its position in all valid frames of the clip.

    Args:
        embed_dims: Channels C.
        num_heads: Heads.
        ffn_dims: Hidden channels of a feed-forward network after the attention, as in a transformer layer; None for the
            attention alone.
    """

    def __init__(self, embed_dims: int, num_heads: int, ffn_dims: int | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dims)
        self.attn = MultiheadAttention(embed_dims, num_heads)
        self.ffn = None
        if ffn_dims is not None:
            self.ffn = nn.Sequential(nn.LayerNorm(embed_dims), MLP(embed_dims, ffn_dims, embed_dims))

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Tokens (N, L, C) from tokens (N, L, C) of frames of which ``valid`` (B, T) exist; None: all, of one clip."""
        length = x.shape[1]
        num_clips, num_frames = (1, x.shape[0]) if valid is None else valid.shape
        attend = None
        if valid is not None and (is_recording() or not valid.all()):
            # Padding frames attend to themselves, otherwise their attention would be empty (NaN).
            attend = valid.unsqueeze(1) | torch.eye(num_frames, dtype=torch.bool, device=valid.device)  # (B, T, T)
            attend = attend.to(x.device, non_blocking=True).repeat_interleave(length, dim=0).unsqueeze(1)
        normed = self.norm(x).unflatten(0, (num_clips, -1)).transpose(1, 2).flatten(0, 1)  # (B * L, T, C)
        # Not normalized by T, so that a frame's position does not depend on the clip length.
        query_key = normed + sine_positional_encoding(num_frames, 1, x.shape[2], normalize=False, device=x.device)
        attended = self.attn(query_key, query_key, normed, attend)
        x = x + attended.unflatten(0, (num_clips, -1)).transpose(1, 2).flatten(0, 1)
        return x if self.ffn is None else x + self.ffn(x)


@MODELS.register_module()
class RAVSHead(BaseModule):
    """Head of RAVS: fusion of the levels, temporal attention, mask prediction and uncertainty estimation.

    The audio enters only through the backbone, an :class:`AudioGuidedBackbone`. The rows of the ablation that concern
    the head are the options ``contrast_loss`` and ``uncertainty_loss``. All numbers are inferred.

    The mask losses train the masks, and ``uncertainty_loss`` alone trains the uncertainty ``u = K / sum alpha``. In
    inference :func:`suppress_uncertain` combines them.

    With K = 1 the logit of the foreground is the score of the second of two classes, the first of which has score 0.

    Args:
        num_classes: K; 1 for the foreground's logit, else classes with background.
        in_channels: Channels C_l of the visual pyramid at strides 4, 8, 16 and 32.
        audio_channels: Channels of an audio token, which the contrast loss compares pixels with.
        embed_dims: Channels C.
        num_heads: Heads of the temporal attention.
        temporal: Whether frames attend to each other.
        temporal_ffn_dims: Hidden channels of the feed-forward network after that attention; None for none.
        contrast_loss: Config of the :class:`ResponseContrastLoss`, or None; gets ``in_channels`` and
            ``audio_channels`` from the head.
        uncertainty_loss: Config of the :class:`EvidenceLoss`, or None for a head without uncertainty.
        mask_weights: Weights of cross-entropy, dice and IoU. The default is that of DDESeg (CVPR 2025).
        class_weights: Weights of the classes in the cross-entropy, see :class:`FrameCrossEntropyLoss`: K, or two
            (background, foreground) for one channel. None for equal ones.
        uncertainty_exponent: Exponent of :func:`suppress_uncertain`; 1 is the paper's ``(1 - u) p``, 0 leaves the
            prediction unchanged.
        relative_uncertainty: Whether to compare u with the mean u of the predicted foreground of the frame; the paper
            does not.
        init_cfg: Initialization config of MMEngine.
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: Sequence[int],
                 audio_channels: int = 128,
                 embed_dims: int = 256,
                 num_heads: int = 8,
                 temporal: bool = True,
                 temporal_ffn_dims: int | None = None,
                 contrast_loss: dict | None = None,
                 uncertainty_loss: dict | None = None,
                 mask_weights: tuple[float, float, float] = (5., 5., 2.),
                 class_weights: Sequence[float] | None = None,
                 uncertainty_exponent: float = 1.,
                 relative_uncertainty: bool = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.fusion = LevelFusion(in_channels, embed_dims)
        self.temporal = TemporalAttention(embed_dims, num_heads, temporal_ffn_dims) if temporal else None
        self.mask_head = nn.Linear(embed_dims, num_classes)
        self.cross_entropy = FrameCrossEntropyLoss(class_weights)
        self.mask_weights = mask_weights
        self.uncertainty_exponent = uncertainty_exponent
        self.relative_uncertainty = relative_uncertainty
        self.contrast_loss = self.uncertainty_loss = None
        if contrast_loss is not None:
            self.contrast_loss = MODELS.build(
                contrast_loss, default_args=dict(in_channels=in_channels, audio_channels=audio_channels))
        if uncertainty_loss is not None:
            self.uncertainty_head = nn.Linear(embed_dims, max(num_classes, 2))
            self.uncertainty_loss = MODELS.build(uncertainty_loss)

    def forward(self, features: AudioGuidedPyramid, audio: Tensor, valid: Tensor | None) -> dict[str, Tensor]:
        """Raw outputs for N frames.

        Args:
            features: Audio-guided visual pyramid, (N, C_l, h_l, w_l) at strides 4, 8, 16, 32.
            audio: Audio tokens (N, tokens, C_a).
            valid: (B, T) bool, which frames exist; None if all N exist and are one clip. Padding frames do not
                influence others.

        Returns:
            dict with

            - ``scores`` (N, K, h, w) at stride 4, before :func:`suppress_uncertain`;
            - with an ``uncertainty_loss``, ``evidence`` (N, max(K, 2), h, w) and ``uncertainty`` (N, h, w) in (0, 1).
        """
        return self._segment(self._attend(features, valid), features[0].shape[2:])

    def _attend(self, features: AudioGuidedPyramid, valid: Tensor | None) -> Tensor:
        """Features F (N, h * w, C) of all frames."""
        if not isinstance(features, AudioGuidedPyramid):
            raise ValueError('RAVSHead gets the audio only through its backbone, but the backbone of this model is not '
                             "audio-guided: set model.backbone=dict(type='AudioGuidedBackbone', backbone=..., ...), "
                             'and no mask_prior')
        # Fused features of each frame
        x = self.fusion(features)
        # Attention between the frames of a clip
        return x if self.temporal is None else self.temporal(x, valid)

    def _segment(self, x: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        """Outputs of frames from their features F (N, h * w, C); scores are float32 also under autocast."""
        scores = in_float32(self.mask_head, x).transpose(1, 2).unflatten(2, size)
        if self.uncertainty_loss is None:
            return dict(scores=scores)
        # Evidence e and uncertainty u
        evidence = F.softplus(self.uncertainty_head(x).float()).transpose(1, 2).unflatten(2, size)
        uncertainty = evidence.shape[1] / (evidence + 1).sum(1)
        return dict(scores=scores, evidence=evidence, uncertainty=uncertainty)

    def loss(self, features: AudioGuidedPyramid, audio: Tensor, valid: Tensor,
             targets: FrameTargets) -> dict[str, Tensor]:
        """Weighted loss terms of the labelled frames.

        ``loss_ce``, ``loss_dice``, ``loss_iou``; if they are configured, ``loss_contrast`` and ``loss_uncertainty``.
        """
        x = self._attend(features, valid)
        # From here on frames are independent, so compute only the labelled ones.
        frames = targets.labelled_or_first()
        targets = targets.select(frames)
        frames = frames.to(x.device, non_blocking=True)
        outputs = self._segment(select_frames(x, frames), features[0].shape[2:])
        scores, masks = self._as_classes(outputs['scores'], targets.masks)

        with disable_autocast(x):
            scores = F.interpolate(scores.float(), masks.shape[1:], mode='bilinear', align_corners=False)
            ce = self.cross_entropy.per_frame(scores, masks)
            dice, iou = frame_overlap_losses(scores.softmax(1), masks)
        losses = {
            name: weight * mean_of_frames(loss, targets.labelled)
            for name, weight, loss in zip(('loss_ce', 'loss_dice', 'loss_iou'), self.mask_weights, (ce, dice, iou))
        }
        if self.contrast_loss is not None:
            losses['loss_contrast'] = self.contrast_loss([select_frames(x, frames) for x in features],
                                                         [select_frames(x, frames) for x in features.responses],
                                                         select_frames(audio, frames), masks, targets.labelled)
        if self.uncertainty_loss is not None:
            losses['loss_uncertainty'] = self.uncertainty_loss(outputs['evidence'], masks, targets.labelled)
        return losses

    def _as_classes(self, scores: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (n, K, h, w) and masks (n, H, W), those of a single channel turned into two classes."""
        if self.num_classes > 1:
            return scores, masks
        masks = torch.where(masks == UNLABELLED, masks, masks.clamp(max=1))
        return torch.cat((torch.zeros_like(scores), scores), 1), masks

    @torch.no_grad()
    def predict(self, features: AudioGuidedPyramid, audio: Tensor, valid: Tensor | None,
                input_shape: tuple[int, int]) -> Tensor:
        """Scores (N, K, h, w) at the size ``input_shape`` of the network input, reduced at uncertain pixels."""
        outputs = self(features, audio, valid)
        scores = outputs['scores']
        if self.uncertainty_loss is not None:
            scores = suppress_uncertain(scores, outputs['uncertainty'], self.uncertainty_exponent,
                                        self.relative_uncertainty)
        return F.interpolate(scores, input_shape, mode='bilinear', align_corners=False)


def suppress_uncertain(scores: Tensor, uncertainty: Tensor, exponent: float = 1., relative: bool = False) -> Tensor:
    """Lower the foreground probability p of uncertain pixels to ``c p``, ``c = ((1 - u) / (1 - v))^exponent <= 1``.

    The background receives the rest. With v = 0 and an exponent of 1 this is the paper's ``(1 - u) p``. With
    ``relative``, v is the mean u of the predicted foreground of the frame, at most 0.8: of two candidate objects the
    more uncertain one is lowered and the other one remains, unless both are uncertain.

    No pixel is raised: one that is predicted as background stays background.

    Args:
        scores: (N, K, h, w) logits of the foreground (K = 1) or of classes with background.
        uncertainty: u (N, h, w) in (0, 1).
        exponent: At least 0.
        relative: Whether v is relative to the predicted foreground of the frame, 0 if nothing is predicted.

    Returns:
        Scores (N, K, h, w), float32 at least, whose sigmoid or softmax are the lowered probabilities.
    """
    scores = at_least_float32(scores)
    log_certainty = (1 - at_least_float32(uncertainty)).clamp(min=1e-6).log()
    if relative:
        foreground = scores[:, 0] > 0 if scores.shape[1] == 1 else scores.argmax(1) != 0  # (N, h, w)
        reference = (uncertainty * foreground).sum((1, 2)) / foreground.sum((1, 2)).clamp(min=1)
        log_certainty = log_certainty - (1 - reference.clamp(max=MAX_REFERENCE)).log()[:, None, None]
    log_c = (exponent * log_certainty).clamp(max=0)
    return lower_foreground(scores, log_c)
