#!/usr/bin/env python
"""Train a model: ``python tools/train.py CONFIG``."""
import argparse
import os.path as osp
import sys

from mmengine.config import DictAction

from mmavs.engine.launch import build_runner
from mmavs.utils.config import load_config
from mmavs.utils.errors import cli_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model')
    parser.add_argument('config', help='config file, or name of a model of the zoo')
    parser.add_argument('--work-dir', help='folder of logs and checkpoints (default: work_dirs/NAME_OF_CONFIG)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue a training: from the named checkpoint, or from the latest of the work dir')
    parser.add_argument('--amp', action='store_true', help='mixed precision (needs a GPU)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='values that replace those of the config, for example train_cfg.max_iters=100')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # Passed by older launchers; torchrun sets the environment variable instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


@cli_errors()
def main() -> None:
    args = parse_args()
    config = load_config(args.config, args.cfg_options)
    if args.work_dir or config.get('work_dir') is None:
        config.work_dir = args.work_dir or osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    if args.amp:
        config.optim_wrapper.type = 'AmpOptimWrapper'
        config.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.resume:
        if args.resume != 'auto' and not osp.isfile(args.resume):
            sys.exit(f'error: --resume {args.resume}: no such file')
        config.resume = True
        config.load_from = None if args.resume == 'auto' else args.resume
    build_runner(config, args.launcher).train()


if __name__ == '__main__':
    main()
