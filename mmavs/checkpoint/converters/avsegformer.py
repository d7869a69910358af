"""Convert AVSegFormer: the authors' model (both versions) -> ``AudioVisualSegmentor`` with ``AVSegFormerHead``."""
from collections.abc import Mapping

from torch import Tensor

from .pvt_v2 import pvt_v2_rules
from .registry import Converter, OptionalPart, Traits, register
from .resnet import resnet_rules
from .rules import Conversion, Drop, Rename, apply_rules

GENERATOR = 'head.query_generator.query.weight'
ATTENTION = r'(?:in_proj_|out_proj\.)(?:weight|bias)'
DECODER_LAYER = r'head\.transformer\.decoder\.layers\.(\d)\.'
GENERATOR_LAYER = r'head\.query_generator\.layers\.(\d)\.'

RULES = [
    *pvt_v2_rules('backbone.', 'backbone.'),
    *resnet_rules('backbone.', 'backbone.'),
    # Audio branch
    Rename(r'vggish\.((?:features\.\d+|embeddings\.[024])\.\w+)', r'audio_backbone.\1'),
    Rename(r'audio_proj\.(\w+)', r'decode_head.audio_proj.\1'),
    # Visual tokens
    Rename(r'head\.in_proj\.(\d)\.([01])\.(\w+)', r'decode_head.in_proj.\1.\2.\3'),
    Rename(r'head\.level_embed', r'decode_head.level_embed'),
    Rename(r'head\.transformer\.encoder\.layers\.(\d)\.((?:self_attn\.\w+|norm[12]|linear[12])\.\w+)',
           r'decode_head.encoder.\1.\2'),
    # Queries and decoder
    Rename(r'head\.learnable_query\.weight', r'decode_head.learnable_query.weight'),
    Rename(r'head\.query_generator\.query\.weight', r'decode_head.query_generator.query.weight'),
    Rename(GENERATOR_LAYER + rf'((?:self|cross)_attn\.{ATTENTION}|norm[123]\.\w+)',
           r'decode_head.query_generator.layers.\1.\2'),
    Rename(GENERATOR_LAYER + r'ffn\.0\.(\w+)', r'decode_head.query_generator.layers.\1.linear1.\2'),
    Rename(GENERATOR_LAYER + r'ffn\.2\.(\w+)', r'decode_head.query_generator.layers.\1.linear2.\2'),
    Rename(DECODER_LAYER + rf'((?:self|cross)_attn\.{ATTENTION}|(?:norm[123]|linear[12])\.\w+)',
           r'decode_head.decoder.\1.\2'),
    # Masks
    Rename(r'head\.(lateral_conv|out_conv)\.([01])\.(\w+)', r'decode_head.\1.\2.\3'),
    Rename(r'head\.fusion_block\.((?:q_proj|kv_proj|proj)\.\w+)', r'decode_head.mixer.\1'),
    Rename(r'head\.mlp\.layers\.([012])\.weight', r'decode_head.mask_mlp.layers.\1.weight', lambda x: x.flatten(1),
           lambda x: x[..., None, None]),
    Rename(r'head\.mlp\.layers\.([012])\.bias', r'decode_head.mask_mlp.layers.\1.bias'),
    Rename(r'head\.fc\.([024])\.(\w+)', r'decode_head.mask_head.\1.\2'),
    # Intermediate masks of the first version
    *(Rename(rf'head\.fpn\.up{i + 1}\.1\.(\w+)', rf'decode_head.intermediate_head.convs.{i}.\1') for i in range(3)),
    Rename(r'head\.attn_fc\.([024])\.(\w+)', r'decode_head.intermediate_head.mask_head.\1.\2'),
]
# The files of the second version hold the weights of intermediate masks too, but nothing uses them.
UNUSED_RULES = [
    Drop(r'head\.fpn\.up[123]\.1\.\w+', 'pyramid of intermediate masks, which only the first public version uses'),
    Drop(r'head\.attn_fc\.[024]\.\w+', 'head of intermediate masks, which only the first public version uses'),
]


def convert_avsegformer(weights: Mapping[str, Tensor]) -> Conversion:
    """Convert the state dict of the authors' model, of either version and backbone, to that of its config's model."""
    unused = UNUSED_RULES if GENERATOR in weights else []
    return apply_rules(weights, [*unused, *RULES], 'avsegformer')


def target_config(weights: Mapping[str, Tensor]) -> str:
    """Find the config, relative to ``configs/``, that converted weights belong to.

    Raises:
        ValueError: The weights fit several configs (S4 and MS3 share their architecture), or none.
    """
    version = '' if 'decode_head.query_generator.query.weight' in weights else '-v1'
    backbone = 'r50' if 'backbone.layer1.0.conv1.weight' in weights else 'pvt-v2-b5'
    name = f'avsegformer/avsegformer{version}_{backbone}'
    num_outputs = len(weights.get('decode_head.mask_head.4.weight', ()))
    if num_outputs == 71:
        return f'{name}_avss.py'
    if num_outputs != 1:
        raise ValueError(f'avsegformer: the checkpoint has {num_outputs} output channels, expected 1 (S4, MS3) or 71 '
                         '(AVSS): name the config that it was trained with')
    candidates = [f'configs/{name}{size}_{subset}.py'
                  for size in (('', ) if version else ('-512', '')) for subset in ('s4', 'ms3')]
    raise ValueError('avsegformer: S4 and MS3 have the same model, and the weights tell neither the subset nor the '
                     f"input size of the training: name its config, --config {' or '.join(candidates)}")


register(
    'avsegformer',
    Converter(convert_avsegformer, RULES, target_config),
    Traits(
        published=r'head\.(transformer\.|level_embed)',
        classifier=r'mask_head\.4\.weight$',
        optional_parts=[
            OptionalPart(
                'decode_head.query_generator.query.',
                'a query generator',
                only_in_checkpoint='it is of the second version of AVSegFormer, use a config avsegformer_*',
                only_in_config='it is of the first version of AVSegFormer, use a config avsegformer-v1_*')
        ]))
