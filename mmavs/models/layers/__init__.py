"""Blocks that more than one head or decoder is built of."""
from .attention import MultiheadAttention
from .deformable_attention import MultiScaleDeformableAttention, deformable_sampling
from .mlp import MLP
from .positional_encoding import sine_positional_encoding

__all__ = [
    'MLP', 'MultiScaleDeformableAttention', 'MultiheadAttention', 'deformable_sampling', 'sine_positional_encoding'
]
