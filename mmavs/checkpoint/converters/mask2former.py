"""Rules for what the authors' models of COMBO and VCT share: two image backbones, and the parts of Mask2Former."""
from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor

from .pvt_v2 import pvt_v2_rules
from .resnet import add_batch_counts, detectron2_resnet_rules
from .rules import Conversion, Drop, Rename
from .swin import POSITION_INDICES, add_position_indices, swin_rules

HEAD = r'sem_seg_head\.'
PIXEL_DECODER, PREDICTOR = HEAD + r'pixel_decoder\.', HEAD + r'predictor\.'
ENCODER_LAYER = PIXEL_DECODER + r'transformer\.encoder\.layers\.(\d)\.'

# The published Swin-B of VCT and the two backbones of COMBO, which VCT's released code has too. Each key matches the
# rules of one of them, except the norms of the outputs: Swin and PVTv2 give them the same names, in mmavs too.
BACKBONES = (swin_rules, pvt_v2_rules, detectron2_resnet_rules)

VISUAL_RULES = [
    *(rule for rules in BACKBONES for rule in rules('backbone.', 'backbone.')),
    *(rule for rules in BACKBONES for rule in rules('pre_sam_backbone.', 'mask_prior.backbone.')),
    Rename(r'scale_factor_module\.(\d)\.(fc[12])\.(\w+)', r'mask_prior.gates.\1.\2.\3'),
]
HEAD_RULES = [
    # Projection of the audio
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
    # Loss
    Drop(r'criterion\.empty_weight', 'constant, the class weights of the config'),
]
LEFT_OUT = [
    POSITION_INDICES,
    Drop(r'(?:mask_prior\.)?backbone\..*\.num_batches_tracked', 'detectron2 keeps frozen statistics only'),
]


def add_constants(conversion: Conversion) -> None:
    """Add what the authors' models do not store: position indices of Swin, counts of batch norms."""
    add_position_indices(conversion)
    add_batch_counts(conversion)


def backbone_name(weights: Mapping[str, Tensor]) -> str:
    """Name of the image backbone in the names of configs, from converted weights."""
    if 'backbone.patch_embed1.proj.weight' in weights:
        return 'pvt-v2-b5'
    return 'r50' if 'backbone.conv1.weight' in weights else 'swin-b'


def detectron2_file(weights: Mapping[str, Tensor]) -> dict[str, OrderedDict]:
    """Make the content of a file for detectron2: exported weights as ``model``, with the versions of their modules.

    Without versions the authors' code treats the file as one of an early MaskFormer, and loads only the predictor of
    the head.
    """
    model = OrderedDict(weights)
    model._metadata = OrderedDict((name, dict(version=2)) for name in ('sem_seg_head', 'sem_seg_head.predictor'))
    return dict(model=model)
