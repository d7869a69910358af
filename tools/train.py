#!/usr/bin/env python
"""Train a model: ``python tools/train.py CONFIG``."""
import argparse
import os.path as osp
import sys

from mmengine.config import Config

from mmavs.engine.training import train
from mmavs.utils.cli import add_run_arguments, load_run_config
from mmavs.utils.errors import cli_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model')
    add_run_arguments(parser)
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='continue a training: from the named checkpoint, or from the latest of the work dir')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate by batch size / auto_scale_lr.base_batch_size of the config')
    parser.add_argument('--amp', action='store_true', help='mixed precision (needs a GPU)')
    return parser.parse_args()


@cli_errors()
def main() -> None:
    args = parse_args()
    config = load_run_config(args)
    if args.amp:
        config.optim_wrapper.type = 'AmpOptimWrapper'
        config.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.resume:
        if args.resume != 'auto' and not osp.isfile(args.resume):
            sys.exit(f'error: --resume {args.resume}: no such file')
        config.resume = True
        config.load_from = None if args.resume == 'auto' else args.resume
    if args.auto_scale_lr:
        enable_auto_scale_lr(config, args.config)
    train(config, args.launcher)


def enable_auto_scale_lr(config: Config, name: str) -> None:
    """Let the runner scale the learning rate linearly with the batch size of all processes."""
    if not (config.get('auto_scale_lr') or {}).get('base_batch_size'):
        sys.exit(f'error: --auto-scale-lr: {name} does not state the batch size of its learning rate: add '
                 'auto_scale_lr=dict(base_batch_size=...)')
    config.auto_scale_lr.enable = True


if __name__ == '__main__':
    main()
