"""Convert COMBO (CVPR 2024): the authors' detectron2 model -> ``AudioVisualSegmentor`` with ``COMBOHead``."""
from collections.abc import Mapping

from torch import Tensor

from .mask2former import HEAD, HEAD_RULES, LEFT_OUT, VISUAL_RULES, add_constants, backbone_name, detectron2_file
from .registry import Converter, Traits, register
from .rules import Conversion, Rename, apply_rules

FUSION = HEAD + r'fusion_module\.'
ATTENTION = FUSION + r'b_attn\.attn_list\.0\.'

RULES = [
    *VISUAL_RULES,
    # Audio branch
    Rename(r'audio_backbone\.features\.(\d+)\.(\w+)', r'audio_backbone.features.\1.\2'),
    Rename(r'audio_backbone\.embeddings\.([024])\.(\w+)', r'audio_backbone.embeddings.\1.\2'),
    # Bilateral fusion
    Rename(FUSION + r'(audio_pos|level_embed)\.weight', r'decode_head.fusion.\1.weight'),
    Rename(FUSION + r'b_attn\.layer_norm_v_list\.0\.(\w+)', r'decode_head.fusion.visual_norm.\1'),
    Rename(FUSION + r'b_attn\.layer_norm_a_list\.0\.(\w+)', r'decode_head.fusion.audio_norm.\1'),
    Rename(ATTENTION + r'v_proj\.(\w+)', r'decode_head.fusion.visual_query.\1'),
    Rename(ATTENTION + r'a_proj\.(\w+)', r'decode_head.fusion.audio_key.\1'),
    Rename(ATTENTION + r'values_v_proj\.(\w+)', r'decode_head.fusion.visual_value.\1'),
    Rename(ATTENTION + r'values_a_proj\.(\w+)', r'decode_head.fusion.audio_value.\1'),
    Rename(ATTENTION + r'out_v_proj\.(\w+)', r'decode_head.fusion.visual_out.\1'),
    Rename(ATTENTION + r'out_a_proj\.(\w+)', r'decode_head.fusion.audio_out.\1'),
    Rename(FUSION + r'b_attn\.gamma_v_list\.0', 'decode_head.fusion.visual_scale'),
    Rename(FUSION + r'b_attn\.gamma_a', 'decode_head.fusion.audio_scale'),
    *HEAD_RULES,
]


def convert_combo(weights: Mapping[str, Tensor]) -> Conversion:
    """Convert the state dict of the authors' model (S4, MS3 or AVSS) to that of the matching config's model."""
    conversion = apply_rules(weights, RULES, 'combo')
    add_constants(conversion)
    return conversion


def target_config(weights: Mapping[str, Tensor]) -> str:
    """Find the config, relative to ``configs/``, that converted weights belong to.

    S4 and MS3 have the same model. The authors published the checkpoints of S4 only, hence weights of two classes are
    taken for those of S4.

    Raises:
        ValueError: No published subset has this number of classes.
    """
    # One class more, "no object".
    num_classes = len(weights.get('decode_head.decoder.class_embed.weight', ())) - 1
    subset = {2: 's4', 71: 'avss'}.get(num_classes)
    if subset is None:
        raise ValueError(f'combo: the checkpoint has {num_classes} classes, expected 2 (S4, MS3) or 71 (AVSS): name '
                         'the config that it was trained with')
    return f'combo/combo_{backbone_name(weights)}_{subset}_as-released.py'


register(
    'combo', Converter(convert_combo, RULES, target_config, left_out=LEFT_OUT, file=detectron2_file),
    Traits(published=r'sem_seg_head\.fusion_module\.'))
