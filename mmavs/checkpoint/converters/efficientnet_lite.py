"""Convert EfficientNet-Lite0: names of ``efficientnet_pytorch``, whose blocks are numbered through -> those of timm."""
from collections.abc import Mapping

from torch import Tensor

from .registry import Converter, register
from .resnet import TENSORS
from .rules import Conversion, Drop, Rename, apply_rules

#: Blocks of each stage.
STAGES = (1, 2, 2, 3, 3, 4, 1)
#: Convolutions and norms of a block. The first stage does not expand its channels, and the norms of timm count from 1.
WITHOUT_EXPANSION = dict(_depthwise_conv='conv_dw', _bn1='bn1', _project_conv='conv_pw', _bn2='bn2')
BLOCK = dict(
    _expand_conv='conv_pw', _bn0='bn1', _depthwise_conv='conv_dw', _bn1='bn2', _project_conv='conv_pwl', _bn2='bn3')


def efficientnet_lite_rules() -> list[Rename | Drop]:
    """Make the rules for a ``TIMMBackbone``, which has its model under ``timm_model``."""
    names = {'_conv_stem': 'conv_stem', '_bn0': 'bn1'}
    blocks = [(stage, index) for stage, count in enumerate(STAGES) for index in range(count)]
    for number, (stage, index) in enumerate(blocks):
        for source, ours in (BLOCK if stage else WITHOUT_EXPANSION).items():
            names[rf'_blocks\.{number}\.{source}'] = f'blocks.{stage}.{index}.{ours}'
    rules = [Rename(rf'{source}\.({TENSORS})', rf'timm_model.{ours}.\1') for source, ours in names.items()]
    return [*rules, Drop(rf'(_conv_head|_bn1|_fc)\.({TENSORS})', 'ImageNet classifier')]


RULES = efficientnet_lite_rules()


def convert_efficientnet_lite(weights: Mapping[str, Tensor]) -> Conversion:
    """Convert the weights of EfficientNet-Lite0 for a ``TIMMBackbone`` with ``features_only=True``."""
    return apply_rules(weights, RULES, 'efficientnet_lite')


def target_config(weights: Mapping[str, Tensor]) -> dict:
    """Derive the config of the backbone, which has one size only."""
    return dict(type='mmpretrain.TIMMBackbone', model_name='tf_efficientnet_lite0', features_only=True,
                out_indices=(1, 2, 3, 4))


register('efficientnet_lite', Converter(convert_efficientnet_lite, RULES, target_config))
