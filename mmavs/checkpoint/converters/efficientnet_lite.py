"""Convert EfficientNet-Lite: names of ``efficientnet_pytorch``, with blocks numbered across stages -> those of timm."""
from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from .registry import Converter, register
from .resnet import TENSORS
from .rules import Conversion, Drop, Rename, apply_rules

#: Blocks of each stage.
LITE0_BLOCKS = (1, 2, 2, 3, 3, 4, 1)
LITE1_BLOCKS = LITE2_BLOCKS = (1, 3, 3, 4, 4, 5, 1)
#: Convolutions and norms of a block. The first stage does not expand its channels, and the norms of timm count from 1.
WITHOUT_EXPANSION = dict(_depthwise_conv='conv_dw', _bn1='bn1', _project_conv='conv_pw', _bn2='bn2')
BLOCK = dict(
    _expand_conv='conv_pw', _bn0='bn1', _depthwise_conv='conv_dw', _bn1='bn2', _project_conv='conv_pwl', _bn2='bn3')


def efficientnet_lite_rules(stages: Sequence[int]) -> list[Rename | Drop]:
    """Make the rules for a ``TIMMBackbone``, whose model is ``timm_model``, from the number of blocks of each stage."""
    names = {'_conv_stem': 'conv_stem', '_bn0': 'bn1'}
    blocks = [(stage, index) for stage, count in enumerate(stages) for index in range(count)]
    for number, (stage, index) in enumerate(blocks):
        for source, ours in (BLOCK if stage else WITHOUT_EXPANSION).items():
            names[rf'_blocks\.{number}\.{source}'] = f'blocks.{stage}.{index}.{ours}'
    rules = [Rename(rf'{source}\.({TENSORS})', rf'timm_model.{ours}.\1') for source, ours in names.items()]
    return [*rules, Drop(rf'(_conv_head|_bn1|_fc)\.({TENSORS})', 'ImageNet classifier')]


def _convert(weights: Mapping[str, Tensor], rules: Sequence[Rename | Drop], name: str) -> Conversion:
    return apply_rules(weights, rules, name)


def _target(weights: Mapping[str, Tensor], model_name: str) -> dict:
    return dict(type='mmpretrain.TIMMBackbone', model_name=model_name, features_only=True, out_indices=(1, 2, 3, 4))


def _parts(name: str, model_name: str, stages: Sequence[int]) -> tuple:
    """Make the arguments of a converter from its name, the model of timm and the blocks of its stages."""
    rules = efficientnet_lite_rules(stages)
    return partial(_convert, rules=rules, name=name), rules, partial(_target, model_name=model_name)


register('efficientnet_lite', Converter(*_parts('efficientnet_lite', 'tf_efficientnet_lite0', LITE0_BLOCKS)))
register('efficientnet_lite1', Converter(*_parts('efficientnet_lite1', 'tf_efficientnet_lite1', LITE1_BLOCKS)))
register('efficientnet_lite2', Converter(*_parts('efficientnet_lite2', 'tf_efficientnet_lite2', LITE2_BLOCKS)))
