"""Published checkpoints -> state dicts under the names of mmavs; every key is used, or dropped with a reason."""
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from . import avsegformer, beats, pvt_v2, swin, tpavi, vct, vggish
from .avsegformer import convert_avsegformer
from .beats import convert_beats
from .pvt_v2 import convert_pvt_v2, pvt_v2_rules
from .resnet import resnet_rules
from .rules import Conversion, Drop, Rename, apply_rules
from .swin import convert_swin, swin_rules
from .tpavi import convert_tpavi
from .vct import convert_vct
from .vggish import convert_vggish


class Converter(NamedTuple):
    """What is known of a source.

    Attributes:
        convert: State dict of the source -> :class:`Conversion`.
        target: Converted state dict -> the model that it belongs to: a component's config, or the path of a config
            file relative to ``configs/``.
        absent: Regular expression for keys of that model that the source does not have.
        arguments: What the file says of a component beside its weights, and the file's name -> further arguments of its
            config; raises a ValueError where the component cannot be what the file says.
    """
    convert: Callable[[Mapping[str, Tensor]], Conversion]
    target: Callable[[Mapping[str, Tensor]], dict | str]
    absent: str = r'(?!)'
    arguments: Callable[[Any, str], dict] = lambda checkpoint, name: {}


CONVERTERS = {
    'avsegformer': Converter(convert_avsegformer, avsegformer.target_config),
    'beats': Converter(convert_beats, beats.target_config, arguments=beats.file_arguments),
    'pvtv2': Converter(convert_pvt_v2, pvt_v2.target_config),
    'swin': Converter(convert_swin, swin.target_config, swin.ABSENT),
    'tpavi': Converter(convert_tpavi, tpavi.target_config, tpavi.ABSENT),
    'vct': Converter(vct.vct_conversion, vct.target_config),
    'vggish': Converter(convert_vggish, vggish.target_config),
}

__all__ = [
    'CONVERTERS', 'Conversion', 'Converter', 'Drop', 'Rename', 'apply_rules', 'convert_avsegformer',
    'convert_beats', 'convert_pvt_v2', 'convert_swin', 'convert_tpavi', 'convert_vct', 'convert_vggish',
    'pvt_v2_rules', 'resnet_rules', 'swin_rules'
]
