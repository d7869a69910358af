"""Convert AudioMAE: names of timm's vision transformer -> ``AudioMAE``; the decoder of the pre-training is dropped."""
from collections.abc import Mapping

from torch import Tensor

from .registry import Converter, register
from .rules import Conversion, Drop, Rename, apply_rules

BLOCK, LAYER = r'blocks\.(\d+)\.', r'layers.\1.'
RULES = [
    Rename(r'patch_embed\.proj\.(\w+)', r'patch_embed.\1'),
    Rename(r'(cls_token|pos_embed)', r'\1'),
    Rename(BLOCK + r'norm([12])\.(\w+)', LAYER + r'ln\2.\3'),
    Rename(BLOCK + r'attn\.((?:qkv|proj)\.\w+)', LAYER + r'attn.\2'),
    Rename(BLOCK + r'mlp\.fc1\.(\w+)', LAYER + r'ffn.layers.0.0.\2'),
    Rename(BLOCK + r'mlp\.fc2\.(\w+)', LAYER + r'ffn.layers.1.\2'),
    Rename(r'norm\.(\w+)', r'norm.\1'),
    Rename(r'fc_norm\.(\w+)', r'norm.\1'),  # of a fine-tuned model
    Drop(r'decoder_.*|mask_token', 'decoder of the pre-training'),
    Drop(r'head\.(weight|bias)', 'classifier of AudioSet'),
]
# Channels of a head, the same in the small, the base and the large model.
HEAD_DIMS = 64


def convert_audiomae(weights: Mapping[str, Tensor]) -> Conversion:
    """Convert the weights of a pre-trained or fine-tuned model for ``AudioMAE``."""
    return apply_rules(weights, RULES, 'audiomae')


def target_config(weights: Mapping[str, Tensor]) -> dict:
    """Derive the config of the backbone from converted weights."""
    embed_dims = weights['cls_token'].shape[2]
    return dict(
        type='AudioMAE',
        embed_dims=embed_dims,
        num_layers=sum(key.endswith('.attn.qkv.weight') for key in weights),
        num_heads=max(1, embed_dims // HEAD_DIMS),
        ffn_dims=len(weights['layers.0.ffn.layers.0.0.weight']))


register('audiomae', Converter(convert_audiomae, RULES, target_config))
