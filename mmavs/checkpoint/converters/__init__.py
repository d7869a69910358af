"""Published checkpoints -> state dicts under the names of mmavs, and back; every key is used, or has a reason."""
from collections.abc import Callable, Mapping, Sequence
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
        rules: The table that it uses, for the way back.
        target: Converted state dict -> the model that it belongs to: a component's config, or the path of a config
            file relative to ``configs/``.
        absent: Regular expression for keys of that model that the source does not have.
        left_out: Keys of mmavs that the way back leaves out.
        file: Exported state dict -> what is written for the authors' code.
        arguments: What the file says of a component beside its weights, and the file's name -> further arguments of its
            config; raises a ValueError where the component cannot be what the file says.
    """
    convert: Callable[[Mapping[str, Tensor]], Conversion]
    rules: Sequence[Rename | Drop]
    target: Callable[[Mapping[str, Tensor]], dict | str]
    absent: str = r'(?!)'
    left_out: Sequence[Drop] = ()
    file: Callable[[Mapping[str, Tensor]], dict] = dict
    arguments: Callable[[Any, str], dict] = lambda checkpoint, name: {}


CONVERTERS = {
    'avsegformer': Converter(convert_avsegformer, avsegformer.RULES, avsegformer.target_config),
    'beats': Converter(convert_beats, beats.RULES, beats.target_config, file=beats.published_file,
                       arguments=beats.file_arguments),
    'pvtv2': Converter(convert_pvt_v2, pvt_v2.RULES, pvt_v2.target_config),
    'swin': Converter(convert_swin, swin.RULES, swin.target_config, swin.ABSENT, [swin.POSITION_INDICES]),
    'tpavi': Converter(convert_tpavi, tpavi.RULES, tpavi.target_config, tpavi.ABSENT, tpavi.LEFT_OUT),
    'vct': Converter(vct.vct_conversion, vct.RULES, vct.target_config, left_out=vct.LEFT_OUT, file=vct.detectron2_file),
    'vggish': Converter(convert_vggish, vggish.RULES, vggish.target_config),
}


def export_weights(target: str, weights: Mapping[str, Tensor]) -> Conversion:
    """Weights under the names of mmavs -> those of a published model: the way back of ``CONVERTERS[target].convert``.

    What converting drops is not among them.

    Raises:
        ValueError: A key has no counterpart.
    """
    converter = CONVERTERS[target]
    reversed_rules = [rule.reversed() for rule in converter.rules if isinstance(rule, Rename)]
    return apply_rules(weights, [*converter.left_out, *reversed_rules], f'export to {target}')


__all__ = [
    'CONVERTERS', 'Conversion', 'Converter', 'Drop', 'Rename', 'apply_rules', 'convert_avsegformer',
    'convert_beats', 'convert_pvt_v2', 'convert_swin', 'convert_tpavi', 'convert_vct', 'convert_vggish',
    'export_weights', 'pvt_v2_rules', 'resnet_rules', 'swin_rules'
]
