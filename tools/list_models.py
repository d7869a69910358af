#!/usr/bin/env python
"""Print the model zoo as a table: ``python tools/list_models.py ['vct_*_avss']``."""
import argparse
import sys

from mmavs.apis import list_models
from mmavs.utils.errors import cli_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Print the models of the zoo as a table')
    parser.add_argument('pattern', nargs='*', default=['*'],
                        help="patterns of names, for example 'vct_*_avss' (default: all models)")
    parser.add_argument('--names', action='store_true', help='print only the names, one per line')
    return parser.parse_args()


@cli_errors()
def main() -> None:
    args = parse_args()
    models = list_models(args.pattern)
    if not models:
        sys.exit(f"error: no model of the zoo matches {' or '.join(args.pattern)}")
    if args.names:
        print(*models, sep='\n')
    else:
        print(models)


if __name__ == '__main__':
    main()
