"""``mmavs models``: print the model zoo."""
import argparse
from dataclasses import asdict

from .arguments import add_json

DESCRIPTION = 'Print the models of the zoo as a table'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument('pattern', nargs='*', default=['*'],
                        help="patterns of names, for example 'vct_*_avss' (default: all models)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--names', action='store_true', help='print only the names, one per line')
    add_json(form, 'all that the metafiles state')


def run(args: argparse.Namespace) -> None:
    """Print the table."""
    from mmavs.utils.json_files import to_json
    from mmavs.utils.model_list import list_models
    from mmavs.utils.zoo import find_model

    models = list_models(args.pattern)
    if not models:
        raise ValueError(f"no model of the zoo matches {' or '.join(args.pattern)}")
    if args.names:
        print(*models, sep='\n')
    elif args.json:
        infos = [find_model(name) for name in models]
        print(to_json([dict(asdict(info), config=str(info.config)) for info in infos]))
    else:
        print(models)
