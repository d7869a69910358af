"""Write synthetic clips in the on-disk layout of AVSBench or VPO: procedural, or composed with --pairs or --cutouts."""
import argparse
from pathlib import Path

from mmavs.cli.arguments import non_negative_int, positive_int
from mmavs.utils.errors import cli_errors

SUBSETS = ('s4', 'ms3', 'avss', 'vpo-ss', 'vpo-ms', 'vpo-msmi', 'twins')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', help='directory; the subset becomes a directory in it')
    parser.add_argument('--subset', choices=SUBSETS, default='ms3')
    parser.add_argument('--layout', choices=['cavp', 'clean'], help='of VPO (default: cavp)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--size', type=positive_int, default=224, help='side of the frames in pixels')
    parser.add_argument('--workers', type=positive_int, default=1, help='processes')
    parser.add_argument('--absent-audio', '--absent-sounds', type=int, metavar='N',
                        help='write N audio files of classes that no procedural clip has to OUT, instead of clips')
    procedural = parser.add_argument_group('procedural clips, and clips of cut-outs')
    procedural.add_argument('--num-train', type=int, help='clips (default: 400)')
    procedural.add_argument('--num-val', type=int, help='clips (default: 40)')
    procedural.add_argument('--num-test', type=int, help='clips (default: 60)')
    composed = parser.add_argument_group('composed clips of images and recordings')
    composed.add_argument('--pairs', help='CSV file of images, masks and recordings, one clip per row')
    composed.add_argument('--classes', help='CSV file of class ids and names (default: classes.csv beside PAIRS)')
    composed.add_argument('--frames', type=int, choices=[5, 10], help='frames per clip of AVSBench (default: 5)')
    cutouts = parser.add_argument_group('composed clips of cut-outs')
    cutouts.add_argument('--cutouts', metavar='PATH', help='CSV file or directory of images with transparency and '
                         'recordings, or the unpacked package tuxpaint-stamps-default')
    cutouts.add_argument('--backgrounds', metavar='DIR', help='directory of photos (default: procedural backgrounds)')
    cutouts.add_argument('--hold-out', type=non_negative_int, metavar='K', help='keep instance K of each class that '
                         'has several for the test split')
    cutouts.add_argument('--categories', type=lambda text: text.split(','), metavar='A,B,...',
                         help='classes to use (default: all); of the others only the audio is used, off screen')
    args = parser.parse_args()
    if args.pairs and args.cutouts:
        parser.error('--cutouts cannot be used with --pairs')
    for name in ('backgrounds', 'hold_out', 'categories'):
        if getattr(args, name) is not None and not args.cutouts:
            parser.error(f"--{name.replace('_', '-')} cannot be used without --cutouts")
    if args.cutouts and args.layout:
        parser.error('--layout cannot be used with --cutouts')
    excluded = ('num_train', 'num_val', 'num_test') if args.pairs else ('classes', 'frames')
    for name in excluded:
        if getattr(args, name) is not None:
            parser.error(f"--{name.replace('_', '-')} cannot be used {'with' if args.pairs else 'without'} --pairs")
    return args


@cli_errors()
def main() -> None:
    """Write the clips and print their directory."""
    args = parse_args()
    from mmavs.synthesis import compose_clips, compose_cutouts, synthesize_absent_audio, synthesize_clips

    if args.absent_audio is not None:
        print(synthesize_absent_audio(args.out, args.absent_audio, args.seed))
        return
    counts = (args.num_train, args.num_val, args.num_test)
    counts = [default if count is None else count for count, default in zip(counts, (400, 40, 60))]
    common = dict(seed=args.seed, size=args.size, workers=args.workers)
    if args.cutouts:
        print(compose_cutouts(args.out, args.subset, args.cutouts, *counts, args.backgrounds, args.hold_out,
                              categories=args.categories, **common))
        return
    common['layout'] = args.layout
    if args.pairs:
        classes = args.classes or Path(args.pairs).with_name('classes.csv')
        print(compose_clips(args.out, args.subset, args.pairs, classes, args.frames, **common))
    else:
        print(synthesize_clips(args.out, args.subset, *counts, **common))


if __name__ == '__main__':
    main()
