#!/usr/bin/env python
"""Train and score several methods with several seeds, and measure their costs: ``compare_methods.py [CONFIG ...]``.

Without ``--own-data`` the configs are those on synthetic clips, which are made; with it, any configs on the data that
they name. Results are written to ``WORK_DIR/comparison.md`` and ``.json``. A training that ``WORK_DIR`` already holds
for the same config and seed is not repeated.
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
from mmavs.analysis.timing import hardware_name
from mmavs.cli.arguments import add_cfg_options, positive_int
from mmavs.synthesis import synthesize_clips
from mmavs.synthesis.audio_pretraining import pretrain_audio_backbone
from mmavs.synthesis.layouts import DIRECTORIES
from mmavs.synthesis.scenes import TWIN_PITCHES
from mmavs.utils.config import find_clip_dataset, load_config
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import check_writable_directory
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
    parser.add_argument('--data', type=Path, default=Path('data/synthetic-ms3'), help='directory of these clips')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/compare'), help='directory of the results')
    add_cfg_options(parser, default={})
    return parser.parse_args()


def start_process() -> None:
    """Prepare this process or one of the pool: one thread, no messages of other libraries."""
    use_one_thread()
    quiet_libraries()


def data_roots(config: Config, data: Path) -> dict[str, str]:
    """Options that move the datasets of a config to the directory ``data``."""
    datasets = (find_clip_dataset(config, split) for split in ('train', 'val', 'test'))
    return {f'{key}.data_root': str(data / Path(dataset['data_root']).name) for key, dataset in datasets}


def make_audio_weights(backbone: dict) -> None:
    """Pretrain the audio backbone of a small config unless the file of its weights exists."""
    weights = (backbone.get('init_cfg') or {}).get('checkpoint')
    if weights in AUDIO_WEIGHTS and not Path(weights).exists():
        accuracy = pretrain_audio_backbone(backbone | dict(output='embedding'), weights, pitches=AUDIO_WEIGHTS[weights])
        Console().print(f'{weights}: {accuracy:.1%} of the synthetic audio classified correctly')


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


@cli_errors()
def main() -> None:
    args = parse_args()
    console = Console()
    check_writable_directory(args.work_dir)
    start_process()
    configs = {config: load_config(config, args.cfg_options) for config in args.configs}
    roots = dict.fromkeys(configs, {}) if args.own_data else make_data(args, configs)

    names = {config: Path(config).stem for config in args.configs}
    scores = {}
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context('spawn'), start_process) as pool:
        # Seed by seed: an interrupted comparison has results of all methods.
        runs = {
            pool.submit(train_and_score, config, seed, args.work_dir / names[config] / f'seed{seed}',
                        args.cfg_options | roots[config]): (config, seed)
            for seed in args.seeds
            for config in args.configs
        }
        for run in as_completed(runs):
            config, seed = runs[run]
            scores[config, seed] = run.result()
            found = scores[config, seed]['original']
            done = ', '.join(f'{metric} {found[metric]:.3f}' for metric in headline_scores([found]))
            console.print(f'{names[config]}, seed {seed}: {done}')

    results = {names[config]: [scores[config, seed] for seed in args.seeds] for config in args.configs}
    costs = {names[config]: measure_cost(config, args.cfg_options) for config in args.configs}
    num_train, _, num_test = args.clips
    data = 'data of the configs' if args.own_data else f'{num_train} training and {num_test} test clips'
    sizes = sorted({frame_size(config) for config in configs.values()})
    stamp = (
        f'Seeds {", ".join(map(str, args.seeds))}; {data}. Costs: one clip of 5 frames at '
        f'{" or ".join(f"{height}x{width}" for height, width in sizes)}, {hardware_name(torch.device("cpu"))}, one '
        f'thread, CPU time, median of 9, torch {torch.__version__}, {datetime.date.today().isoformat()}. '
        f'`{shlex.join(["python", *sys.argv])}`')
    write_comparison(args.work_dir, results, costs, stamp)
    rows = comparison_table(results, costs)
    table = Table('', *(row['method'] for row in rows), title='mean ± standard deviation over the seeds')
    for quantity in list(rows[0])[1:]:
        table.add_row(quantity, *(row[quantity] for row in rows))
    console.print(table)
    console.print(args.work_dir / 'comparison.md')


if __name__ == '__main__':
    main()
