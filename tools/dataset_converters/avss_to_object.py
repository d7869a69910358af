"""Make frames and masks of S4 or MS3 of those of AVSBench-semantic; print a line per clip that cannot be made."""
import argparse
import sys

from mmavs.utils.errors import cli_errors

SUBSETS = ('s4', 'ms3')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('avss_root', help='directory of AVSBench-semantic, such as data/AVSBench/AVSS')
    parser.add_argument('object_root', help='directory of the subset, such as data/AVSBench/Single-source; the frames '
                        'and masks are written into it')
    parser.add_argument('--subset', choices=SUBSETS, required=True)
    parser.add_argument('--size', type=int, default=384, help='side of the frames in pixels (default: 384)')
    parser.add_argument('--mask-prior', metavar='DIR',
                        help='directory of mask priors below avss_root, such as pre_SAM_mask/AVSBench_semantic, to '
                        'convert them too')
    parser.add_argument('--events', nargs='+', help='other categories of S4')
    return parser.parse_args()


@cli_errors()
def main() -> None:
    """Write the files and print the problems."""
    args = parse_args()
    from mmavs.datasets.avss_to_object import convert_avss_to_object

    metainfo = dict(events=args.events) if args.events else None
    done = convert_avss_to_object(args.avss_root, args.object_root, args.subset, args.size, args.mask_prior, metainfo)
    for problem in done.problems:
        print(problem)
    print(f'{done.written} file(s) written in {args.object_root}, {done.kept} kept as they were, '
          f'{len(done.problems)} clip(s) incomplete', file=sys.stderr)
    sys.exit(1 if done.problems or not done.written + done.kept else 0)


if __name__ == '__main__':
    main()
