"""``mmavs download``: fetch published weights."""
import argparse
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from .arguments import add_json

DESCRIPTION = 'Fetch published weights of models and of pretrained backbones'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument('names', nargs='+', metavar='NAME',
                        help='models of the zoo, whose checkpoints are fetched and converted, or pretrained backbones: '
                        'vggish, swin-b-384, ... (those of configs/_base_/pretrained.yml)')
    parser.add_argument('--backbones', action='store_true',
                        help='instead of checkpoints of the models, or of config files, fetch the pretrained backbones '
                        'that training them starts from')
    add_json(parser, 'names and files')


def run(args: argparse.Namespace) -> int:
    """Fetch all, print the file of each on a line, and one line for each that cannot be fetched."""
    from mmavs.utils.errors import USER_ERRORS, user_message
    from mmavs.utils.json_files import to_json
    from mmavs.utils.terminal import messages_to_stderr, quiet_libraries

    quiet_libraries()
    fetched, failed = [], 0
    for name in args.names:
        try:
            with messages_to_stderr(args.json):
                for file in fetch_all(name, args.backbones):
                    fetched.append(dict(name=name, file=str(file)))
                    if not args.json:
                        print(file, flush=True)
        except USER_ERRORS as error:
            message = user_message(error)
            if message is None:
                raise
            failed += 1
            print(f'error: {message}', file=sys.stderr)
    if args.json:
        print(to_json(fetched))
    return 1 if failed else 0


def fetch_all(name: str, backbones: bool) -> Iterator[Path | str]:
    """Fetch what one name stands for, and iterate over the files.

    Raises:
        ValueError: There is no model, config or backbone of this name.
    """
    from mmavs.apis.weights import PUBLISHED, fetch_backbone, fetch_pretrained, resolve_weights
    from mmavs.utils.config import load_config
    from mmavs.utils.zoo import current_name, read_backbones, read_zoo

    known = read_backbones()
    if name in known:
        yield fetch_backbone(known[name])
    elif not name.endswith('.py') and current_name(name) not in read_zoo():
        close = get_close_matches(name, [*read_zoo(), *known], n=3)
        advice = f"did you mean {' or '.join(close)}?" if close else f"backbones are {', '.join(known)}"
        raise ValueError(f"{name!r} is neither a model ('mmavs models' lists them) nor a pretrained backbone: {advice}")
    elif backbones:
        files = list(fetch_pretrained(load_config(name)))
        if not files:
            print(f'{name}: the model names no pretrained weights (init_cfg)', file=sys.stderr)
        yield from files
    else:
        yield resolve_weights(name, PUBLISHED)
