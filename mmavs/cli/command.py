"""Find and run a sub-command of ``mmavs``, or run it as a tool of its own.

A sub-command is a module with ``DESCRIPTION``, one line; ``add_arguments(parser)``; and ``run(args)``, which returns
the exit status, or None for success. It imports what is slow inside ``run``, so that ``--help`` is fast. For arguments
that do not fit together ``run`` raises ``argparse.ArgumentError(None, message)``.
"""
import argparse
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType

from mmavs.utils.errors import cli_errors
from mmavs.version import __version__

#: Sub-command -> its module in this package, in the order of the help.
COMMANDS = {
    'infer': 'infer',
    'serve': 'serve',
    'models': 'models',
    'download': 'download',
    'train': 'train',
    'test': 'test',
    'score': 'score',
    'check-data': 'check_data',
    'convert': 'convert',
    'export': 'export',
    'publish': 'publish',
}
EXIT_STATUSES = ('exit status: 0 success, 1 an error or some of the inputs failed, 2 wrong arguments, 130 interrupted '
                 '(Ctrl-C)')


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``mmavs COMMAND ...``; exits with its status if that is not 0."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser, commands = make_parsers()
    if argv and not argv[0].startswith('-') and argv[0] not in COMMANDS:
        close = get_close_matches(argv[0], COMMANDS, n=1)
        advice = f'did you mean {close[0]}?' if close else f"expected one of {', '.join(COMMANDS)}"
        parser.error(f'{argv[0]!r} is not a command: {advice}')
    args = parser.parse_args(argv)
    _run(_command(args.command), commands[args.command], args)


def run_tool(command: ModuleType, argv: Sequence[str] | None = None) -> None:
    """Run a sub-command as a program of its own: the tools of the same purpose."""
    parser = argparse.ArgumentParser(description=command.DESCRIPTION)
    command.add_arguments(parser)
    _run(command, parser, parser.parse_args(argv))


def make_parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of ``mmavs``, and those of its sub-commands by name."""
    parser = argparse.ArgumentParser(prog='mmavs', epilog=EXIT_STATUSES, description='Audio-visual segmentation: '
                                     'segment the sounding objects of videos, train and test models')
    parser.add_argument('-V', '--version', action='version', version=f'mmavs {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND', title='commands',
                                     description="'mmavs COMMAND --help' prints the arguments of a command")
    for name in COMMANDS:
        command = _command(name)
        command.add_arguments(commands.add_parser(name, help=command.DESCRIPTION, description=command.DESCRIPTION))
    return parser, commands.choices


def let_idle_threads_sleep() -> None:
    """Let threads of PyTorch that wait for each other sleep, unless ``OMP_WAIT_POLICY`` says otherwise.

    By default they wait in a loop. On a machine whose cores are busy, as they are with the processes that load the
    data, the one that the others wait for then gets no core: a step of EfficientNet-Lite0 on two cores took four to
    seven times as long. On idle cores the time is about the same. The OpenMP runtime reads the variable when PyTorch is
    imported.
    """
    os.environ.setdefault('OMP_WAIT_POLICY', 'passive')


def _command(name: str) -> ModuleType:
    return import_module(f'.{COMMANDS[name]}', __package__)


def _run(command: ModuleType, parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    let_idle_threads_sleep()
    try:
        with cli_errors():
            status = command.run(args)
            sys.stdout.flush()
    except argparse.ArgumentError as error:
        parser.error(str(error))
    except BrokenPipeError:
        if not _reader_has_left():
            raise
        status = 1
    if status:
        sys.exit(status)


def _reader_has_left() -> bool:
    """Check if what reads stdout has ended, as in ``mmavs models | head``; if so, drop the rest of the output."""
    try:
        print(flush=True)
        return False
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
