"""Convert BEATs: the keys stay, and the ``cfg`` in the authors' files becomes arguments of the backbone."""
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .registry import Converter, register
from .rules import Conversion, Drop, Rename, apply_rules

TENSORS = r'weight|bias'
LAYER = r'encoder\.layers\.\d+\.'
RULES = [
    Rename(r'patch_embedding\.weight', 'patch_embedding.weight'),
    Rename(rf'((?:encoder\.)?layer_norm\.(?:{TENSORS}))', r'\1'),
    Rename(rf'(post_extract_proj\.(?:{TENSORS}))', r'\1'),
    Rename(r'(encoder\.pos_conv\.0\.(?:bias|weight_g|weight_v))', r'\1'),
    Rename(r'(encoder\.layers\.0\.self_attn\.relative_attention_bias\.weight)', r'\1'),
    Drop(LAYER + r'self_attn\.relative_attention_bias\.weight', 'the table of the first layer, which all layers share'),
    Rename(rf'({LAYER}self_attn\.(?:(?:[qkv]_proj|out_proj|grep_linear)\.(?:{TENSORS})|grep_a))', r'\1'),
    Rename(rf'({LAYER}(?:self_attn_layer_norm|fc1|fc2|final_layer_norm)\.(?:{TENSORS}))', r'\1'),
    Drop(rf'predictor\.(?:{TENSORS})', 'classifier of AudioSet'),
]

# Entries of cfg -> arguments of BEATs.
ARGUMENTS = dict(
    embed_dim='patch_dims',
    encoder_layers='num_layers',
    encoder_embed_dim='embed_dims',
    encoder_ffn_embed_dim='ffn_dims',
    encoder_attention_heads='num_heads',
    num_buckets='num_buckets',
    max_distance='max_distance',
    conv_pos='conv_size',
    conv_pos_groups='conv_groups')
# Entries of cfg with the one value that BEATs supports; all others concern training.
FIXED = dict(
    input_patch_size=16,
    conv_bias=False,
    activation_fn='gelu',
    layer_norm_first=False,
    deep_norm=True,
    relative_position_embedding=True,
    gru_rel_pos=True)
# Value in all published files; the weights do not show it.
MAX_DISTANCE = 800


def convert_beats(weights: Mapping[str, Tensor]) -> Conversion:
    """Convert the weights of a pretrained or fine-tuned model for ``BEATs``."""
    return apply_rules(weights, RULES, 'beats')


def target_config(weights: Mapping[str, Tensor]) -> dict:
    """Derive the config of the backbone from converted weights; they do not show ``max_distance``.

    Raises:
        ValueError: The weights are those of an older BEATs, without gated relative positions.
    """
    first = 'encoder.layers.0.self_attn.'
    missing = [key for key in (first + 'grep_a', first + 'relative_attention_bias.weight') if key not in weights]
    if missing:
        raise ValueError(f'beats: the checkpoint has no {missing[0]}, expected a BEATs with gated relative positions '
                         '(iter3 and later)')
    patches, conv = weights['post_extract_proj.weight'], weights['encoder.pos_conv.0.weight_v']
    return dict(
        type='BEATs',
        patch_dims=patches.shape[1],
        num_layers=sum(key.endswith('.fc1.weight') for key in weights),
        embed_dims=patches.shape[0],
        ffn_dims=len(weights['encoder.layers.0.fc1.weight']),
        num_heads=weights[first + 'grep_a'].shape[1],
        num_buckets=len(weights[first + 'relative_attention_bias.weight']),
        conv_size=conv.shape[2],
        conv_groups=len(conv) // conv.shape[1])


def published_file(weights: Mapping[str, Tensor]) -> dict[str, dict]:
    """Make the content of a file for the authors' code: exported weights as ``model``, and their ``cfg``."""
    arguments = dict(target_config(weights), max_distance=MAX_DISTANCE)
    return dict(cfg=FIXED | {key: arguments[name] for key, name in ARGUMENTS.items()}, model=dict(weights))


def file_arguments(checkpoint: Any, name: str) -> dict[str, int]:
    """Read the arguments of ``BEATs`` from a file, none if it holds weights only; see :func:`beats_arguments`."""
    return beats_arguments(checkpoint['cfg'], name) if 'cfg' in checkpoint else {}


def beats_arguments(cfg: Mapping[str, Any], name: str) -> dict[str, int]:
    """Translate the cfg of a published file to arguments of ``BEATs``.

    Args:
        cfg: The cfg.
        name: Name of the file, for the error.

    Raises:
        ValueError: The cfg describes a model that ``BEATs`` does not support.
    """
    for key, value in FIXED.items():
        if cfg.get(key, value) != value:
            raise ValueError(f'{name}: its cfg says {key}={cfg[key]!r}, BEATs supports only {key}={value!r}: use '
                             'a checkpoint of iter3 or later')
    return {argument: cfg[key] for key, argument in ARGUMENTS.items() if key in cfg}


register('beats', Converter(convert_beats, RULES, target_config, file=published_file, arguments=file_arguments))
