#!/usr/bin/env python
"""Convert a published checkpoint: ``python tools/model_converters/convert.py --from vct SRC DST``."""
import argparse
import re
from collections import defaultdict

from rich.console import Console
from rich.table import Column, Table

from mmavs.apis import convert_checkpoint
from mmavs.utils.converters import CONVERTERS, Conversion
from mmavs.utils.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Convert a published checkpoint; every key is used, or dropped with a '
                                     'reason')
    parser.add_argument('--from', dest='source', required=True, choices=sorted(CONVERTERS), help='what SRC is')
    parser.add_argument('--config', help='config that SRC was trained with (default: found by the weights)')
    parser.add_argument('src', metavar='SRC', help='published file')
    parser.add_argument('dst', metavar='DST', help='file to write')
    return parser.parse_args()


def summary(conversion: Conversion) -> Table:
    """A row for each group of keys that share a destination or a reason; numbers within names become ``*``."""
    groups = defaultdict(int)
    for key, target in conversion.used.items():
        groups[_parent(key), _parent(target)] += 1
    for key, reason in conversion.dropped.items():
        groups[_parent(key), f'[yellow]dropped: {reason}'] += 1
    for key, origin in conversion.added.items():
        groups[f'[yellow]{origin}', _parent(key)] += 1
    counts = [f'{len(getattr(conversion, kind))} {kind}' for kind in ('used', 'dropped', 'added')]
    names = (Column(header, overflow='fold') for header in ('source', 'mmavs'))
    table = Table(*names, 'keys', caption=', '.join(counts))
    for (source, target), count in groups.items():
        table.add_row(source, target, str(count))
    return table


def _parent(key: str) -> str:
    return re.sub(r'\.\d+(?=\.|$)', '.*', key.rpartition('.')[0] or key)


@one_line_errors()
def main() -> None:
    args = parse_args()
    conversion = convert_checkpoint(args.source, args.src, args.dst, args.config)
    Console().print(summary(conversion))
    print(f'wrote {args.dst}')


if __name__ == '__main__':
    main()
