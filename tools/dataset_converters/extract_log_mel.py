"""Write the log-mel files of AVSBench from its wav files; print one line per wav file that cannot be used."""
import argparse
import sys

from mmavs.utils.errors import cli_errors

SUBSETS = ('s4', 'ms3', 'avss')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data_root', help='directory with the CSV file, such as data/AVSBench/Single-source')
    parser.add_argument('--subset', choices=SUBSETS, required=True)
    parser.add_argument('--overwrite', action='store_true', help='replace files that exist (default: leave them)')
    parser.add_argument('--classes', nargs='+', help='other class names of AVSS, background first')
    parser.add_argument('--events', nargs='+', help='other categories of S4')
    return parser.parse_args()


@cli_errors()
def main() -> None:
    """Write the files and print the problems."""
    args = parse_args()
    from mmavs.datasets.log_mel_extraction import extract_log_mel

    metainfo = {key: value for key, value in (('classes', args.classes), ('events', args.events)) if value}
    done = extract_log_mel(args.data_root, args.subset, metainfo or None, args.overwrite)
    for problem in done.problems:
        print(problem)
    print(f'{done.written} log-mel file(s) written in {args.data_root}, {done.kept} kept as they were, '
          f'{done.without_audio} clip(s) without a wav file, {len(done.problems)} wav file(s) that cannot be used',
          file=sys.stderr)
    sys.exit(1 if done.problems or not done.written + done.kept else 0)


if __name__ == '__main__':
    main()
