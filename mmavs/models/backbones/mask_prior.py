"""Mask-prior branch, the optional second image branch of COMBO and VCT."""
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmavs.registry import MODELS


class ChannelGate(nn.Module):
    """Squeeze-and-excitation weights of a feature map: (N, C, h, w) -> (N, C, 1, 1) in (0, 1)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, channels // reduction)
        self.fc2 = nn.Linear(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.fc2(self.fc1(x.mean((2, 3))).relu()).sigmoid()
        return weights[:, :, None, None]


@MODELS.register_module()
class MaskPriorBranch(BaseModule):
    """Encode a rendered segmentation of each frame and gate it into the visual features.

    ``F_l <- F_l + g_l(G_l) * G_l`` for every level l, with F the features of the frames, G those of the mask priors
    and g a channel gate computed from G (COMBO, CVPR 2024; VCT, CVPR 2025: "pre-SAM" branch).

    Args:
        backbone: Config of the image backbone; its weights are not shared with the frames' backbone.
        channels: Channels of each level of its output.
        reduction: Channel reduction inside the gates.
    """

    def __init__(self,
                 backbone: dict,
                 channels: tuple[int, ...],
                 reduction: int = 16,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        self.gates = nn.ModuleList(ChannelGate(c, reduction) for c in channels)

    def forward(self, mask_prior: Tensor, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Add the gated features of ``mask_prior`` (N, 3, H, W) to ``features``, a pyramid of (N, C_l, h_l, w_l)."""
        prior_features = self.backbone(mask_prior)
        return tuple(f + gate(g) * g for f, g, gate in zip(features, prior_features, self.gates))
