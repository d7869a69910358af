#!/usr/bin/env python
"""Score checkpoints under several audio conditions: ``robustness.py CONFIG CHECKPOINT [CONFIG CHECKPOINT ...]``.

Writes ``robustness.json`` (all numbers), ``manifest.csv`` (the audio of each clip) and ``robustness.png`` to ``--out``.
The first two are saved after each model, so an error in a later model does not discard finished results.
See docs/user_guides/robustness.md.
"""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mmavs.cli.arguments import add_cfg_options, add_launcher, set_work_dir
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import atomic_write, check_writable_directory
from mmavs.utils.json_files import write_json
from mmavs.utils.terminal import quiet_libraries

if TYPE_CHECKING:
    from rich.console import Console

    from mmavs.analysis.robustness import RobustnessResult

#: Those of :mod:`mmavs.analysis.robustness`, which the help prints without importing PyTorch.
KINDS = ('silence', 'noise', 'noise:-20', 'off-screen', 'mixture:10', 'mixture:0')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Score checkpoints under several audio conditions')
    parser.add_argument('models', nargs='*', metavar='CONFIG CHECKPOINT',
                        help="config of each model, and its checkpoint or 'published'")
    parser.add_argument('--kinds', nargs='+', default=list(KINDS), metavar='KIND',
                        help='audio conditions: silence, noise (with the RMS of the original audio), noise:-20 (dBFS), '
                        f"off-screen, absent-class, mixture:0 (dB SNR); default: {' '.join(KINDS)}")
    parser.add_argument('--absent-audio', '--absent-sounds', metavar='DIR',
                        help='audio files of classes that the dataset does not have; adds absent-class to the kinds')
    parser.add_argument('--names', nargs='+', metavar='NAME',
                        help='names of the models (default: those of the configs); equal names are runs of one model')
    parser.add_argument('--add', nargs='+', default=[], metavar='JSON',
                        help='robustness.json of earlier runs, shown together with the new ones')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/robustness'), metavar='DIR')
    add_cfg_options(parser, example='test_dataloader.num_workers=0')
    add_launcher(parser)
    args = parser.parse_args()
    if len(args.models) % 2 or not args.models and not args.add:
        parser.error('expected a CONFIG and a CHECKPOINT for each model, or --add')
    if args.names and len(args.names) != len(args.models) // 2:
        parser.error(f'{len(args.names)} names for {len(args.models) // 2} models')
    if args.absent_audio and 'absent-class' not in args.kinds:
        args.kinds.append('absent-class')
    if 'absent-class' in args.kinds and args.models and not args.absent_audio:
        parser.error('the kind absent-class needs --absent-audio')
    return args


def save(out: Path, results: list[RobustnessResult], manifests: dict[str, list[dict]]) -> None:
    """Write all finished results."""
    from mmavs.datasets.wrappers.replace_audio import write_manifest

    write_json(out / 'robustness.json', [result.to_dict() for result in results])
    for file, manifest in manifests.items():
        with atomic_write(out / file) as path:
            write_manifest(path, manifest)


def print_tables(console: Console, name: str, runs: list[RobustnessResult]) -> None:
    from rich.table import Table

    from mmavs.analysis.robustness import g_score_table, score_table

    title = name + (f' ({len(runs)} runs)' if len(runs) > 1 else '')
    for rows in (score_table(runs), g_score_table(runs)):
        if not rows:
            continue
        table = Table(*rows[0], title=title)
        table.columns[0].no_wrap = True
        for column in table.columns[1:]:
            column.justify = 'right'
        for row in rows:
            table.add_row(*row.values())
        console.print(table)
    if runs[0].mute_score is not None:
        console.print('mute score S:', ', '.join(f'{run.mute_score:.3f}' for run in runs))


@cli_errors()
def main() -> None:
    args = parse_args()
    from mmengine.dist import is_main_process
    from rich.console import Console

    from mmavs.analysis.robustness import (
        ORIGINAL,
        check_kinds,
        default_name,
        group_by_name,
        read_results,
        robustness_test,
    )
    from mmavs.apis.weights import resolve_weights
    from mmavs.utils.config import load_config
    from mmavs.visualization.robustness_figure import write_robustness_figure

    quiet_libraries()
    check_writable_directory(args.out)
    results = [result for path in args.add for result in read_results(path)]
    manifests: dict[str, list[dict]] = {}
    pairs = [(config, str(resolve_weights(config, checkpoint)))
             for config, checkpoint in zip(args.models[::2], args.models[1::2], strict=True)]
    configs = [load_config(file, args.cfg_options) for file, _ in pairs]
    names = args.names or [default_name(config) for config in configs]
    check_kinds([(result.name, result.checkpoint, result.scores) for result in results]
                + [(name, checkpoint, [ORIGINAL, *args.kinds]) for name, (_, checkpoint) in zip(names, pairs)])
    for config, (file, checkpoint), name in zip(configs, pairs, names):
        set_work_dir(config, file)
        result, manifest = robustness_test(config, checkpoint, args.kinds, args.absent_audio, name, args.launcher)
        results.append(result)
        # Models that are tested on the same clips get the same audio.
        if manifest not in manifests.values():
            number = len(manifests) + 1
            manifests['manifest.csv' if number == 1 else f"manifest_{number}_{name.replace('/', '_')}.csv"] = manifest
        if is_main_process():
            save(args.out, results, manifests)
    if not is_main_process():
        return

    if not pairs:
        save(args.out, results, manifests)
    groups = group_by_name(results)
    write_robustness_figure(args.out / 'robustness.png',
                            {name: [run.to_dict() for run in runs] for name, runs in groups.items()})
    console = Console()
    for name, runs in groups.items():
        print_tables(console, name, runs)
    if len({frozenset(run.g_scores.get('per_kind', ())) for run in results}) > 1:
        console.print('warning: not all models were tested with the same kinds of negative audio; their means over the '
                      'kinds (mean, pooled) are not comparable')
    for file in ('robustness.json', *manifests, 'robustness.png'):
        console.print(args.out / file)


if __name__ == '__main__':
    main()
