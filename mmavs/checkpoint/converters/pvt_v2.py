"""Convert PVTv2: names of the authors, which AVSBench, AVSegFormer and mmavs keep -> ``PVTv2``."""
import re
from collections.abc import Mapping

from torch import Tensor

from .registry import Converter, Traits, register
from .rules import Conversion, Drop, Rename, apply_rules, check_depths


def pvt_v2_rules(source: str = '', target: str = '') -> list[Rename | Drop]:
    """Make the rules for a PVTv2 whose keys begin with ``source`` and shall begin with ``target``."""
    source = re.escape(source)
    block, ours = source + r'block([1-4])\.(\d+)\.', target + r'block\1.\2.'
    return [
        Rename(source + r'patch_embed([1-4])\.(proj|norm)\.(\w+)', target + r'patch_embed\1.\2.\3'),
        Rename(block + r'norm([12])\.(\w+)', ours + r'norm\3.\4'),
        Rename(block + r'attn\.(q|kv|proj|sr|norm)\.(\w+)', ours + r'attn.\3.\4'),
        Rename(block + r'mlp\.(fc1|dwconv\.dwconv|fc2)\.(\w+)', ours + r'mlp.\3.\4'),
        Rename(source + r'norm([1-4])\.(\w+)', target + r'norm\1.\2'),
    ]


# Names of the backbone in a segmentation checkpoint.
SEGMENTATION = r'(encoder_backbone|backbone)\.'
RULES = [
    *pvt_v2_rules(),
    Drop(r'head\.(weight|bias)', 'ImageNet classifier'),
]


def convert_pvt_v2(weights: Mapping[str, Tensor]) -> Conversion:
    """Convert the weights of the authors' classification model, or of a segmentation checkpoint, for ``PVTv2``."""
    prefix = next((match[0] for key in weights if (match := re.match(SEGMENTATION + r'patch_embed1\.', key))), None)
    if prefix is None:
        return apply_rules(weights, RULES, 'pvtv2')
    prefix = prefix.removesuffix('patch_embed1.')
    rest = Drop(f'(?!{re.escape(prefix)}).*', 'not of the backbone')
    return apply_rules(weights, [*pvt_v2_rules(prefix), rest], 'pvtv2')


def target_config(weights: Mapping[str, Tensor]) -> dict:
    """Derive the config of the backbone from converted weights.

    Raises:
        ValueError: The weights lack a whole stage.
    """
    arch = dict(embed_dims=[], depths=[], mlp_ratios=[])
    for stage in range(1, 5):
        numbers = [int(match[1]) for key in weights if (match := re.match(rf'block{stage}\.(\d+)\.', key))]
        fc1 = weights.get(f'block{stage}.0.mlp.fc1.weight')
        if fc1 is None:
            raise ValueError(f'pvtv2: the checkpoint has no block{stage}.0.mlp.fc1.weight, expected the four stages of '
                             'a PVTv2')
        arch['embed_dims'].append(fc1.shape[1])
        arch['depths'].append(max(numbers) + 1)
        arch['mlp_ratios'].append(fc1.shape[0] // fc1.shape[1])
    check_depths(arch['depths'], weights, 'pvtv2')
    return dict(type='PVTv2', arch=arch)


register('pvtv2', Converter(convert_pvt_v2, RULES, target_config), Traits(backbone=('PVTv2', 'backbone.block1.')))
