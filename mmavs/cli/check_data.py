"""``mmavs check-data``: check the files of a dataset."""
import argparse
import sys

from .arguments import add_json, positive_int

DESCRIPTION = 'Check a dataset: print one line per missing, unreadable or inconsistent file'
# The keys of mmavs.datasets.check.DATASET_TYPES, whose import takes seconds.
SUBSETS = ('s4', 'ms3', 'avss', 'vpo-ss', 'vpo-ms', 'vpo-msmi')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.epilog = 'Exits with status 1 if there is any problem.'
    parser.add_argument('data_root', help='directory with the CSV file, such as data/AVSBench/Single-source')
    parser.add_argument('--subset', choices=SUBSETS, required=True)
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
    add_json(parser, 'the problems')


def run(args: argparse.Namespace) -> int:
    """Print the problems, one per line."""
    from mmavs.datasets.check import check_dataset
    from mmavs.utils.json_files import to_json
    from mmavs.utils.terminal import messages_to_stderr

    metainfo = {key: value for key, value in (('classes', args.classes), ('events', args.events)) if value}
    with messages_to_stderr(args.json):
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
    if args.json:
        print(to_json(dict(data_root=args.data_root, subset=args.subset, problems=problems)))
    else:
        for problem in problems:
            print(problem)
    print(f'{len(problems)} problem(s) found in {args.data_root}', file=sys.stderr)
    return 1 if problems else 0
