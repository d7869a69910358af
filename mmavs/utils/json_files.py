"""Read and write strict JSON, in which NaN is null."""
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .files import atomic_write, read_text

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
        ValueError: It is not a regular file, not JSON, or lacks one of the keys.
    """
    return parse_json(read_text(path, kind), path, kind, keys)


def parse_json(text: str, path: str | Path, kind: str = 'a JSON file', keys: Sequence[str] = ()) -> Any:
    """Parse JSON that is stored in a file, see :func:`read_json`; a ValueError names the file."""
    try:
        content = json.loads(text, parse_int=_parse_int)
    except (ValueError, RecursionError) as error:  # deeply nested lists
        raise ValueError(f'{path}: not a JSON file, expected {kind} ({error})') from error
    if keys and not isinstance(content, dict):
        raise ValueError(f'{path}: holds a {type(content).__name__}, expected {kind} with {", ".join(keys)}')
    missing = [key for key in keys if key not in content]
    if missing:
        raise ValueError(f'{path}: no {", ".join(missing)}, expected {kind} with {", ".join(keys)}')
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
