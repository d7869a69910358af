"""Blocks that more than one head or decoder is built of."""
from .attention import MultiheadAttention
from .deformable_attention import MultiScaleDeformableAttention, deformable_sampling
from .deformable_encoder import DeformableEncoderLayer, encode_pyramid, split_levels
from .mlp import MLP
from .positional_encoding import sine_positional_encoding

__all__ = [
    'DeformableEncoderLayer', 'MLP', 'MultiScaleDeformableAttention', 'MultiheadAttention', 'deformable_sampling',
    'encode_pyramid', 'sine_positional_encoding', 'split_levels'
]
