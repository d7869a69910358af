"""Rules that map each weight of a published checkpoint to its name in mmavs, and back."""
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from torch import Tensor

# A capturing group of a pattern, with parentheses up to two deep inside.
GROUP = re.compile(r'\((?!\?)(?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)')


@dataclass(frozen=True)
class Rename:
    r"""Rule for weights that are used.

    Attributes:
        pattern: Regular expression for a whole key of the source. Only its groups may hold special characters, because
            :meth:`reversed` takes the rest as literal text.
        target: Key in mmavs, with all groups of the pattern in their order, as ``\1``, ``\2``, ...
        convert: Function of the tensor, if its layout differs.
        restore: Inverse of ``convert``.
    """
    pattern: str
    target: str
    convert: Callable[[Tensor], Tensor] | None = None
    restore: Callable[[Tensor], Tensor] | None = None

    def reversed(self) -> 'Rename':
        """Return the rule from the key in mmavs back to that of the source."""
        groups, numbers = GROUP.findall(self.pattern), count(1)
        pattern = re.sub(r'\\\\(\d)', lambda match: groups[int(match[1]) - 1], re.escape(self.target))
        target = GROUP.sub(lambda match: rf'\g<{next(numbers)}>', self.pattern).replace(r'\.', '.')
        return Rename(pattern, target, self.restore, self.convert)


@dataclass(frozen=True)
class Drop:
    """Rule for weights that are left out, with the reason."""
    pattern: str
    reason: str


@dataclass
class Conversion:
    """Converted state dict with the account of every key, from a source to mmavs or back.

    Attributes:
        state_dict: Weights under their new names.
        used: Old key -> new key.
        dropped: Old key -> reason.
        added: New key that the old state dict does not have -> source of its value.
    """
    state_dict: dict[str, Tensor] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)


def apply_rules(weights: Mapping[str, Tensor], rules: Sequence[Rename | Drop], source: str) -> Conversion:
    """Rename or drop every key by the first rule whose pattern matches.

    Args:
        weights: State dict.
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
            conversion.state_dict[target] = _converted(rule, tensor, f'{source}: {key}')
            conversion.used[key] = target
    if unknown:
        raise ValueError(f'{source}: {len(unknown)} of {len(weights)} keys are not known ({", ".join(unknown[:5])}'
                         f'{", ..." if len(unknown) > 5 else ""}): this is the checkpoint of another model, or of a '
                         'version that the converter does not cover')
    return conversion


def _converted(rule: Rename, tensor: Tensor, name: str) -> Tensor:
    """Change the layout of a tensor; a ValueError if its shape is another than that of the published models."""
    if rule.convert is None:
        return tensor
    try:
        return rule.convert(tensor)
    except (IndexError, RuntimeError, ValueError) as error:
        raise ValueError(f'{name} has the shape {tuple(tensor.shape)}, which cannot be converted: this is the '
                         'checkpoint of another model') from error


def check_depths(depths: Sequence[int], weights: Mapping[str, Tensor], source: str) -> None:
    """Raise a ValueError if the numbers in names state more blocks than there are weights: all would be built."""
    if sum(depths) > len(weights):
        raise ValueError(f'{source}: {len(weights)} weights state {list(depths)} blocks by their names: the checkpoint '
                         'is damaged')
