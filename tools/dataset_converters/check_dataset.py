"""Check a data root: print one line per missing, unreadable or inconsistent file; exit with code 1 if there is any."""
import argparse
import sys

from mmavs.datasets.check import DATASET_TYPES, check_dataset
from mmavs.utils.cli import positive_int
from mmavs.utils.errors import cli_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data_root', help='directory with the CSV file, such as data/AVSBench/Single-source')
    parser.add_argument('--subset', choices=list(DATASET_TYPES), required=True)
    parser.add_argument(
        '--layout',
        help='tree of S4 and MS3 (object, or 384 or another size; default: object) or of VPO (cavp or clean; default: '
        'cavp)')
    parser.add_argument('--audio-mode', choices=['mono', 'stereo'], default='mono', help='audio of VPO')
    parser.add_argument('--mask-prior', help='directory of mask priors below data_root, to check them too')
    parser.add_argument('--classes', nargs='+', help='other class names of AVSS or VPO, background first')
    parser.add_argument('--events', nargs='+', help='other categories of S4')
    parser.add_argument('--off-palette', choices=['error', 'background'], default='error',
                        help='colors of no class in masks of AVSS, as in LoadClipMasks (default: error)')
    parser.add_argument('--allow-unlabelled', action='store_true',
                        help='255 in masks of classes is unlabelled, as in LoadClipMasks (default: an error)')
    parser.add_argument('--any-size', action='store_true', help='do not check the splits for their published sizes')
    parser.add_argument('--threads', type=positive_int, default=4, help='clips decoded in parallel')
    return parser.parse_args()


@cli_errors()
def main() -> None:
    """Print the problems, one per line."""
    args = parse_args()
    metainfo = {key: value for key, value in (('classes', args.classes), ('events', args.events)) if value}
    problems = check_dataset(
        args.data_root,
        args.subset,
        layout=args.layout,
        audio_mode=args.audio_mode,
        mask_prior=args.mask_prior,
        metainfo=metainfo or None,
        published=not args.any_size,
        num_threads=args.threads,
        off_palette=args.off_palette,
        allow_unlabelled=args.allow_unlabelled)
    for problem in problems:
        print(problem)
    print(f'{len(problems)} problem(s) found in {args.data_root}', file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == '__main__':
    main()
