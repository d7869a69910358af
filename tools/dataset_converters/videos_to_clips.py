"""Cut own videos into a dataset in the layout of MS3; print one line per video or clip that cannot be used."""
import argparse
import sys
from pathlib import Path

from mmavs.utils.errors import cli_errors

SPLITS = ('train', 'val', 'test')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('videos', nargs='+', type=Path, help='video files, or directories whose files are all videos')
    parser.add_argument('--out', required=True, metavar='DIR', help='directory of the dataset, made or added to')
    parser.add_argument('--masks', metavar='DIR',
                        help='ground truth: DIR/NAME/SECOND.png for the video NAME, 0 or 255, seconds from 0; also for '
                        'clips that were written without masks')
    split = parser.add_mutually_exclusive_group()
    split.add_argument('--split', choices=SPLITS, help='split of all videos (default: 80, 10 and 10 %% of them)')
    split.add_argument('--splits', metavar='CSV', help='file with the columns video and split')
    return parser.parse_args()


@cli_errors()
def main() -> None:
    """Write the clips and print the problems."""
    args = parse_args()
    from mmavs.datasets.clip_extraction import distribute, extract_clips, read_splits

    videos = [file for path in args.videos for file in (files_of(path) if path.is_dir() else [path])]
    if args.split:
        split_of = lambda video: args.split  # noqa: E731
    else:
        split_of = read_splits(args.splits) if args.splits else distribute(videos)
    done = extract_clips(videos, args.out, split_of, args.masks)
    for problem in done.problems:
        print(problem)
    for video in done.silent:
        print(f'{video}: no audio track, its clips are silent')
    labelled = f'{done.labelled} got their masks, ' if args.masks else ''
    print(f'{done.written} clip(s) written in {args.out}, {labelled}{done.kept} kept as they were, '
          f'{len(done.problems)} problem(s)', file=sys.stderr)
    sys.exit(1 if done.problems else 0)


def files_of(directory: Path) -> list[Path]:
    """Files of a directory, without hidden ones."""
    return sorted(path for path in directory.iterdir() if path.is_file() and not path.name.startswith('.'))


if __name__ == '__main__':
    main()
