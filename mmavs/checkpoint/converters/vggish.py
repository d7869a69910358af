"""Convert VGGish: names of torchvggish, which mmavs keeps."""
from collections.abc import Mapping

from torch import Tensor

from .registry import Converter, register
from .rules import Conversion, Drop, Rename, apply_rules

RULES = [
    Rename(r'(features\.(?:0|3|6|8|11|13)\.(?:weight|bias))', r'\1'),
    Rename(r'(embeddings\.[024]\.(?:weight|bias))', r'\1'),
    Drop(r'pproc\.pca_(eigen_vectors|means)', 'post-processor, not used for segmentation'),
]


def convert_vggish(weights: Mapping[str, Tensor]) -> Conversion:
    """Convert the weights of torchvggish for ``VGGish``."""
    return apply_rules(weights, RULES, 'vggish')


def target_config(weights: Mapping[str, Tensor]) -> dict:
    """Derive the config of the backbone, which has one size only."""
    return dict(type='VGGish')


register('vggish', Converter(convert_vggish, RULES, target_config))
