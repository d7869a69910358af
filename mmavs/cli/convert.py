"""``mmavs convert``: convert a published checkpoint to mmavs, or one of mmavs to the names of the authors."""
from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import add_json

if TYPE_CHECKING:
    from mmavs.checkpoint.converters import Conversion

DESCRIPTION = 'Convert a published checkpoint to mmavs, or one of mmavs to the names of the authors'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.epilog = 'Every key is used, or dropped with a reason. Sources: ' + ', '.join(registered_sources())
    direction = parser.add_mutually_exclusive_group(required=True)
    direction.add_argument('--from', dest='source', metavar='SOURCE', type=known_source, help='source of SRC')
    direction.add_argument('--to', dest='target', metavar='SOURCE', type=known_source, help='source whose names DST '
                           'gets; SRC is of mmavs. DST lacks the weights that --from drops: load it with strict=False')
    parser.add_argument('--config', help='for --from: config that SRC was trained with (default: found by the weights)')
    add_json(parser, 'the account of the keys')
    parser.add_argument('src', metavar='SRC', help='published file, or with --to one of mmavs')
    parser.add_argument('dst', metavar='DST', help='file to write')


def registered_sources() -> list[str]:
    """List the sources that have a converter, in the text of their modules: importing these takes seconds."""
    modules = Path(__file__).parents[1].joinpath('checkpoint/converters').glob('*.py')
    return sorted(name for module in modules
                  for name in re.findall(r"\bregister\(\s*'(\w+)',\s*Converter\(", module.read_text(encoding='utf-8')))


def known_source(name: str) -> str:
    """Return the name of a source if it has a converter; use it as ``type`` of ``add_argument``."""
    from mmavs.checkpoint.converters import CONVERTERS

    if name not in CONVERTERS:
        raise argparse.ArgumentTypeError(f"{name!r}, expected one of {', '.join(sorted(CONVERTERS))}")
    return name


def run(args: argparse.Namespace) -> None:
    """Convert, and print the account of every key."""
    if args.target and args.config:
        raise argparse.ArgumentError(None, '--config goes with --from; --to needs none')
    from mmavs.apis import convert_checkpoint, export_checkpoint
    from mmavs.utils.json_files import to_json
    from mmavs.utils.terminal import messages_to_stderr, quiet_libraries

    with messages_to_stderr(args.json):
        quiet_libraries()
        if args.target:
            conversion = export_checkpoint(args.target, args.src, args.dst)
        else:
            conversion = convert_checkpoint(args.source, args.src, args.dst, args.config)
    if args.json:
        print(to_json(dict(file=args.dst, used=conversion.used, dropped=conversion.dropped, added=conversion.added)))
    else:
        print_summary(conversion, args.source or 'mmavs', args.target or 'mmavs')
        print(f'wrote {args.dst}')


def print_summary(conversion: Conversion, source: str, target: str) -> None:
    """Print a row for each group of keys with the same destination or reason; numbers in names become ``*``."""
    from rich.console import Console
    from rich.table import Column, Table

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
    Console().print(table)


def _parent(key: str) -> str:
    return re.sub(r'\.\d+(?=\.|$)', '.*', key.rpartition('.')[0] or key)
