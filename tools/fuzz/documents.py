"""Make hostile CSV, JSON and YAML files: values of other types in place of the right ones, and changed bytes."""
import copy
import csv
import io
import json
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import yaml
from grammar import change

VALUES = [None, True, 0, 1, -1, 255, 2**31, 2**63, 10**400, 0.5, 1e308, math.nan, math.inf, '', ' ', 'x', '1', '1e999',
          '../x', '/x', 'a/../b', 'a\\b', 'a\0b', 'a\nb', 'x' * 300, 'x' * 5000, '\u00b2', '\u0663', '\ud800', '*',
          [], {}, [[]], [None], ['x'], {'x': 1}, {'': None}, {'type': 'x'}]
# Aliases that stand for 10^9 values.
ALIASES = 'a: &a [x, x, x, x, x, x, x, x, x, x]\n' + ''.join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip('abcdefgh', 'bcdefghi'))
# Tags that run code in PyYAML's other loaders, dates that are none, a NUL byte.
YAML_TEXTS = [f'{ALIASES}Models: *i\n'.encode(), b'Models: !!python/object/apply:os.getcwd []\n', b'a: \0',
              b'Models: [{Name: 2001-99-99}]\n', b'? [a, b]\n: 1\n', b'<<: 1\n', b'Models: &a [*a]\n',
              b'%YAML 9.9\n---\na: 1\n', b'Models: [0x, 0b, 1_, .inf, 1:99:99]\n']


def change_document(content: Any, rng: random.Random) -> Any:
    """Replace, remove, add or exchange some values of a document."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        places = list(_places(content))
        if not places:
            return content
        parent, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
        elif kind == 1:
            parent[rng.choice(['x', '', 'type', '__class__', 'per_clip'])] = rng.choice(VALUES)
        elif kind == 2:
            other, name = rng.choice(places)
            if name in other if isinstance(other, dict) else name < len(other):
                parent[key] = copy.deepcopy(other[name])
        else:
            parent[key] = copy.deepcopy(rng.choice(VALUES))
    return content


def _places(content: Any) -> Any:
    """Container and key of every value."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield content, key
        yield from _places(value)


def hostile_json(documents: Sequence[Any]) -> Callable[[int], Callable[[], bytes]]:
    """JSON files with changed values or bytes."""

    def inputs(seed: int) -> Callable[[], bytes]:
        rng = random.Random(seed)

        def make() -> bytes:
            if not rng.randrange(50):
                return rng.choice([b'[' * 100000, b'{"a":' * 2000, b'1' * 10000, b'"' * 3, b'\xff\xfe1', b'NaN', b''])
            document = rng.choice(documents)
            data = json.dumps(change_document(document, rng) if rng.randrange(4) else document).encode()
            return data if rng.randrange(4) else change(data, rng)

        return make

    return inputs


def hostile_yaml(documents: Sequence[Any]) -> Callable[[int], Callable[[], bytes]]:
    """YAML files with changed values or bytes."""

    def inputs(seed: int) -> Callable[[], bytes]:
        rng = random.Random(seed)

        def make() -> bytes:
            if not rng.randrange(10):
                return rng.choice(YAML_TEXTS)
            document = rng.choice(documents)
            document = change_document(document, rng) if rng.randrange(4) else document
            data = yaml.safe_dump(document, sort_keys=False).encode(errors='surrogatepass')
            return data if rng.randrange(4) else change(data, rng)

        return make

    return inputs


def hostile_csv(rows: Sequence[dict[str, str]]) -> Callable[[int], Callable[[], bytes]]:
    """CSV files with changed cells, columns or bytes."""

    def inputs(seed: int) -> Callable[[], bytes]:
        rng, columns = random.Random(seed), list(rows[0])

        def make() -> bytes:
            table = [list(row.values()) for row in rows]
            header = list(columns)
            for _ in range(rng.choice([0, 1, 1, 2, 4])):
                row, column = rng.choice(table), rng.randrange(len(header))
                kind = rng.randrange(8)
                if kind == 0:
                    header[column] = rng.choice([*columns, '', 'x'])
                elif kind == 1:
                    table.append(list(row))
                elif kind == 2:
                    for line in (header, *table):
                        del line[column:column + 1]
                    if not header:
                        break
                elif column < len(row):
                    row[column] = str(rng.choice(VALUES))
            text = io.StringIO()
            csv.writer(text).writerows([header, *table])
            data = text.getvalue().encode(rng.choice(['utf-8', 'utf-8-sig']), errors='surrogatepass')
            return data if rng.randrange(3) else change(data, rng)

        return make

    return inputs


def hostile_pointers(seed: int) -> Callable[[], bytes]:
    """Contents of ``last_checkpoint``."""
    rng = random.Random(seed)
    paths = [b'iter_4.pth', b'/runs/a/iter_4.pth', b'epoch_2.pth\n', b'x' * 300, b'x/' * 3000, b'.', b'..', b'/', b'~',
             b'']
    return lambda: change(rng.choice(paths), rng) if rng.randrange(4) else rng.choice(paths)
