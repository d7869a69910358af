#!/usr/bin/env python
"""Train and score several methods with several seeds, and measure their costs: ``compare_methods.py [CONFIG ...]``.

Without ``--own-data`` the configs are those on synthetic clips, which are made; with it, any configs on the data that
they name. Results are written to ``WORK_DIR/comparison.md`` and ``.json``. With ``--kinds`` the trainings are tested
under these audio conditions, on each ``--test``, and the results are in ``WORK_DIR/robustness.md`` and ``.json``;
``robustness_NAME.png`` is a figure of each test set.

A training that ``WORK_DIR`` already holds for the same config, seed and clips is not repeated, an interrupted one
continues from its last checkpoint. The same holds for tests: call the same command again until it ends.
"""
import argparse
import datetime
import multiprocessing
import os
import shlex
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

# The parallel processes share the cores.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch
from mmengine.config import Config
from mmengine.runner import find_latest_checkpoint
from rich.console import Console
from rich.table import Table

from mmavs.analysis.complexity import frame_size
from mmavs.analysis.method_comparison import (
    comparison_table,
    measure_cost,
    train_and_score,
    use_one_thread,
    write_comparison,
)
from mmavs.analysis.result_collection import headline_scores
from mmavs.analysis.robustness import RobustnessResult
from mmavs.analysis.robustness_comparison import (
    TestSet,
    check_tests,
    robustness_rows,
    shorten_names,
    train_and_test,
    write_robustness,
)
from mmavs.analysis.timing import hardware_name
from mmavs.cli.arguments import add_cfg_options, positive_int
from mmavs.synthesis import synthesize_clips
from mmavs.synthesis.audio_pretraining import pretrain_audio_backbone
from mmavs.synthesis.layouts import DIRECTORIES
from mmavs.synthesis.scenes import TWIN_PITCHES
from mmavs.utils.config import find_clip_dataset, load_config
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import check_writable_directory
from mmavs.utils.parent_process import end_with_parent
from mmavs.utils.terminal import quiet_libraries

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
DEFAULT = ('tpavi/tpavi_tiny_synthetic-ms3.py', 'avsegformer/avsegformer_tiny_synthetic-ms3.py',
           'combo/combo_tiny_synthetic-ms3.py', 'vct/act_tiny_synthetic-ms3.py', 'vct/vct_tiny_synthetic-ms3.py',
           'ease/ease_tiny_synthetic-ms3.py', 'ravs/ravs_tiny_synthetic-ms3.py')
# Pretrained audio backbones of the small configs, and the pitches that they were trained on.
AUDIO_WEIGHTS = {
    'pretrained/vggish_tiny_drawn-sounds.pth': (1., ),
    'pretrained/vggish_tiny_drawn-pitches.pth': tuple(sorted(set(TWIN_PITCHES), reverse=True)),
}
SUBSETS = {directory: subset for subset, directory in DIRECTORIES.items()}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train and score methods with several seeds, and measure their costs')
    parser.add_argument('configs', nargs='*', default=[str(CONFIGS / name) for name in DEFAULT],
                        help='configs (default: the small version of each method on synthetic clips)')
    parser.add_argument('--own-data', action='store_true',
                        help='use the datasets and weights that the configs name; make neither clips nor weights')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--jobs', type=positive_int, default=1, help='parallel trainings, one thread each')
    parser.add_argument('--clips', type=positive_int, nargs=3, default=[300, 30, 60], metavar=('TRAIN', 'VAL', 'TEST'),
                        help='number of synthetic clips')
    parser.add_argument('--data', type=Path, help='directory of these clips (default: data/synthetic-ms3); with '
                        '--own-data, the directory of the datasets (default: that which the configs name)')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/compare'), help='directory of the results')
    parser.add_argument('--start-from', type=Path, metavar='WORK_DIR[/NAME]',
                        help='start each training from the weights of the same seed in this directory: those of the '
                        'same config, or of the config NAME')
    robustness = parser.add_argument_group('tests under audio conditions, instead of the audio ablation and the costs')
    robustness.add_argument('--kinds', nargs='+', metavar='KIND', help='conditions, as for tools/robustness.py')
    robustness.add_argument('--absent-audio', metavar='DIR',
                            help='audio files of classes that no clip has; adds absent-class to the kinds')
    robustness.add_argument('--test', nargs='+', type=test_set, default=[TestSet('test')],
                            metavar='NAME=DIR[:SPLIT]', help='test sets: data roots in the layout of the test set of '
                            'the configs (default: that test set)')
    add_cfg_options(parser, default={})
    args = parser.parse_args()
    if not args.kinds and (args.absent_audio or args.test != [TestSet('test')]):
        parser.error('--absent-audio and --test cannot be used without --kinds')
    if len({item.name for item in args.test}) < len(args.test):
        parser.error('two test sets of --test have the same name')
    stems = [Path(config).stem for config in args.configs]
    repeated = sorted({stem for stem in stems if stems.count(stem) > 1})
    if repeated:
        parser.error(f"several configs are named {', '.join(repeated)}, which names their results: give each config "
                     'once, under a name of its own')
    if args.absent_audio and 'absent-class' not in args.kinds:
        args.kinds.append('absent-class')
    if args.kinds and 'absent-class' in args.kinds and not args.absent_audio:
        parser.error('the kind absent-class needs --absent-audio')
    return args


def test_set(text: str) -> TestSet:
    """Type of an argument: a test set."""
    try:
        return TestSet.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def start_process() -> None:
    """Prepare this process or one of the pool: one thread, no messages of other libraries."""
    use_one_thread()
    quiet_libraries()


def start_worker() -> None:
    """Prepare a process of the pool. If this program is killed, its trainings write a checkpoint and end."""
    start_process()
    end_with_parent()


def data_roots(config: Config, data: Path) -> dict[str, str]:
    """Options that move the datasets of a config to the directory ``data``."""
    datasets = (find_clip_dataset(config, split) for split in ('train', 'val', 'test'))
    return {f'{key}.data_root': str(data / Path(dataset['data_root']).name) for key, dataset in datasets}


def make_audio_weights(backbone: dict) -> None:
    """Pretrain the audio backbone of a small config unless the file of its weights exists."""
    weights = (backbone.get('init_cfg') or {}).get('checkpoint')
    if weights in AUDIO_WEIGHTS and not Path(weights).exists():
        scores = pretrain_audio_backbone(backbone | dict(output='embedding'), weights, pitches=AUDIO_WEIGHTS[weights])
        Console().print(f'{weights}: {scores.accuracy:.1%} of the synthetic audio classified correctly')


def make_data(args: argparse.Namespace, configs: dict[str, Config]) -> dict[str, dict[str, str]]:
    """Make the synthetic clips and the weights of the audio backbones; return the options with the data of each config.

    A config on other data is an error.
    """
    for name, config in configs.items():
        _, dataset = find_clip_dataset(config, 'train')
        if 'synthetic' not in dataset['data_root']:
            sys.exit(f"error: {name}: its data, {dataset['data_root']}, are not synthetic clips: add --own-data to use "
                     'them')
    roots = {name: data_roots(config, args.data) for name, config in configs.items()}
    for directory in sorted({Path(root).name for options in roots.values() for root in options.values()}):
        synthesize_clips(args.data, SUBSETS[directory], *args.clips, workers=args.jobs, replace=False)
    for config in configs.values():
        make_audio_weights(config.model.audio_backbone)
    return roots


def starting_weights(directory: Path | None, name: str, seed: int) -> dict[str, str]:
    """Option that starts a training from that of the same seed in another work directory, or of another config."""
    if directory is None:
        return {}
    of_name, of_other = directory / name / f'seed{seed}', directory / f'seed{seed}'
    trained = of_other if of_other.is_dir() else of_name
    checkpoint = find_latest_checkpoint(str(trained)) if trained.is_dir() else None
    if checkpoint is None:
        sys.exit(f'error: --start-from: no checkpoint in {trained}, expected that of an earlier comparison of {name} '
                 f'with seed {seed}; for that of another config give WORK_DIR/NAME')
    return dict(load_from=checkpoint)


@cli_errors()
def main() -> None:
    args = parse_args()
    console = Console()
    check_writable_directory(args.work_dir)
    start_process()
    configs = {config: load_config(config, args.cfg_options) for config in args.configs}
    if not args.own_data:
        args.data = args.data or Path('data/synthetic-ms3')
        options = make_data(args, configs)
    else:
        options = {name: data_roots(config, args.data) if args.data else {} for name, config in configs.items()}

    if args.kinds:
        check_tests([load_config(name, args.cfg_options | roots) for name, roots in options.items()], args.test,
                    args.kinds, args.absent_audio)

    names = {config: Path(config).stem for config in args.configs}
    # Seed by seed: an interrupted comparison has results of all methods.
    trainings = {(config, seed): (config, seed, args.work_dir / names[config] / f'seed{seed}', args.cfg_options
                                  | options[config] | starting_weights(args.start_from, names[config], seed))
                 for seed in args.seeds for config in args.configs}
    results = {}
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context('spawn'), start_worker) as pool:
        runs = {pool.submit(train_and_test, *training, args.test, args.kinds, args.absent_audio)
                if args.kinds else pool.submit(train_and_score, *training): key for key, training in trainings.items()}
        for run in as_completed(runs):
            config, seed = runs[run]
            results[config, seed] = run.result()
            console.print(f'{names[config]}, seed {seed}: {describe(results[config, seed])}')
    seeds = {names[config]: [results[config, seed] for seed in args.seeds] for config in args.configs}
    if args.kinds:
        finish_robustness(args, console, seeds)
    else:
        finish_comparison(args, console, configs, seeds)


def describe(result: dict) -> str:
    """The first scores of a training, in one line."""
    if all(isinstance(value, RobustnessResult) for value in result.values()):
        return ', '.join(f"{name}: M_J {value.scores['original']['M_J']:.3f}" for name, value in result.items())
    found = result['original']
    return ', '.join(f'{metric} {found[metric]:.3f}' for metric in headline_scores([found]))


def make_stamp(args: argparse.Namespace, data: str) -> str:
    """Text that says how the results were made."""
    return (f'Seeds {", ".join(map(str, args.seeds))}; {data}, {hardware_name(torch.device("cpu"))}, one thread, '
            f'torch {torch.__version__}, {datetime.date.today().isoformat()}. '
            f'`{shlex.join(["python", *sys.argv])}`')


def finish_robustness(args: argparse.Namespace, console: Console, results: dict[str, list[dict]]) -> None:
    """Write and print the tables of the test sets."""
    by_set = {item.name: {name: [run[item.name] for run in runs] for name, runs in results.items()}
              for item in args.test}
    write_robustness(args.work_dir, by_set, make_stamp(args, 'data of the configs'))
    for name, methods in by_set.items():
        print_rows(console, robustness_rows(shorten_names(methods)), name)
    for file in ('robustness.md', *(f'robustness_{name}.png' for name in by_set)):
        console.print(args.work_dir / file)


def finish_comparison(args: argparse.Namespace, console: Console, configs: dict[str, Config],
                      results: dict[str, list[dict]]) -> None:
    """Measure the costs, and write and print the table."""
    costs = {Path(config).stem: measure_cost(config, args.cfg_options) for config in configs}
    num_train, _, num_test = args.clips
    data = 'data of the configs' if args.own_data else f'{num_train} training and {num_test} test clips'
    sizes = sorted({frame_size(config) for config in configs.values()})
    frames = ' or '.join(f'{height}x{width}' for height, width in sizes)
    stamp = make_stamp(args, f'{data}. Costs: one clip of 5 frames at {frames}, CPU time, median of 9')
    write_comparison(args.work_dir, results, costs, stamp)
    print_rows(console, comparison_table(results, costs), 'mean ± standard deviation over the seeds')
    console.print(args.work_dir / 'comparison.md')


def print_rows(console: Console, rows: list[dict[str, str]], title: str) -> None:
    """Print a table with one column for each method."""
    table = Table('', *(row['method'] for row in rows), title=title)
    for quantity in list(rows[0])[1:]:
        table.add_row(quantity, *(row[quantity] for row in rows))
    console.print(table)


if __name__ == '__main__':
    main()
