"""Find and run a sub-command of ``mmavs``, or run it as a tool of its own.

A sub-command is a module with ``DESCRIPTION``, one line; ``add_arguments(parser)``; and ``run(args)``, which returns
the exit status, or None for success. It imports what is slow inside ``run``, so that ``--help`` is fast.
"""
import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

#: Sub-command -> its module in this package.
COMMANDS = {
    'export': 'export',
    'infer': 'infer',
    'models': 'models',
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``mmavs COMMAND ...``; exits with its status if that is not 0."""
    parser = argparse.ArgumentParser(prog='mmavs', description='Audio-visual segmentation: segment the sounding '
                                     'objects of videos')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name, module in COMMANDS.items():
        command = import_module(f'.{module}', __package__)
        command.add_arguments(commands.add_parser(name, help=command.DESCRIPTION, description=command.DESCRIPTION))
    args = parser.parse_args(argv)
    _run(import_module(f'.{COMMANDS[args.command]}', __package__), args)


def run_tool(command: ModuleType, argv: Sequence[str] | None = None) -> None:
    """Run a sub-command as a program of its own: the tools with the same name."""
    parser = argparse.ArgumentParser(description=command.DESCRIPTION)
    command.add_arguments(parser)
    _run(command, parser.parse_args(argv))


def _run(command: ModuleType, args: argparse.Namespace) -> None:
    from mmavs.utils.errors import cli_errors

    with cli_errors():
        status = command.run(args)
    if status:
        sys.exit(status)
