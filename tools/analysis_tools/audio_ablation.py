#!/usr/bin/env python
"""Score a checkpoint with right and wrong sounds: ``audio_ablation.py CONFIG CHECKPOINT``."""
import argparse
import json
import os.path as osp
from pathlib import Path

from mmengine.config import DictAction
from mmengine.dist import is_main_process
from rich.console import Console
from rich.table import Table

from mmavs.analysis.audio_ablation import audio_ablation
from mmavs.utils.config import load_config
from mmavs.utils.errors import cli_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Score a checkpoint with own, muted and swapped sound')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder of the logs (default: work_dirs/NAME_OF_CONFIG)')
    parser.add_argument('--out', metavar='FILE', help='JSON file for the metrics')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='values that replace those of the config')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


@cli_errors()
def main() -> None:
    args = parse_args()
    config = load_config(args.config, args.cfg_options)
    config.work_dir = args.work_dir or osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    scores = audio_ablation(config, args.checkpoint, args.launcher)
    if not is_main_process():
        return
    table = Table('metric', *scores, title=f'{osp.basename(args.config)} by sound')
    for name in scores['own']:
        table.add_row(name, *(f'{metrics[name]:.4f}' for metrics in scores.values()))
    Console().print(table)
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(scores, indent=2) + '\n')


if __name__ == '__main__':
    main()
