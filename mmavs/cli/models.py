"""``mmavs models``: print the model zoo as a table."""
import argparse
import sys

DESCRIPTION = 'Print the models of the zoo as a table'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument('pattern', nargs='*', default=['*'],
                        help="patterns of names, for example 'vct_*_avss' (default: all models)")
    parser.add_argument('--names', action='store_true', help='print only the names, one per line')


def run(args: argparse.Namespace) -> None:
    """Print the table."""
    from mmavs.apis import list_models

    models = list_models(args.pattern)
    if not models:
        sys.exit(f"error: no model of the zoo matches {' or '.join(args.pattern)}")
    if args.names:
        print(*models, sep='\n')
    else:
        print(models)
