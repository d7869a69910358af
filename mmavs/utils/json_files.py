"""Read and write strict JSON, in which NaN is null."""
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any

from .files import atomic_write, read_text

#: Type of a score in a JSON file, see :func:`check_types`; null stands for NaN.
NUMBER = int | float | None
# Digits of a whole number, with its sign: larger numbers are counts of nothing, and do not fit in a float.
MAX_DIGITS = 20


def to_json(value: Any, indent: int | None = 2) -> str:
    """Format a value as JSON that every parser reads.

    Args:
        value: Mappings, lists, tuples, strings and numbers, also those of NumPy and PyTorch. NaN and infinities, which
            JSON does not have, become null.
        indent: Spaces for each level; None writes one line.
    """
    return json.dumps(without_nan(value), indent=indent, allow_nan=False)


def read_json(path: str | Path, kind: str = 'a JSON file', keys: Sequence[str] = ()) -> Any:
    """Read a JSON file in UTF-8, with or without a byte order mark.

    Args:
        path: The file.
        kind: What the file is, with its article, for messages.
        keys: Keys that it must have; then it must hold an object.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a regular file, not JSON, has a key twice, or lacks one of the keys.
    """
    return parse_json(read_text(path, kind), path, kind, keys)


def parse_json(text: str, path: str | Path, kind: str = 'a JSON file', keys: Sequence[str] = ()) -> Any:
    """Parse JSON that is stored in a file, see :func:`read_json`; a ValueError names the file."""
    try:
        content = json.loads(text, parse_int=_parse_int, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:  # deeply nested lists
        raise ValueError(f'{path}: not a JSON file, expected {kind} ({error})') from error
    if keys and not isinstance(content, dict):
        raise ValueError(f'{path}: holds a {type(content).__name__}, expected {kind} with {", ".join(keys)}')
    missing = [key for key in keys if key not in content]
    if missing:
        raise ValueError(f'{path}: no {", ".join(missing)}, expected {kind} with {", ".join(keys)}')
    return content


def check_types(content: Any, types: Any, path: str | Path, place: str = '') -> None:
    """Raise a ValueError, which names the place, if the content of a JSON file has other types than expected.

    Args:
        content: The content, or a part of it.
        types: A type or union; a list with the types of all its items; or a dict with the types of each key, where
            '*' stands for all keys and a key that ends in '?' may be missing.
        path: The file, for the message.
        place: The place of ``content`` in the file, for the message.
    """
    kind = types if isinstance(types, type | UnionType) else type(types)
    if not isinstance(content, kind):
        expected = 'null or a number' if kind == NUMBER else getattr(kind, '__name__', kind)
        raise ValueError(f'{path}: {place or "the content"} is a {type(content).__name__}, expected {expected}')
    if isinstance(types, list):
        for index, item in enumerate(content):
            check_types(item, types[0], path, f'{place}[{index}]')
    elif isinstance(types, dict):
        for key, inner in types.items():
            name, before = key.removesuffix('?'), f'{place}.' if place else ''
            if name == key != '*' and key not in content:
                raise ValueError(f'{path}: {before}{key} is missing')
            for found in content if key == '*' else {name} & content.keys():
                check_types(content[found], inner, path, f'{before}{found}')


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f'the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice')
    return content


def _parse_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f'a whole number of {len(text)} digits')
    return int(text)


def write_json(path: str | Path, value: Any, indent: int | None = 2) -> None:
    """Write a value as :func:`to_json` formats it, atomically."""
    with atomic_write(path) as partial:
        partial.write_text(to_json(value, indent) + '\n', encoding='utf-8')


def nan_for_null(value: Any) -> Any:
    """Replace every None in the scores of a JSON file by NaN."""
    if isinstance(value, dict):
        return {key: nan_for_null(item) for key, item in value.items()}
    return math.nan if value is None else value


def without_nan(value: Any) -> Any:
    """Replace NaN and infinities by None, and tensors and arrays by lists and numbers, at every depth."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if hasattr(value, 'tolist'):  # a tensor, an array, or a scalar of NumPy
        return without_nan(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
