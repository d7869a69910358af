"""Blocks that are shared by several heads or decoders."""
from .attention import MultiheadAttention
from .audio_queries import AudioQueryGenerator
from .deformable_attention import MultiScaleDeformableAttention, deformable_sampling
from .deformable_encoder import DeformableEncoderLayer, encode_pyramid, split_levels
from .foreground_gate import lower_foreground
from .gradient_checkpointing import run_checkpointed
from .masked_attention_decoder import MaskedAttentionDecoder, query_masks
from .mlp import MLP
from .positional_encoding import sine_positional_encoding
from .prototype_bank import PrototypeBank
from .query_scores import class_scores
from .token_grouping import empty_groups, group_by_density_peaks, softmax_within_groups, spread_groups, sum_groups

__all__ = [
    'AudioQueryGenerator', 'DeformableEncoderLayer', 'MLP', 'MaskedAttentionDecoder', 'MultiScaleDeformableAttention',
    'MultiheadAttention', 'PrototypeBank', 'class_scores', 'deformable_sampling', 'empty_groups', 'encode_pyramid',
    'group_by_density_peaks', 'lower_foreground', 'query_masks', 'run_checkpointed', 'sine_positional_encoding',
    'softmax_within_groups', 'split_levels', 'spread_groups', 'sum_groups'
]
