"""``mmavs download``: fetch published weights."""
import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

DESCRIPTION = 'Fetch published weights of models and of pretrained backbones'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument('names', nargs='+', metavar='NAME',
                        help='models of the zoo, whose checkpoints are fetched and converted, or pretrained backbones: '
                        'vggish, swin-b-384, ... (those of configs/_base_/pretrained.yml)')
    parser.add_argument('--backbones', action='store_true',
                        help='instead of checkpoints of the models, or of config files, fetch the pretrained backbones '
                        'that training them starts from')


def run(args: argparse.Namespace) -> int:
    """Fetch all, print the file of each on a line, and one line for each that cannot be fetched."""
    from mmavs.utils.errors import USER_ERRORS, user_message
    from mmavs.utils.terminal import quiet_libraries

    quiet_libraries()
    failed = 0
    for name in args.names:
        try:
            for file in fetch_all(name, args.backbones):
                print(file, flush=True)
        except USER_ERRORS as error:
            message = user_message(error)
            if message is None:
                raise
            failed += 1
            print(f'error: {message}', file=sys.stderr)
    return 1 if failed else 0


def fetch_all(name: str, backbones: bool) -> Iterator[Path | str]:
    """Fetch what one name stands for, and iterate over the files."""
    from mmavs.apis.weights import fetch_backbone, fetch_pretrained, published_weights
    from mmavs.utils.config import load_config
    from mmavs.utils.zoo import read_backbones

    if name in read_backbones():
        yield fetch_backbone(read_backbones()[name])
    elif backbones:
        yield from fetch_pretrained(load_config(name))
    else:
        yield published_weights(name)
