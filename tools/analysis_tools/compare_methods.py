#!/usr/bin/env python
"""Train and score several methods on drawn clips, with several seeds: ``compare_methods.py [CONFIG ...]``.

All get the same clips and the same number of steps of the same size. Results go to ``WORK_DIR/comparison.md`` and
``.json``; what has been trained before with the same config and seed is not trained again.
"""
import argparse
import datetime
import multiprocessing
import os
import shlex
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

# The processes beside each other share the cores.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch
from mmengine.config import Config, DictAction
from rich.console import Console
from rich.table import Table

from mmavs.analysis.method_comparison import (
    comparison_table,
    measure_cost,
    train_and_score,
    use_one_thread,
    write_comparison,
)
from mmavs.analysis.timing import hardware_name
from mmavs.synthesis import synthesize_clips
from mmavs.synthesis.audio_pretraining import pretrain_audio_backbone
from mmavs.synthesis.layouts import DIRECTORIES
from mmavs.synthesis.scenes import TWIN_PITCHES
from mmavs.utils.config import find_clip_dataset, load_config
from mmavs.utils.errors import cli_errors

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
DEFAULT = ('tpavi/tpavi_tiny_synthetic-ms3.py', 'avsegformer/avsegformer_tiny_synthetic-ms3.py',
           'vct/act_tiny_synthetic-ms3.py', 'vct/vct_tiny_synthetic-ms3.py', 'ravs/ravs_tiny_synthetic-ms3.py')
# The audio backbones that the small configs begin with, and the pitches that they have heard.
AUDIO_WEIGHTS = {
    'pretrained/vggish_tiny_drawn-sounds.pth': (1., ),
    'pretrained/vggish_tiny_drawn-pitches.pth': tuple(sorted(set(TWIN_PITCHES), reverse=True)),
}
SUBSETS = {folder: subset for subset, folder in DIRECTORIES.items()}
FRAME_SIZE = (96, 96)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train and score methods on drawn clips, with several seeds')
    parser.add_argument('configs', nargs='*', default=[str(CONFIGS / name) for name in DEFAULT],
                        help='configs on drawn clips (default: the small TPAVI, AVSegFormer, ACT, VCT and RAVS)')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--jobs', type=int, default=1, help='trainings beside each other, one thread each')
    parser.add_argument('--clips', type=int, nargs=3, default=[300, 30, 60], metavar=('TRAIN', 'VAL', 'TEST'))
    parser.add_argument('--data', type=Path, default=Path('data/synthetic-ms3'), help='folder of the clips')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/compare'), help='folder of the results')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE',
                        help="values that replace those of all configs, train_cfg.max_iters=100 for example")
    return parser.parse_args()


def data_roots(config: Config, data: Path) -> dict[str, str]:
    """Options that move the data sets of a config to the folder ``data``."""
    datasets = (find_clip_dataset(config, split) for split in ('train', 'val', 'test'))
    return {f'{key}.data_root': str(data / Path(dataset['data_root']).name) for key, dataset in datasets}


def make_audio_weights(backbone: dict) -> None:
    """Train the audio backbone that a small config begins with, unless it is there."""
    weights = (backbone.get('init_cfg') or {}).get('checkpoint')
    if weights in AUDIO_WEIGHTS and not Path(weights).exists():
        accuracy = pretrain_audio_backbone(backbone | dict(output='embedding'), weights, pitches=AUDIO_WEIGHTS[weights])
        Console().print(f'{weights}: {accuracy:.1%} of the drawn sounds named right')


@cli_errors()
def main() -> None:
    args = parse_args()
    console = Console()
    use_one_thread()
    num_train, num_val, num_test = args.clips
    configs = {config: load_config(config, args.cfg_options) for config in args.configs}
    roots = {name: data_roots(config, args.data) for name, config in configs.items()}
    for folder in sorted({Path(root).name for options in roots.values() for root in options.values()}):
        synthesize_clips(args.data, SUBSETS[folder], num_train, num_val, num_test, workers=args.jobs)
    for config in configs.values():
        make_audio_weights(config.model.audio_backbone)

    names = {config: Path(config).stem for config in args.configs}
    scores = {}
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context('spawn'), use_one_thread) as pool:
        # Seed by seed, so that an interrupted comparison has all methods.
        runs = {
            pool.submit(train_and_score, config, seed, args.work_dir / names[config] / f'seed{seed}',
                        args.cfg_options | roots[config]): (config, seed)
            for seed in args.seeds
            for config in args.configs
        }
        for run in as_completed(runs):
            config, seed = runs[run]
            scores[config, seed] = run.result()
            console.print(f"{names[config]}, seed {seed}: M_J {scores[config, seed]['own']['avsbench/M_J']:.3f}")

    results = {names[config]: [scores[config, seed] for seed in args.seeds] for config in args.configs}
    costs = {names[config]: measure_cost(config, FRAME_SIZE, args.cfg_options) for config in args.configs}
    height, width = FRAME_SIZE
    stamp = (
        f'Seeds {", ".join(map(str, args.seeds))}; {num_train} training and {num_test} test clips. Costs: one clip of '
        f'5 frames at {height}x{width}, {hardware_name(torch.device("cpu"))}, one thread, CPU time, median of 9, torch '
        f'{torch.__version__}, {datetime.date.today().isoformat()}. `{shlex.join(["python", *sys.argv])}`')
    write_comparison(args.work_dir, results, costs, stamp)
    rows = comparison_table(results, costs)
    table = Table('', *(row['method'] for row in rows), title='mean ± standard deviation over the seeds')
    for quantity in list(rows[0])[1:]:
        table.add_row(quantity, *(row[quantity] for row in rows))
    console.print(table)
    console.print(args.work_dir / 'comparison.md')


if __name__ == '__main__':
    main()
