"""Registry of converters, and of the names by which the weights of a method or a backbone are recognized."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .rules import Conversion, Drop, Rename, apply_rules


@dataclass(frozen=True)
class Converter:
    """Conversion of published weights of one source, a method or a backbone.

    Attributes:
        convert: State dict of the source -> :class:`Conversion`.
        rules: Table that ``convert`` applies; the export to the source reads it backwards.
        target: Converted state dict -> model that it belongs to: a component's config, or the path of a config file
            relative to ``configs/``.
        absent: Regular expression for keys of that model that the source does not have; the default matches nothing.
        left_out: Keys of mmavs that the export leaves out.
        file: Exported state dict -> content of the file for the authors' code.
        arguments: Content and name of a component's file -> further arguments for its config; raises a ValueError if
            the component cannot be built as the file says.
    """
    convert: Callable[[Mapping[str, Tensor]], Conversion]
    rules: Sequence[Rename | Drop]
    target: Callable[[Mapping[str, Tensor]], dict | str]
    absent: str = r'(?!)'
    left_out: Sequence[Drop] = ()
    file: Callable[[Mapping[str, Tensor]], dict] = dict
    arguments: Callable[[Any, str], dict] = lambda checkpoint, name: {}


@dataclass(frozen=True)
class OptionalPart:
    """Part that some models of a method have and others lack.

    Attributes:
        prefix: Prefix of the keys of its weights.
        name: Its name in messages.
        only_in_checkpoint: Advice if the checkpoint has it and the config does not.
        only_in_config: Advice if the config has it and the checkpoint does not.
    """
    prefix: str
    name: str
    only_in_checkpoint: str
    only_in_config: str


@dataclass(frozen=True)
class Traits:
    """Keys by which the weights of a method or a backbone are recognized; error messages are made of them.

    The patterns are regular expressions; by default they match nothing.

    Attributes:
        published: Pattern for the beginning of keys that only the authors' own files have.
        backbone: For a backbone: its name and a prefix of its keys in a model of mmavs.
        classifier: Pattern for the end of the keys of parameters with one row for each class.
        extra_rows: Rows of the classifier that are not classes ("no object").
        events: Pattern for the end of the keys of parameters with one row for each event.
        pixels: Pattern for the end of the keys of weights with one column for each pixel of the stride-4 map.
        optional_parts: Parts that some of the models have.
    """
    published: str = r'(?!)'
    backbone: tuple[str, str] | None = None
    classifier: str = r'(?!)'
    extra_rows: int = 0
    events: str = r'(?!)'
    pixels: str = r'(?!)'
    optional_parts: Sequence[OptionalPart] = ()


#: Source, as ``mmavs convert --from`` names it -> its converter.
CONVERTERS: dict[str, Converter] = {}
#: Source -> its traits.
TRAITS: dict[str, Traits] = {}


def register(source: str, converter: Converter | None = None, traits: Traits | None = None) -> None:
    """Register what the package knows about the weights of a source; code outside of mmavs may call it too.

    Args:
        source: Name of the source.
        converter: Its converter, None if it only occurs within other sources.
        traits: Its traits, None if its weights are only recognized by being converted.

    Raises:
        ValueError: The name is taken.
    """
    if source in CONVERTERS or source in TRAITS:
        raise ValueError(f'a converter or traits named {source!r} are registered already: choose another name')
    if converter is not None:
        CONVERTERS[source] = converter
    if traits is not None:
        TRAITS[source] = traits


def export_weights(target: str, weights: Mapping[str, Tensor]) -> Conversion:
    """Rename weights of mmavs to the keys of a published model: the inverse of ``CONVERTERS[target].convert``.

    Weights that converting drops are missing from the result.

    Raises:
        ValueError: A key has no counterpart.
    """
    converter = CONVERTERS[target]
    reversed_rules = [rule.reversed() for rule in converter.rules if isinstance(rule, Rename)]
    return apply_rules(weights, [*converter.left_out, *reversed_rules], f'export to {target}')
