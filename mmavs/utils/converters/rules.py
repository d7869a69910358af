"""Tables that say where each weight of a published checkpoint goes."""
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Rename:
    r"""Weights that are used.

    Attributes:
        pattern: Regular expression for a whole key of the source.
        target: Key in mmavs, with the groups of the pattern as ``\1``, ``\2``, ...
        convert: What is done to the tensor, where its layout differs.
    """
    pattern: str
    target: str
    convert: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Drop:
    """Weights that are left out, with the reason."""
    pattern: str
    reason: str


@dataclass
class Conversion:
    """A converted state dict and the account of every key.

    Attributes:
        state_dict: Weights under the names of mmavs.
        used: Source key -> key in mmavs.
        dropped: Source key -> reason.
        added: Key in mmavs that the source does not have -> where its value comes from.
    """
    state_dict: dict[str, Tensor] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)


def apply_rules(weights: Mapping[str, Tensor], rules: Sequence[Rename | Drop], source: str) -> Conversion:
    """Send every key through the first rule whose pattern it matches.

    Args:
        weights: State dict of the source.
        rules: The table.
        source: Name of the source, for errors.

    Raises:
        ValueError: Keys match no rule, or two keys have the same target.
    """
    conversion, unknown = Conversion(), []
    compiled = [(re.compile(rule.pattern), rule) for rule in rules]
    for key, tensor in weights.items():
        match, rule = next(((m, rule) for pattern, rule in compiled if (m := pattern.fullmatch(key))), (None, None))
        if rule is None:
            unknown.append(key)
        elif isinstance(rule, Drop):
            conversion.dropped[key] = rule.reason
        else:
            target = match.expand(rule.target)
            if target in conversion.state_dict:
                first = next(other for other, name in conversion.used.items() if name == target)
                raise ValueError(f'{source}: both {first} and {key} are {target}')
            conversion.state_dict[target] = rule.convert(tensor) if rule.convert else tensor
            conversion.used[key] = target
    if unknown:
        raise ValueError(f'{source}: {len(unknown)} of {len(weights)} keys are not known ({", ".join(unknown[:5])}'
                         f'{", ..." if len(unknown) > 5 else ""}): this is no checkpoint of {source}, or of a version '
                         'that the converter does not cover')
    return conversion
