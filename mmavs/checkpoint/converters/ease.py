"""Convert EASE: the authors' files, with DINOv3 or PVTv2 -> ``AudioVisualSegmentor`` with ``EASEHead``."""
from collections.abc import Mapping

from torch import Tensor

from .registry import Converter, Traits, register
from .rules import Conversion, Drop, Rename, apply_rules

PREFIX = 'network.'
ENCODER = r'encoder\.backbone\.'
VIT_BLOCK = ENCODER + r'blocks\.(\d+)\.'
# Stages count from 0 in the authors' names, and from 1 in those of PVTv2 and of mmavs.
STAGES = range(3)


def pvt_rules() -> list[Rename]:
    """Rules for the first three stages of PVTv2, in the names of timm."""
    rules = [Rename(ENCODER + r'patch_embed\.(proj|norm)\.(\w+)', r'backbone.patch_embed1.\1.\2')]
    for stage in STAGES:
        source, number = ENCODER + rf'stages\.{stage}\.', stage + 1
        block, ours = source + r'blocks\.(\d+)\.', rf'backbone.block{number}.\1.'
        if stage > 0:  # the first one is above
            patches = rf'backbone.patch_embed{number}.\1.\2'
            rules.append(Rename(source + r'downsample\.(proj|norm)\.(\w+)', patches))
        rules += [
            Rename(block + r'(norm[12])\.(\w+)', ours + r'\2.\3'),
            Rename(block + r'attn\.(q|kv|proj|sr|norm)\.(\w+)', ours + r'attn.\2.\3'),
            Rename(block + r'mlp\.(fc[12])\.(\w+)', ours + r'mlp.\2.\3'),
            Rename(block + r'mlp\.dwconv\.(\w+)', ours + r'mlp.dwconv.dwconv.\2'),
            Rename(source + r'norm\.(\w+)', rf'backbone.norm{number}.\1'),
        ]
    return rules


RULES = [
    # DINOv3
    Rename(ENCODER + r'patch_embed\.(cls_token|register_tokens)', r'backbone.embeddings.\1'),
    Rename(ENCODER + r'patch_embed\.patch_embeddings\.(\w+)', r'backbone.embeddings.patch_embeddings.\1'),
    Rename(VIT_BLOCK + r'((?:norm[12]|attention\.[qkvo]_proj|layer_scale[12]|mlp\.(?:up|down)_proj)\.\w+)',
           r'backbone.blocks.\1.\2'),
    Rename(ENCODER + r'norm\.(\w+)', r'backbone.norm.\1'),
    *pvt_rules(),
    Drop(r'encoder\.pixel_(mean|std)', 'constants, those of the data preprocessor'),
    # Audio
    Rename(r'audio_enhance\.audio_proj\.(\w+)', r'decode_head.audio_enhancer.audio_proj.\1'),
    *(Rename(rf'audio_enhance\.{theirs}_s{i}\.0\.(\w+)', rf'decode_head.audio_enhancer.{ours}{i}.\1')
      for theirs, ours in (('edge_fc', 'edge'), ('offset', 'offset')) for i in (1, 2)),
    Rename(r'audio_enhance\.fusion_s1\.weight', r'decode_head.audio_enhancer.weight1.weight'),
    Drop(r'audio_enhance\.fusion_s2\.weight', 'without effect: its softmax is over one element, which gives 1'),
    Rename(r'audio_enhance\.gumbel_clustering\.cluster_centers', r'decode_head.audio_enhancer.clusters.centers'),
    Rename(r'fuser\.gumbel_clustering\.cluster_centers', r'decode_head.fuser.clusters.centers'),
    Rename(r'fuser\.aud_proj\.weight', r'decode_head.fuser.audio_proj.weight'),
    Rename(r'fuser\.fc\.(\w+)', r'decode_head.fuser.weight.\1'),
    Rename(r'fuser\.va_cross_interaction\.([qkv]_proj)\.weight', r'decode_head.fuser.patch_attn.\1.weight'),
    Rename(r'fuser\.av_cross_interaction\.([qkv]_proj)\.weight', r'decode_head.fuser.audio_attn.\1.weight'),
    # Queries
    Rename(r'q_gen\.([\w.]+)', r'decode_head.query_generator.\1'),
    Rename(r'q\.weight', r'decode_head.query_embed.weight'),
    # Predictions
    Rename(r'(class_head|mask_head\.[024])\.(\w+)', r'decode_head.\1.\2'),
    Rename(r'upscale\.scale_blocks\.([01])\.((?:conv[12]|norm)\.\w+)', r'decode_head.upscale.\1.\2'),
    Drop(r'attn_mask_probs', 'state of the annealing of masked attention, which follows from the step of the training'),
    Drop(r'criterion\.empty_weight', 'constant, the class weights of the config'),
]
LEFT_OUT = [Drop(r'audio_backbone\..*', 'the authors compute the audio embeddings beforehand')]


def convert_ease(weights: Mapping[str, Tensor]) -> Conversion:
    """Convert the content of the authors' file, with or without its prefix ``network.``, to the model of a config."""
    renamed = {key.removeprefix(PREFIX): key for key in weights}
    conversion = apply_rules({name: weights[key] for name, key in renamed.items()}, RULES, 'ease')
    conversion.used = {renamed[name]: target for name, target in conversion.used.items()}
    conversion.dropped = {renamed[name]: reason for name, reason in conversion.dropped.items()}
    return conversion


def authors_file(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Make the content of a file for the authors' code, whose keys have a prefix."""
    return {PREFIX + key: tensor for key, tensor in weights.items()}


def target_config(weights: Mapping[str, Tensor]) -> str:
    """Find the config, relative to ``configs/``, that converted weights belong to.

    Raises:
        ValueError: The weights tell neither the subset nor, for DINOv3, the input size.
    """
    num_queries, channels = weights['decode_head.query_embed.weight'].shape
    num_classes = len(weights['decode_head.class_head.bias']) - 1
    backbone, sizes = {768: 'dinov3-b', 1024: 'dinov3-l'}.get(channels), ('', '-384')
    if 'backbone.patch_embed1.proj.weight' in weights:
        backbone, sizes = 'pvt-v2-b5', ('', ) if num_queries == 29 else ('-384', )
    subsets = {2: ('s4', 'ms3'), 71: ('avss', )}.get(num_classes)
    if backbone is None or subsets is None:
        raise ValueError(f'ease: the checkpoint has {channels} channels and {num_classes} classes, expected 768, 1024 '
                         '(DINOv3) or 320 (PVTv2), and 2 (S4, MS3) or 71 (AVSS): name the config that it was trained '
                         'with')
    candidates = [f'ease/ease_{backbone}{size}_{subset}.py' for size in sizes for subset in subsets]
    if len(candidates) > 1:
        raise ValueError('ease: the weights do not tell what they were trained on, the file name of the authors does: '
                         f"name the config, --config {' or '.join('configs/' + name for name in candidates)}")
    return candidates[0]


register(
    'ease',
    Converter(convert_ease, RULES, target_config, absent=r'audio_backbone\..*', left_out=LEFT_OUT, file=authors_file),
    Traits(published=r'network\.|encoder\.backbone\.|q_gen\.', classifier=r'class_head\.(weight|bias)$', extra_rows=1))
