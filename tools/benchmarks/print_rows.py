#!/usr/bin/env python
"""Print rows of ``benchmark.py --out`` as Markdown: ``python tools/benchmarks/print_rows.py rows.csv``.

Rows of one device and the same versions share a table, with their stamp above it and their commands below.
"""
import argparse
import sys
from itertools import groupby
from pathlib import Path

from mmavs.utils.errors import cli_errors

STAMP = ('hardware', 'torch', 'cuda', 'mmcv', 'mmengine', 'mmavs', 'python', 'threads', 'clock', 'repeats', 'date')
COLUMNS = dict(
    config='config', mode='mode', clips='clips', frames='frames', size='size', precision='precision',
    compiled='compiled', channels_last='channels last', deformable_op='deformable attention', seconds='seconds',
    frames_per_second='frames/s', peak_mib='peak MiB')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Print rows of benchmark.py as Markdown')
    parser.add_argument('rows', help='CSV file of benchmark.py --out')
    return parser.parse_args()


def markdown(rows: list[dict[str, str]]) -> str:
    """One table for each stamp."""
    lines = []
    for stamp, group in groupby(rows, lambda row: ', '.join(f'{key} {row[key]}' for key in STAMP if row[key])):
        group = list(group)
        lines += [f'Stamp: {stamp}.', '', f"| {' | '.join(COLUMNS.values())} |", '|---' * len(COLUMNS) + '|']
        lines += [f"| {' | '.join(row[key] for key in COLUMNS)} |" for row in group]
        lines += ['', *(f'`{command}`  ' for command in dict.fromkeys(row['command'] for row in group)), '']
    return '\n'.join(lines)


@cli_errors()
def main() -> None:
    path = Path(parse_args().rows)
    from mmavs.datasets.file_listing import read_csv

    if not path.is_file():
        sys.exit(f'error: {path}: no such file, expected the rows of benchmark.py')
    rows = read_csv(path, ())
    missing = {name for row in rows or [{}] for name in {*STAMP, *COLUMNS, 'command'} - {*row}}
    if missing:
        sys.exit(f'error: {path}: lacks the columns {", ".join(sorted(missing))}: is it of benchmark.py?')
    print(markdown(rows))


if __name__ == '__main__':
    main()
