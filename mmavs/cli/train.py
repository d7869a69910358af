"""``mmavs train``: train a model."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import add_run_arguments, load_run_config

if TYPE_CHECKING:
    from mmengine.config import Config

DESCRIPTION = 'Train a model'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_run_arguments(parser)
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='continue a training: from the named checkpoint, or from the latest of the work dir')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate by batch size / auto_scale_lr.base_batch_size of the config')
    parser.add_argument('--amp', action='store_true', help='mixed precision (needs a GPU)')


def run(args: argparse.Namespace) -> None:
    """Train, in this process or as one of those that a launcher has started."""
    from mmavs.engine.training import train

    config = load_run_config(args)
    if args.amp:
        config.optim_wrapper.type = 'AmpOptimWrapper'
        config.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.resume:
        if args.resume != 'auto' and not Path(args.resume).is_file():
            raise FileNotFoundError(f'--resume {args.resume}: no such file')
        config.resume = True
        config.load_from = None if args.resume == 'auto' else args.resume
    if args.auto_scale_lr:
        enable_auto_scale_lr(config, args.config)
    train(config, args.launcher)


def enable_auto_scale_lr(config: Config, name: str) -> None:
    """Let the runner scale the learning rate linearly with the batch size of all processes."""
    if not (config.get('auto_scale_lr') or {}).get('base_batch_size'):
        raise ValueError(f'--auto-scale-lr: {name} does not state the batch size of its learning rate: add '
                         'auto_scale_lr=dict(base_batch_size=...)')
    config.auto_scale_lr.enable = True
