"""Rules for ResNet within other checkpoints: names of AVSBench and AVSegFormer, or detectron2 -> ``mmseg.ResNet``."""
import re

import torch

from .registry import Traits, register
from .rules import Conversion, Drop, Rename

TENSORS = r'weight|bias|running_mean|running_var|num_batches_tracked'


def resnet_rules(source: str = '', target: str = '') -> list[Rename | Drop]:
    """Make the rules for a ResNet whose keys begin with ``source`` and shall begin with ``target``.

    The names are those of torchvision, and those of a second branch that nothing uses.
    """
    source = re.escape(source)
    names = rf'\d+\.(?:(?:conv|bn)\d|downsample\.[01])\.(?:{TENSORS})'
    return [
        Rename(source + rf'((?:conv1|bn1)\.(?:{TENSORS}))', target + r'\1'),
        Rename(source + rf'layer([12])\.({names})', target + r'layer\1.\2'),
        Rename(source + rf'layer([34])_1\.({names})', target + r'layer\1.\2'),
        Drop(source + rf'layer[34]_2\.{names}', 'second branch of the ResNet, which nothing uses'),
    ]


def detectron2_resnet_rules(source: str = '', target: str = '') -> list[Rename]:
    """Make the rules for a ResNet of detectron2: stem and res2 to res5, each norm inside its convolution."""
    source = re.escape(source)
    rules = [
        Rename(source + r'stem\.conv1\.weight', target + 'conv1.weight'),
        Rename(source + rf'stem\.conv1\.norm\.({TENSORS})', target + r'bn1.\1'),
    ]
    for stage in range(1, 5):
        block, ours = source + rf'res{stage + 1}\.(\d+)\.', target + rf'layer{stage}.\1.'
        rules += [
            Rename(block + r'conv(\d)\.weight', ours + r'conv\2.weight'),
            Rename(block + rf'conv(\d)\.norm\.({TENSORS})', ours + r'bn\2.\3'),
            Rename(block + r'shortcut\.weight', ours + 'downsample.0.weight'),
            Rename(block + rf'shortcut\.norm\.({TENSORS})', ours + r'downsample.1.\2'),
        ]
    return rules


def add_batch_counts(conversion: Conversion) -> None:
    """Add ``num_batches_tracked`` of each BatchNorm, which the frozen ones of detectron2 do not have."""
    for key in list(conversion.state_dict):
        if key.endswith('.running_var'):
            count = key.removesuffix('running_var') + 'num_batches_tracked'
            if count not in conversion.state_dict:
                conversion.state_dict[count] = torch.tensor(0)
                conversion.added[count] = '0; nothing reads it while the statistics are frozen'


register('resnet', traits=Traits(backbone=('ResNet', 'backbone.layer1.')))
