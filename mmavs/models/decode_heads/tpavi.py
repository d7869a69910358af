"""TPAVI (ECCV 2022), the baseline of AVSBench: every pixel attends to the audio of its group of frames.

Symbols of the paper, as used below: V visual maps of a stage, A the audio, alpha the similarity of the pixels to the
audio of each frame, Z the audio-guided maps.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmavs.models.layers import run_checkpointed
from mmavs.registry import MODELS
from mmavs.structures import FrameTargets, select_frames
from mmavs.utils.exporting import is_recording
from mmavs.utils.precision import in_float32

# Frames that exchange information: a clip of 10 frames is two independent groups, as in the released code.
GROUP_SIZE = 5


class DilatedFusion(nn.ModuleList):
    """Sum of four dilated 3x3 convolutions, the paper's ASPP: (N, C_in, h, w) -> (N, C, h, w)."""

    def __init__(self, in_channels: int, embed_dims: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, embed_dims, 3, padding=dilation, dilation=dilation) for dilation in (3, 6, 12, 18))
        for conv in self:
            nn.init.normal_(conv.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self
        fused = first(x)
        for conv in others:
            fused = fused + conv(x)
        return fused


class FrameGroups:
    """Groups of up to ``size`` consecutive frames of a clip that exchange information.

    Padding does not count, except in a group of nothing else. The exception affects the batch statistics of training
    only, and is what the released code does with the second half of a clip of 5 frames that is padded to 10.

    Args:
        valid: (B, T) bool, False for padding.
        size: Frames in a group; the last group of a clip may have fewer.
        device: Device of the attributes.

    Attributes:
        members: (N, size) int64, the frames of the group of each frame.
        weights: (N, size) float32, the weight of each member, 0 for those that do not count; the sum is 1.
    """

    def __init__(self, valid: Tensor, size: int, device: torch.device) -> None:
        num_clips, num_frames = valid.shape
        frames = torch.arange(num_frames, device=valid.device)
        members = (frames // size * size)[:, None] + torch.arange(size, device=valid.device)  # (T, size)
        in_clip = members < num_frames
        members = members.clamp(max=num_frames - 1)
        counted = valid[:, members] & in_clip  # (B, T, size)
        counted = counted | in_clip & ~counted.any(2, keepdim=True)
        weights = counted / counted.sum(2, keepdim=True)
        members = members + num_frames * torch.arange(num_clips, device=valid.device)[:, None, None]
        self.members, self.weights = (x.flatten(0, 1).to(device, non_blocking=True) for x in (members, weights))


class TPAVI(nn.Module):
    """Temporal pixel-wise audio-visual interaction.

    ``Z = LN(V + BN(mu(alpha g(V))))`` with ``alpha = theta(V)^T phi(A) / L``, over the frames of a group. A group of f
    frames of h x w pixels has L = f h w positions. The audio, and therefore phi, is the same at all pixels of a frame,
    and the sum over the positions of a frame needs only the mean of g: a pixel has one similarity for each frame of its
    group, instead of one for each of the L positions.

    Args:
        embed_dims: Channels C of the map.
        audio_channels: Channels of the audio.
        audio_bias: Whether the projection of the audio to C channels has a bias.
    """

    def __init__(self, embed_dims: int, audio_channels: int, audio_bias: bool) -> None:
        super().__init__()
        self.align_channel = nn.Linear(audio_channels, embed_dims, bias=audio_bias)
        self.theta = nn.Linear(embed_dims, embed_dims // 2)
        self.phi = nn.Linear(embed_dims, embed_dims // 2)
        self.g = nn.Linear(embed_dims, embed_dims // 2)
        self.mu = nn.Linear(embed_dims // 2, embed_dims)
        self.batch_norm = nn.BatchNorm1d(embed_dims)
        self.norm = nn.LayerNorm(embed_dims)
        # The initial block is LN(V).
        nn.init.zeros_(self.batch_norm.weight)

    def forward(self, visual_map: Tensor, audio: Tensor, groups: FrameGroups) -> tuple[Tensor, Tensor]:
        """Z (N, C, h, w) and the projected audio (N, C), from V (N, C, h, w) and the audio (N, C_a)."""
        visual = visual_map.flatten(2)  # (N, C, h * w)
        projected_audio = self.align_channel(audio)
        phi = self.phi(projected_audio)[groups.members]  # (N, frames, C / 2)
        g = self.g(visual.mean(2))[groups.members] * groups.weights.unsqueeze(2)  # (N, frames, C / 2)

        # alpha (N, frames, h * w); theta acts on phi, and mu below on g, which is cheaper than on all pixels.
        alpha = torch.baddbmm((phi @ self.theta.bias).unsqueeze(2), phi @ self.theta.weight, visual)
        # mu(alpha g) (N, C, h * w)
        update = torch.baddbmm(self.mu.bias[:, None], F.linear(g, self.mu.weight).transpose(1, 2), alpha)
        fused = (visual + self.batch_norm(update)).transpose(1, 2)
        return self.norm(fused).transpose(1, 2).unflatten(2, visual_map.shape[-2:]), projected_audio


class ResidualConvUnit(nn.Module):
    """``conv(ReLU(conv(r))) + r`` with r = ReLU(x), which is also the skip: the released code rectifies in place."""

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(embed_dims, embed_dims, 3, padding=1)
        self.conv2 = nn.Conv2d(embed_dims, embed_dims, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        rectified = x.relu()
        return self.conv2(self.conv1(rectified).relu_()) + rectified


class PyramidDecoder(nn.Module):
    """Refine, add and upsample the maps from coarse to fine, then predict logits at the size of the frames.

    Args:
        embed_dims: Channels C of the maps.
        num_classes: Output channels K.
        with_cp: Gradient checkpointing of the last convolutions.
    """

    def __init__(self, embed_dims: int, num_classes: int, with_cp: bool) -> None:
        super().__init__()
        self.with_cp = with_cp
        # Finest first; the coarsest map has no lateral unit.
        self.lateral = nn.ModuleList(ResidualConvUnit(embed_dims) for _ in range(3))
        self.refine = nn.ModuleList(ResidualConvUnit(embed_dims) for _ in range(4))
        self.output_conv = nn.Sequential(
            nn.Conv2d(embed_dims, 128, 3, padding=1), nn.Upsample(scale_factor=2, mode='bilinear', align_corners=False),
            nn.Conv2d(128, 32, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(32, num_classes, 1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits (N, K, H, W) from maps (N, C, h_l, w_l) at strides 4, 8, 16 and 32."""
        x = _double(self.refine[3](maps[3]))
        for level in (2, 1, 0):
            x = _double(self.refine[level](x + self.lateral[level](maps[level])))
        return run_checkpointed(self.with_cp, self._classify, x)

    def _classify(self, x: Tensor) -> Tensor:
        *hidden, classifier = self.output_conv
        for layer in hidden:
            x = layer(x)
        # Logits in float32 also under autocast: half precision would make classes equal.
        return in_float32(classifier, x)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=True)


@MODELS.register_module()
class TPAVIHead(BaseModule):
    """Head of the AVSBench baseline: dilated fusion, TPAVI at the chosen stages, FPN-like decoder.

    Defaults are those of the released code.

    Args:
        num_classes: K; 1 for the foreground's logit (S4, MS3), else classes with background.
        in_channels: Channels C_l of the visual pyramid at strides 4, 8, 16 and 32.
        mask_loss: Config of the loss of the masks, such as :class:`MaskLoss`.
        audio_channels: Channels of an audio token; several tokens of a frame are averaged.
        embed_dims: Channels C.
        stages: Stages, counted from 0, that have a TPAVI block.
        audio_bias: Whether the projections of the audio have a bias: yes in the released code of S4 and MS3, no in that
            of AVSS.
        avm_loss: Config of the audio-visual matching loss, or None.
        init_cfg: Initialization config of MMEngine. The constructor initializes as the released code does.
        with_cp: Gradient checkpointing of the last convolutions, whose maps are the largest of the head.
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: Sequence[int],
                 mask_loss: dict,
                 audio_channels: int = 128,
                 embed_dims: int = 256,
                 stages: Sequence[int] = (0, 1, 2, 3),
                 audio_bias: bool = True,
                 avm_loss: dict | None = None,
                 init_cfg: dict | None = None,
                 with_cp: bool = False) -> None:
        super().__init__(init_cfg)
        if len(in_channels) != 4:
            raise ValueError(f'TPAVIHead: in_channels is {tuple(in_channels)}, expected the channels of four stages')
        if not set(stages) <= {0, 1, 2, 3}:
            raise ValueError(f'TPAVIHead: stages is {tuple(stages)}, expected some of 0, 1, 2, 3')
        if avm_loss is not None and not stages:
            raise ValueError('TPAVIHead: avm_loss compares the audio with the maps of stages with TPAVI, but stages is '
                             'empty: set some, or avm_loss=None')
        self.num_classes = num_classes
        self.stages = tuple(sorted(stages))
        self.fusion = nn.ModuleList(DilatedFusion(channels, embed_dims) for channels in in_channels)
        self.tpavi = nn.ModuleDict({str(i): TPAVI(embed_dims, audio_channels, audio_bias) for i in self.stages})
        self.decoder = PyramidDecoder(embed_dims, num_classes, with_cp)
        self.mask_loss = MODELS.build(mask_loss)
        self.avm_loss = MODELS.build(avm_loss) if avm_loss else None

    def forward(self, features: Sequence[Tensor], audio: Tensor,
                valid: Tensor | None) -> dict[str, Tensor | list[Tensor]]:
        """Raw outputs for N frames.

        Args:
            features: Visual pyramid, (N, C_l, h_l, w_l) at strides 4, 8, 16, 32 of frames whose height and width are
                multiples of 32.
            audio: Audio tokens (N, tokens, C_a).
            valid: (B, T) bool, which frames exist; None if all N exist and are one clip. Padding frames influence
                others only through the batch statistics of training, as in the released code.

        Returns:
            dict with

            - ``logits`` (N, K, H, W);
            - ``visual_maps``, the rectified maps (N, C, h_l, w_l) of the four stages;
            - ``projected_audio``, the audio (N, C) as projected by the TPAVI block of each of ``stages``.
        """
        visual_maps, projected_audio = self._interact(features, audio, valid)
        return dict(logits=self.decoder(visual_maps), visual_maps=visual_maps, projected_audio=projected_audio)

    def _interact(self, features: Sequence[Tensor], audio: Tensor,
                  valid: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        """Rectified maps of the four stages, and the projected audio of those with a TPAVI block."""
        exists = None
        if valid is None:
            valid = torch.ones(1, features[0].shape[0], dtype=torch.bool, device=audio.device)
        elif is_recording() or not valid.all():
            exists = valid.flatten().to(audio.device, audio.dtype, non_blocking=True)
        groups = FrameGroups(valid, GROUP_SIZE, audio.device)
        audio = audio.mean(1)  # (N, C_a)
        if exists is not None:
            audio = audio * exists[:, None]

        visual_maps, projected_audio = [], []
        for i, (fusion, feature) in enumerate(zip(self.fusion, features)):
            # Visual map V (N, C, h_l, w_l)
            x = fusion(feature)
            if exists is not None:
                x = x * exists[:, None, None, None]
            # Temporal pixel-wise interaction with the audio
            if i in self.stages:
                x, stage_audio = self.tpavi[str(i)](x, audio, groups)
                projected_audio.append(stage_audio)
            # The released decoder rectifies in place, so the matching loss gets rectified maps as well.
            visual_maps.append(x.relu())
        return visual_maps, projected_audio

    def loss(self, features: Sequence[Tensor], audio: Tensor, valid: Tensor,
             targets: FrameTargets) -> dict[str, Tensor]:
        """``loss_mask``, and with an ``avm_loss`` ``loss_avm``, of the labelled frames."""
        visual_maps, projected_audio = self._interact(features, audio, valid)
        # The decoder treats frames independently, so decode only the labelled ones.
        frames = targets.labelled_frames
        targets = targets.select(frames)
        frames = frames.to(audio.device, non_blocking=True)
        visual_maps = [select_frames(x, frames) for x in visual_maps]
        projected_audio = [select_frames(x, frames) for x in projected_audio]
        logits = self.decoder(visual_maps)
        losses = dict(loss_mask=self.mask_loss(logits, targets.masks, targets.labelled))
        if self.avm_loss is not None:
            losses['loss_avm'] = self.avm_loss(logits, [visual_maps[i] for i in self.stages], projected_audio,
                                               targets.masks)
        return losses

    @torch.no_grad()
    def predict(self, features: Sequence[Tensor], audio: Tensor, valid: Tensor | None,
                input_shape: tuple[int, int]) -> Tensor:
        """Logits (N, K, H, W), float32, at the size ``input_shape`` of the network input."""
        return self(features, audio, valid)['logits']
