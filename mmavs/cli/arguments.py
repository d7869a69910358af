"""Arguments that commands and tools share, and the config that they select."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

# Imported before PyTorch: it notes the parent of the process.
import mmavs.utils.parent_process  # noqa: F401

from .cfg_options import ConfigOptions

if TYPE_CHECKING:
    from mmengine.config import Config

#: Names of ``mmavs.utils.precision.PRECISIONS``, which the help prints without importing PyTorch.
PRECISIONS = ('fp32', 'bf16', 'fp16')


def positive_int(text: str) -> int:
    """Parse a count on the command line; use it as ``type`` of ``add_argument``."""
    if not text.strip().isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r}, expected a whole number of at least 1')
    return int(text)


def non_negative_int(text: str) -> int:
    """Parse a number from 0 on the command line; use it as ``type`` of ``add_argument``."""
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r}, expected a whole number of at least 0')
    return int(text)


def add_config(parser: argparse.ArgumentParser, **options) -> None:
    """Add the argument ``config``; ``options`` are those of ``add_argument``."""
    parser.add_argument('config', help='config file, or name of a model of the zoo', **options)


def add_cfg_options(parser: argparse.ArgumentParser, example: str = 'train_cfg.max_iters=100', **options) -> None:
    """Add ``--cfg-options``; ``options`` are those of ``add_argument``."""
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE',
                        help=f'values that replace those of the config, for example {example}', **options)


def add_json(parser: argparse._ActionsContainer, content: str) -> None:
    """Add ``--json``, which prints the data of a command on stdout as JSON, and everything else on stderr.

    Args:
        parser: The parser, or a group of it.
        content: The data, for the help.
    """
    parser.add_argument('--json', action='store_true', help=f'print {content} as JSON, and all messages on stderr')


def add_acceleration(parser: argparse.ArgumentParser) -> None:
    """Add ``--precision`` and ``--compile``."""
    parser.add_argument('--precision', choices=PRECISIONS, default='fp32',
                        help='type to predict in; what decides about pixels stays float32 (default: fp32)')
    parser.add_argument('--compile', action='store_true',
                        help='compile the model, which takes minutes for each size of frames')


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Add ``--launcher``, and the rank that older launchers pass."""
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='what has started the processes (default: none, a single process)')
    # torchrun sets the environment variable LOCAL_RANK instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def add_run_arguments(parser: argparse.ArgumentParser, checkpoint: bool = False, **cfg_options) -> None:
    """Add the arguments of a command that runs one config.

    Args:
        parser: The parser of the command.
        checkpoint: Whether the command takes a checkpoint after the config.
        cfg_options: Arguments of :func:`add_cfg_options`.
    """
    add_config(parser)
    if checkpoint:
        parser.add_argument('checkpoint', help="checkpoint file, or 'published' for the weights of the authors")
    parser.add_argument('--work-dir', metavar='DIR',
                        help='directory of logs and checkpoints (default: work_dirs/NAME_OF_CONFIG)')
    add_cfg_options(parser, **cfg_options)
    add_launcher(parser)


def load_run_config(args: argparse.Namespace) -> Config:
    """Load the config that the arguments of :func:`add_run_arguments` select, with its work directory.

    Messages of other libraries are kept off the terminal.
    """
    from mmavs.utils.config import load_config
    from mmavs.utils.terminal import quiet_libraries

    quiet_libraries()
    config = load_config(args.config, args.cfg_options)
    set_work_dir(config, args.config, args.work_dir)
    return config


def set_work_dir(config: Config, config_file: str, work_dir: str | None = None) -> None:
    """Set the work directory of a run.

    Args:
        config: The config, changed in place.
        config_file: Its file, or the name of a model of the zoo, as given on the command line.
        work_dir: The directory; None keeps that of the config, else takes ``work_dirs/NAME_OF_CONFIG``.
    """
    config.work_dir = work_dir or config.get('work_dir') or str(Path('work_dirs', Path(config_file).stem))
