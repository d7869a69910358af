#!/usr/bin/env python
"""Summarize and plot the logs of trainings: ``python tools/analysis_tools/analyze_logs.py WORK_DIR ...``.

Reads the ``vis_data/scalars.json`` of MMEngine. A resumed training continues in another log: all logs of a work
directory are merged, and the last log counts for repeated steps. Tests are left out.
"""
from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from mmavs.utils.errors import cli_errors
from mmavs.utils.files import atomic_write, check_writable, read_text
from mmavs.utils.json_files import nan_for_null, parse_json

if TYPE_CHECKING:
    from rich.table import Table

# Keys of a record that are not losses or metrics.
BOOKKEEPING = {'step', 'iter', 'epoch', 'data_time', 'time', 'memory', 'lr', 'base_lr'}
SUFFIXES = ('.png', '.pdf', '.svg')
Curves = dict[str, dict[int, float]]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Summarize and plot the logs of trainings')
    parser.add_argument('logs', nargs='+', help='work directories or scalars.json files')
    parser.add_argument('--keys', nargs='+', metavar='KEY', help='keys to show, for example loss or avsbench/M_J '
                        '(default: all)')
    parser.add_argument('--out', metavar='FILE', help='figure (.png, .pdf, .svg) with a panel for each key')
    args = parser.parse_args()
    if args.out and Path(args.out).suffix.lower() not in SUFFIXES:
        parser.error(f"--out {args.out}: the file must end in {', '.join(SUFFIXES)}")
    return args


def read_curves(log: str) -> Curves:
    """Read {key: {step: value}} from a log file, or from all logs of a work directory."""
    files = [Path(log)] if Path(log).is_file() else sorted(Path(log).glob('*/vis_data/scalars.json'))
    if not files:
        sys.exit(f'error: {log}: neither a scalars.json nor a work directory with */vis_data/scalars.json')
    curves = defaultdict(dict)
    for file in files:
        lines = read_text(file, 'the log of a training').splitlines()
        for number, line in enumerate(lines, 1):
            try:
                scalars = nan_for_null(parse_json(line, file))
                step = scalars['step']
                if not isinstance(step, int | float):
                    raise TypeError(f'step is {step!r}')
            except (ValueError, KeyError, TypeError):
                if number == len(lines):
                    continue  # the training was killed while writing the line
                sys.exit(f'error: {file}: line {number} is not a record of MMEngine with a step: {line[:60]!r}')
            is_evaluation = 'loss' not in scalars
            if is_evaluation and step == 0:
                continue  # a test
            for key, value in scalars.items():
                if isinstance(value, int | float) and not (is_evaluation and key in BOOKKEEPING):
                    curves[key][step] = value
    return dict(curves)


def summary(curves: Curves, keys: list[str], title: str) -> Table:
    """Make a table of the first, last, smallest and largest value of each key, with the steps of the last two."""
    from rich.table import Table

    table = Table(title=title)
    table.add_column('key', no_wrap=True)
    for heading in ('values', 'first', 'last', 'min', 'step', 'max', 'step'):
        table.add_column(heading, justify='right', no_wrap=True)
    for key in keys:
        curve = curves[key]
        values = list(curve.values())
        low, high = min(curve, key=curve.get), max(curve, key=curve.get)
        table.add_row(key, str(len(curve)), f'{values[0]:.4g}', f'{values[-1]:.4g}', f'{curve[low]:.4g}', str(low),
                      f'{curve[high]:.4g}', str(high))
    if {'time', 'data_time'} <= curves.keys():
        table.caption = f"median of {median(curves['time'].values()):.3f} s for an iteration, of which " \
                        f"{median(curves['data_time'].values()):.3f} s waiting for data"
    return table


def plot(logs: dict[str, Curves], keys: list[str], out: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.6 * len(keys)), layout='constrained')
    FigureCanvasAgg(figure)
    for axes, key in zip(figure.subplots(len(keys), squeeze=False)[:, 0], keys):
        for name, curves in logs.items():
            curve = curves.get(key, {})
            axes.plot(list(curve), list(curve.values()), label=name, linewidth=1, marker='o' if len(curve) < 30 else '',
                      markersize=3)
        axes.set(xlabel='step', ylabel=key)
        axes.grid(alpha=0.3)
        axes.spines[['top', 'right']].set_visible(False)
    if len(logs) > 1:
        figure.legend(*axes.get_legend_handles_labels(), loc='outside upper center', frameon=False, fontsize=8)
    with atomic_write(out) as partial:
        figure.savefig(partial, dpi=120, format=out.suffix[1:].lower())


@cli_errors()
def main() -> None:
    args = parse_args()
    from rich.console import Console

    if args.out:
        check_writable(args.out)
    logs = {log: read_curves(log) for log in args.logs}
    available = list(dict.fromkeys(key for curves in logs.values() for key in curves if key not in BOOKKEEPING))
    keys = args.keys or available
    for key in keys:
        if not any(key in curves for curves in logs.values()):
            sys.exit(f"error: {key} is in none of the logs, which hold {', '.join(available)}")
    console = Console(width=200)  # a narrower console would cut digits off
    for log, curves in logs.items():
        console.print(summary(curves, [key for key in keys if key in curves], log))
    if args.out:
        plot(logs, keys, Path(args.out))
        print(args.out)


if __name__ == '__main__':
    main()
