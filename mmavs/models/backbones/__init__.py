"""Visual backbones beyond those of mmseg and mmpretrain."""
from .audio_guided import AudioGuidedBackbone
from .eva02 import ViTEVA02
from .mask_prior import MaskPriorBranch
from .pvt_v2 import PVTv2
from .simple_feature_pyramid import SimpleFeaturePyramid
from .staged import StagedBackbone, as_staged
from .swin import SwinTransformer

__all__ = [
    'AudioGuidedBackbone', 'MaskPriorBranch', 'PVTv2', 'SimpleFeaturePyramid', 'StagedBackbone', 'SwinTransformer',
    'ViTEVA02', 'as_staged'
]
