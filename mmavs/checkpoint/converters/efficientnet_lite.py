"""Convert EfficientNet-Lite: names of ``efficientnet_pytorch``, whose blocks are numbered through -> those of timm."""
from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from .registry import Converter, register
from .resnet import TENSORS
from .rules import Conversion, Drop, Rename, apply_rules

#: Converter -> model of timm, blocks of each stage.
MODELS = {
    'efficientnet_lite': ('tf_efficientnet_lite0', (1, 2, 2, 3, 3, 4, 1)),
    'efficientnet_lite1': ('tf_efficientnet_lite1', (1, 3, 3, 4, 4, 5, 1)),
    'efficientnet_lite2': ('tf_efficientnet_lite2', (1, 3, 3, 4, 4, 5, 1)),
}
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


for name, (model_name, stages) in MODELS.items():
    rules = efficientnet_lite_rules(stages)
    register(name, Converter(partial(_convert, rules=rules, name=name), rules, partial(_target, model_name=model_name)))
