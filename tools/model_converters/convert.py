#!/usr/bin/env python
"""Convert a published checkpoint to mmavs, or one of mmavs to the names of the authors.

``python tools/model_converters/convert.py --from vct SRC DST``, ``... --to vct SRC DST``
"""
import argparse
import re
from collections import defaultdict

from rich.console import Console
from rich.table import Column, Table

from mmavs.apis import convert_checkpoint, export_checkpoint
from mmavs.checkpoint.converters import CONVERTERS, Conversion
from mmavs.utils.errors import cli_errors
from mmavs.utils.terminal import quiet_libraries


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Convert a published checkpoint to mmavs, or one of mmavs to the '
                                     'names of the authors; every key is used, or dropped with a reason')
    direction = parser.add_mutually_exclusive_group(required=True)
    direction.add_argument('--from', dest='source', choices=sorted(CONVERTERS), help='source of SRC')
    direction.add_argument('--to', dest='target', choices=sorted(CONVERTERS), help='source whose names DST '
                           'gets; SRC is of mmavs. DST lacks the weights that --from drops: load it with strict=False')
    parser.add_argument('--config', help='for --from: config that SRC was trained with (default: found by the weights)')
    parser.add_argument('src', metavar='SRC', help='published file, or with --to one of mmavs')
    parser.add_argument('dst', metavar='DST', help='file to write')
    args = parser.parse_args()
    if args.target and args.config:
        parser.error('--config goes with --from; --to needs none')
    return args


def summary(conversion: Conversion, source: str, target: str) -> Table:
    """Make a row for each group of keys with the same destination or reason; numbers within names become ``*``."""
    groups = defaultdict(int)
    for key, name in conversion.used.items():
        groups[_parent(key), _parent(name)] += 1
    for key, reason in conversion.dropped.items():
        groups[_parent(key), f'[yellow]dropped: {reason}'] += 1
    for key, origin in conversion.added.items():
        groups[f'[yellow]{origin}', _parent(key)] += 1
    counts = [f'{len(getattr(conversion, kind))} {kind}' for kind in ('used', 'dropped', 'added')]
    names = (Column(header, overflow='fold') for header in (source, target))
    table = Table(*names, 'keys', caption=', '.join(counts))
    for (old, new), count in groups.items():
        table.add_row(old, new, str(count))
    return table


def _parent(key: str) -> str:
    return re.sub(r'\.\d+(?=\.|$)', '.*', key.rpartition('.')[0] or key)


@cli_errors()
def main() -> None:
    args = parse_args()
    quiet_libraries()
    if args.target:
        conversion = export_checkpoint(args.target, args.src, args.dst)
    else:
        conversion = convert_checkpoint(args.source, args.src, args.dst, args.config)
    Console().print(summary(conversion, args.source or 'mmavs', args.target or 'mmavs'))
    print(f'wrote {args.dst}')


if __name__ == '__main__':
    main()
