"""Simple feature pyramid of ViTDet (ECCV 2022): plain vision transformers as backbones of dense prediction."""
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models.utils import LayerNorm2d
from torch import Tensor, nn

from mmavs.registry import MODELS

STRIDE = 16


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Build a pyramid at strides 4, 8, 16 and 32 from the last map of a plain vision transformer.

    Each level applies its own convolutions to that map: transposed ones for strides 4 and 8, max pooling for 32, then
    1x1 and 3x3, with LayerNorm over the channels.

    The map always has stride 16. With patches of 14 pixels (DINOv2, EVA-02) frames are first resized to 14/16 of their
    size, 384 to 336 and 224 to 196. A patch then covers 16x16 pixels of the frame, and the patch embedding stays as
    published.

    Args:
        backbone: Config of the transformer, ``mmpretrain.VisionTransformer`` or :class:`ViTEVA02`; pretrained
            weights are its own ``init_cfg``. Set its ``img_size`` to that of the weights: position embeddings keep the
            shape of the file and are resized to the frames in every step.
        out_channels: Channels of each of the four maps.
        init_cfg: Initialization config of MMEngine.
    """

    def __init__(self, backbone: dict, out_channels: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone, default_args=dict(out_type='featmap'))
        self.patch_size = self.backbone.patch_embed.projection.stride[0]
        full = self.backbone.embed_dims
        half, quarter = full // 2, full // 4
        quadruple = nn.Sequential(
            _double(full, half), LayerNorm2d(half, eps=1e-6), nn.GELU(), _double(half, quarter))
        self.levels = nn.ModuleList([
            _level(quadruple, quarter, out_channels),
            _level(_double(full, half), half, out_channels),
            _level(nn.Identity(), full, out_channels),
            _level(nn.MaxPool2d(2), full, out_channels),
        ])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps (N, out_channels, H / s, W / s) for s = 4, 8, 16, 32 of normalized frames (N, 3, H, W).

        Raises:
            ValueError: H or W is not a multiple of 32.
        """
        height, width = x.shape[2:]
        if height % 32 or width % 32:
            raise ValueError(f'SimpleFeaturePyramid: the frames are {height}x{width}, expected multiples of 32: set '
                             'data_preprocessor.pad_size_divisor=32')
        if self.patch_size != STRIDE:
            grid = height // STRIDE, width // STRIDE
            size = tuple(self.patch_size * patches for patches in grid)
            x = F.interpolate(x, size, mode='bicubic', align_corners=False, antialias=True)
        x = self.backbone(x)[-1]
        return tuple(level(x) for level in self.levels)


def _double(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """Transposed convolution that doubles the height and width of a map."""
    return nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)


def _level(resize: nn.Module, channels: int, out_channels: int) -> nn.Sequential:
    """Level of the pyramid from the map of the transformer; ``resize`` gives it ``channels`` channels."""
    return nn.Sequential(
        resize,
        nn.Conv2d(channels, out_channels, 1, bias=False), LayerNorm2d(out_channels, eps=1e-6),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False), LayerNorm2d(out_channels, eps=1e-6))
