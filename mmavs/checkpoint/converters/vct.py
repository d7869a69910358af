"""Convert VCT (CVPR 2025): the authors' detectron2 model -> ``AudioVisualSegmentor`` with ``VCTHead``."""
from collections.abc import Mapping
from math import isqrt

from torch import Tensor

from .mask2former import (
    HEAD_RULES,
    LEFT_OUT,
    PREDICTOR,
    VISUAL_RULES,
    add_constants,
    backbone_name,
    detectron2_file,
)
from .registry import Converter, OptionalPart, Traits, register
from .rules import Conversion, Drop, Rename, apply_rules

QUERY_BLOCK = PREDICTOR + r'visual_query_block\.'

RULES = [
    *VISUAL_RULES,
    # Audio branch
    Rename(r'audio_backbone\.features\.(\d+)\.(\w+)', r'audio_backbone.features.\1.\2'),
    Drop(r'audio_backbone\.embeddings\.[024]\.\w+', 'VCT uses the convolutional map of VGGish, not its embedding'),
    *HEAD_RULES,
    # Query generation
    Rename(QUERY_BLOCK + r'pre_proj\.([024])\.(\w+)', r'decode_head.query_generator.pre_proj.\1.\2'),
    Rename(QUERY_BLOCK + r'query_mixer\.layers\.(\d)\.(\w+)', r'decode_head.query_generator.query_mixer.layers.\1.\2'),
    Rename(QUERY_BLOCK + r'prototype\.weight', r'decode_head.query_generator.prototypes.weight'),
    Rename(QUERY_BLOCK + r'pre_attn\.multihead_attn\.([\w.]+)', r'decode_head.query_generator.prototype_attn.\1'),
    Rename(QUERY_BLOCK + r'pre_attn\.norm\.(\w+)', r'decode_head.query_generator.prototype_norm.\1'),
    Rename(QUERY_BLOCK + r'assign_attn\.([qkv]_proj)\.(\w+)', r'decode_head.query_generator.grouping.\1.\2'),
    Rename(QUERY_BLOCK + r'assign_attn\.proj\.(\w+)', r'decode_head.query_generator.grouping.out_proj.\1'),
    # Losses
    Rename(PREDICTOR + r'(audio_proj|proto_proj)\.weight', r'decode_head.pac_loss.\1.weight'),
    Rename(r'criterion\.logit_scale', r'decode_head.pac_loss.logit_scale'),
]


def convert_vct(weights: Mapping[str, Tensor]) -> Conversion:
    """Convert the state dict of the authors' model (S4, MS3 or AVSS) to that of the matching config's model."""
    conversion = apply_rules(weights, RULES, 'vct')
    add_constants(conversion)
    return conversion


def target_config(weights: Mapping[str, Tensor]) -> str:
    """Find the config, relative to ``configs/``, that converted weights belong to.

    Raises:
        ValueError: No published subset has this number of prototypes.
    """
    prototypes = weights.get('decode_head.query_generator.prototypes.weight', ())
    subset = {0: 'ms3', 23: 's4', 71: 'avss'}.get(len(prototypes))
    if subset is None:
        raise ValueError(f'vct: the checkpoint has {len(prototypes)} prototypes, expected 0 (MS3), 23 (S4) or 71 '
                         '(AVSS): name the config that it was trained with')
    pixels = weights['decode_head.query_generator.query_mixer.layers.0.weight'].shape[1]
    edge = 4 * isqrt(pixels)
    size = '' if edge == 384 else f'-{edge}'
    branch = '_mask-prior' if 'mask_prior.gates.0.fc1.weight' in weights else ''
    return f'vct/vct_{backbone_name(weights)}{size}_{subset}{branch}.py'


register(
    'vct', Converter(convert_vct, RULES, target_config, left_out=LEFT_OUT, file=detectron2_file),
    Traits(
        published=r'sem_seg_head\.',
        classifier=r'class_embed\.(weight|bias)$',
        extra_rows=1,
        events=r'query_generator\.prototypes\.weight$',
        pixels=r'query_mixer\.layers\.0\.weight$',
        optional_parts=[
            OptionalPart(
                'mask_prior.',
                'a mask-prior branch',
                only_in_checkpoint='use the config of the same name with mask-prior in it',
                only_in_config='use the config of the same name without mask-prior in it'),
            OptionalPart(
                'decode_head.query_generator.pre_proj.',
                'queries made of pixels',
                only_in_checkpoint='it is a VCT, use a config vct_*',
                only_in_config='it is an ACT, use a config act_*'),
        ]))
