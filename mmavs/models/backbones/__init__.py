"""Visual backbones beyond those of mmseg and mmpretrain."""
from .audio_guided import AudioGuidedBackbone
from .block_backbone import BlockBackbone
from .block_pvt_v2 import BlockPVTv2
from .eva02 import ViTEVA02
from .mask_prior import MaskPriorBranch
from .pvt_v2 import PVTv2
from .simple_feature_pyramid import SimpleFeaturePyramid
from .staged import StagedBackbone, as_staged
from .swin import SwinTransformer
from .timm_cnn import TimmCNN
from .timm_vit import TimmViT
from .transformers_vit import TransformersViT

__all__ = [
    'AudioGuidedBackbone', 'BlockBackbone', 'BlockPVTv2', 'MaskPriorBranch', 'PVTv2', 'SimpleFeaturePyramid',
    'StagedBackbone', 'SwinTransformer', 'TimmCNN', 'TimmViT', 'TransformersViT', 'ViTEVA02', 'as_staged'
]
