#!/usr/bin/env python
"""Print a config with everything that it inherits: ``python tools/misc/print_config.py CONFIG``."""
import argparse

from mmavs.cli.arguments import add_cfg_options, add_config
from mmavs.utils.errors import cli_errors
from mmavs.utils.terminal import quiet_libraries


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Print a config with everything that it inherits, after the check')
    add_config(parser)
    add_cfg_options(parser)
    return parser.parse_args()


@cli_errors()
def main() -> None:
    args = parse_args()
    from mmavs.utils.config import load_config

    quiet_libraries()
    print(load_config(args.config, args.cfg_options).pretty_text, end='')


if __name__ == '__main__':
    main()
