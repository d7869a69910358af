"""ResNet of AVSBench and AVSegFormer: names of torchvision, and a second branch that nothing uses."""
import re

from .rules import Drop, Rename

TENSORS = r'weight|bias|running_mean|running_var|num_batches_tracked'


def resnet_rules(source: str = '', target: str = '') -> list[Rename | Drop]:
    """Rules for a ResNet whose keys begin with ``source``, for ``mmseg.ResNet`` whose keys begin with ``target``."""
    source = re.escape(source)
    names = rf'\d+\.(?:(?:conv|bn)\d|downsample\.[01])\.(?:{TENSORS})'
    return [
        Rename(source + rf'((?:conv1|bn1)\.(?:{TENSORS}))', target + r'\1'),
        Rename(source + rf'layer([12])\.({names})', target + r'layer\1.\2'),
        Rename(source + rf'layer([34])_1\.({names})', target + r'layer\1.\2'),
        Drop(source + rf'layer[34]_2\.{names}', 'second branch of the ResNet, which nothing uses'),
    ]
