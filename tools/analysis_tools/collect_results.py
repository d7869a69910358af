#!/usr/bin/env python
"""Make the table of a paper from the reports of tests: ``collect_results.py NAME=FILE[,FILE ...] ... --out table.tex``.

A report is a ``metrics.json`` of ``tools/test.py``; a method has one for each seed. Patterns such as
``VCT=work_dirs/vct_*/metrics.json`` may name several.
"""
import argparse
from glob import glob
from pathlib import Path

from mmavs.cli.arguments import positive_int
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import atomic_write, check_writable

# Formats of the tables, by the suffix of the file.
SUFFIXES = ('.md', '.tex', '.csv')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Make the table of a paper from the reports of tests')
    parser.add_argument('methods', nargs='+', type=method_files, metavar='NAME=FILES',
                        help='a method and its metrics.json, one per seed: a pattern, or files joined by commas')
    parser.add_argument('--metrics', nargs='+', metavar='NAME', help='scores (default: the headline scores)')
    parser.add_argument('--baseline', metavar='NAME', help='compare all methods with this one')
    parser.add_argument('--samples', type=positive_int, default=10000, help='resampled datasets of the bootstrap')
    parser.add_argument('--out', nargs='+', default=[], metavar='FILE', help='tables: .md, .tex or .csv')
    args = parser.parse_args()
    for out in args.out:
        if Path(out).suffix not in SUFFIXES:
            parser.error(f"--out {out}: the file must end in {', '.join(SUFFIXES)}")
    if len(dict(args.methods)) < len(args.methods):
        parser.error('a method is named twice: join its files by commas')
    return args


def method_files(text: str) -> tuple[str, list[str]]:
    """Name and files of an argument ``NAME=FILES``."""
    name, _, patterns = text.partition('=')
    if not name or not patterns:
        raise argparse.ArgumentTypeError(f'{text}: expected NAME=FILES')
    files = {pattern: sorted(glob(pattern)) for pattern in patterns.split(',')}
    for pattern, found in files.items():
        if not found:
            raise argparse.ArgumentTypeError(f'{name}: no file {pattern}')
    return name, [file for found in files.values() for file in found]


@cli_errors()
def main() -> None:
    args = parse_args()
    from mmavs.analysis.result_collection import WRITERS, headline_scores, read_report, tabulate, to_markdown

    for out in args.out:
        check_writable(out)
    methods = {name: [read_report(file) for file in files] for name, files in args.methods}
    metrics = args.metrics or headline_scores([report.scores for reports in methods.values() for report in reports])
    table = tabulate(methods, metrics, args.baseline, args.samples)
    for out in args.out:
        with atomic_write(out) as partial:
            partial.write_text(WRITERS[Path(out).suffix](table), encoding='utf-8')
    print(to_markdown(table), end='')


if __name__ == '__main__':
    main()
