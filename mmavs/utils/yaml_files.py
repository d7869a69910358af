"""Read YAML as plain data of bounded size."""
from pathlib import Path
from typing import IO, Any

import yaml

from .files import read_text

# Values of a file, each counted as often as aliases repeat it; the metafiles of a model zoo have some thousands.
MAX_VALUES = 10**6


def parse_yaml(text: str | IO) -> Any:
    """Parse YAML without running code.

    Raises:
        ValueError: It is not valid, holds an object of Python, itself, or more than ``MAX_VALUES`` values.
    """
    try:
        content = yaml.load(text, yaml.SafeLoader)
        if _num_values(content, {}) > MAX_VALUES:
            raise ValueError(f'its aliases stand for more than {MAX_VALUES} values')
    except (yaml.YAMLError, RecursionError, TypeError) as error:  # PyYAML compares keys that have no order
        raise ValueError(str(error)) from error
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file; if that fails, a ValueError names it."""
    try:
        content = parse_yaml(read_text(path, 'a YAML file'))
    except (OSError, ValueError) as error:
        raise ValueError(f'{path}: not a readable YAML file ({error})') from error
    if not isinstance(content, dict):
        raise ValueError(f'{path}: holds a {type(content).__name__}, expected a YAML file with keys')
    return content


def _num_values(value: Any, counts: dict[int, int | None]) -> int:
    """Count values as often as they occur, and visit each once; ``counts`` holds None for what is being visited."""
    if not isinstance(value, dict | list | tuple | set):
        return 1
    key = id(value)
    if key not in counts:
        counts[key] = None
        items = [*value, *value.values()] if isinstance(value, dict) else value
        counts[key] = 1 + sum(_num_values(item, counts) for item in items)
    if counts[key] is None:
        raise ValueError('a list or mapping holds itself')
    return counts[key]
