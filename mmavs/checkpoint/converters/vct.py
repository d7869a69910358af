"""Convert VCT (CVPR 2025): the authors' detectron2 model -> ``AudioVisualSegmentor`` with ``VCTHead``."""
from collections import OrderedDict
from collections.abc import Mapping
from math import isqrt

from torch import Tensor

from .pvt_v2 import pvt_v2_rules
from .registry import Converter, OptionalPart, Traits, register
from .resnet import add_batch_counts, detectron2_resnet_rules
from .rules import Conversion, Drop, Rename, apply_rules
from .swin import POSITION_INDICES, add_position_indices, swin_rules

HEAD = r'sem_seg_head\.'
PIXEL_DECODER, PREDICTOR = HEAD + r'pixel_decoder\.', HEAD + r'predictor\.'
QUERY_BLOCK = PREDICTOR + r'visual_query_block\.'
ENCODER_LAYER = PIXEL_DECODER + r'transformer\.encoder\.layers\.(\d)\.'

# The published Swin-B and the two other backbones of the released code. Each key matches the rules of one of them,
# except the norms of the outputs: Swin and PVTv2 give them the same names, in mmavs too.
BACKBONES = (swin_rules, pvt_v2_rules, detectron2_resnet_rules)

RULES = [
    # Visual branch
    *(rule for rules in BACKBONES for rule in rules('backbone.', 'backbone.')),
    *(rule for rules in BACKBONES for rule in rules('pre_sam_backbone.', 'mask_prior.backbone.')),
    Rename(r'scale_factor_module\.(\d)\.(fc[12])\.(\w+)', r'mask_prior.gates.\1.\2.\3'),
    # Audio branch
    Rename(r'audio_backbone\.features\.(\d+)\.(\w+)', r'audio_backbone.features.\1.\2'),
    Drop(r'audio_backbone\.embeddings\.[024]\.\w+', 'VCT uses the convolutional map of VGGish, not its embedding'),
    Rename(HEAD + r'audio_transformation\.embeddings\.0\.(\w+)', r'decode_head.audio_mlp.layers.0.\1'),
    Rename(HEAD + r'audio_transformation\.embeddings\.2\.(\w+)', r'decode_head.audio_mlp.layers.1.\1'),
    Rename(HEAD + r'audio_transformation\.embeddings\.4\.(\w+)', r'decode_head.audio_mlp.layers.2.\1'),
    # Pixel decoder
    Rename(PIXEL_DECODER + r'input_proj\.(\d)\.([01])\.(\w+)', r'decode_head.pixel_decoder.input_proj.\1.\2.\3'),
    Rename(PIXEL_DECODER + r'transformer\.level_embed', r'decode_head.pixel_decoder.level_embed'),
    Rename(ENCODER_LAYER + r'((?:self_attn\.\w+|norm[12]|linear[12])\.\w+)', r'decode_head.pixel_decoder.layers.\1.\2'),
    Rename(PIXEL_DECODER + r'adapter_1\.weight', r'decode_head.pixel_decoder.lateral_conv.0.weight'),
    Rename(PIXEL_DECODER + r'adapter_1\.norm\.(\w+)', r'decode_head.pixel_decoder.lateral_conv.1.\1'),
    Rename(PIXEL_DECODER + r'layer_1\.weight', r'decode_head.pixel_decoder.output_conv.0.weight'),
    Rename(PIXEL_DECODER + r'layer_1\.norm\.(\w+)', r'decode_head.pixel_decoder.output_conv.1.\1'),
    Rename(PIXEL_DECODER + r'mask_features\.(\w+)', r'decode_head.pixel_decoder.mask_features.\1'),
    # Query generation
    Rename(QUERY_BLOCK + r'pre_proj\.([024])\.(\w+)', r'decode_head.query_generator.pre_proj.\1.\2'),
    Rename(QUERY_BLOCK + r'query_mixer\.layers\.(\d)\.(\w+)', r'decode_head.query_generator.query_mixer.layers.\1.\2'),
    Rename(QUERY_BLOCK + r'prototype\.weight', r'decode_head.query_generator.prototypes.weight'),
    Rename(QUERY_BLOCK + r'pre_attn\.multihead_attn\.([\w.]+)', r'decode_head.query_generator.prototype_attn.\1'),
    Rename(QUERY_BLOCK + r'pre_attn\.norm\.(\w+)', r'decode_head.query_generator.prototype_norm.\1'),
    Rename(QUERY_BLOCK + r'assign_attn\.([qkv]_proj)\.(\w+)', r'decode_head.query_generator.grouping.\1.\2'),
    Rename(QUERY_BLOCK + r'assign_attn\.proj\.(\w+)', r'decode_head.query_generator.grouping.out_proj.\1'),
    # Decoder
    Rename(PREDICTOR + r'transformer_cross_attention_layers\.(\d)\.multihead_attn\.([\w.]+)',
           r'decode_head.decoder.layers.\1.cross_attn.\2'),
    Rename(PREDICTOR + r'transformer_cross_attention_layers\.(\d)\.norm\.(\w+)',
           r'decode_head.decoder.layers.\1.norm1.\2'),
    Rename(PREDICTOR + r'transformer_self_attention_layers\.(\d)\.self_attn\.([\w.]+)',
           r'decode_head.decoder.layers.\1.self_attn.\2'),
    Rename(PREDICTOR + r'transformer_self_attention_layers\.(\d)\.norm\.(\w+)',
           r'decode_head.decoder.layers.\1.norm2.\2'),
    Rename(PREDICTOR + r'transformer_ffn_layers\.(\d)\.(linear[12])\.(\w+)', r'decode_head.decoder.layers.\1.\2.\3'),
    Rename(PREDICTOR + r'transformer_ffn_layers\.(\d)\.norm\.(\w+)', r'decode_head.decoder.layers.\1.norm3.\2'),
    Rename(PREDICTOR + r'decoder_norm\.(\w+)', r'decode_head.decoder.norm.\1'),
    Rename(PREDICTOR + r'(query_feat|query_embed|level_embed)\.weight', r'decode_head.decoder.\1.weight'),
    Rename(PREDICTOR + r'class_embed\.(\w+)', r'decode_head.decoder.class_embed.\1'),
    Rename(PREDICTOR + r'mask_embed\.layers\.([012])\.(\w+)', r'decode_head.decoder.mask_embed.layers.\1.\2'),
    # Losses
    Rename(PREDICTOR + r'(audio_proj|proto_proj)\.weight', r'decode_head.pac_loss.\1.weight'),
    Rename(r'criterion\.logit_scale', r'decode_head.pac_loss.logit_scale'),
    Drop(r'criterion\.empty_weight', 'constant, the class weights of the config'),
]
LEFT_OUT = [
    POSITION_INDICES,
    Drop(r'(?:mask_prior\.)?backbone\..*\.num_batches_tracked', 'detectron2 keeps frozen statistics only'),
]


def convert_vct(weights: Mapping[str, Tensor]) -> Conversion:
    """Convert the state dict of the authors' model (S4, MS3 or AVSS) to that of the matching config's model."""
    conversion = apply_rules(weights, RULES, 'vct')
    add_position_indices(conversion)
    add_batch_counts(conversion)
    return conversion


def detectron2_file(weights: Mapping[str, Tensor]) -> dict[str, OrderedDict]:
    """Make the content of a file for detectron2: exported weights as ``model``, with the versions of their modules.

    Without versions the authors' code treats the file as one of an early MaskFormer, and loads only the predictor of
    the head.
    """
    model = OrderedDict(weights)
    model._metadata = OrderedDict((name, dict(version=2)) for name in ('sem_seg_head', 'sem_seg_head.predictor'))
    return dict(model=model)


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
    backbone = 'swin-b'
    if 'backbone.patch_embed1.proj.weight' in weights:
        backbone = 'pvt-v2-b5'
    elif 'backbone.conv1.weight' in weights:
        backbone = 'r50'
    edge = 4 * isqrt(pixels)
    size = '' if edge == 384 else f'-{edge}'
    branch = '_mask-prior' if 'mask_prior.gates.0.fc1.weight' in weights else ''
    return f'vct/vct_{backbone}{size}_{subset}{branch}.py'


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
