"""``mmavs infer``: segment videos."""
import argparse
import sys
from fractions import Fraction
from pathlib import Path

DESCRIPTION = 'Segment the sounding objects of videos'
OUTPUTS = ('overlay', 'png', 'npz')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument('videos', nargs='+', metavar='VIDEO', help='video files, or directories of video files')
    parser.add_argument('--model', required=True, help='name of a model of the zoo, or config file')
    parser.add_argument('--weights', required=True, metavar='FILE', help='checkpoint')
    parser.add_argument('--out', required=True, metavar='DIR',
                        help='directory of the results: DIR/NAME for the video NAME')
    parser.add_argument('--fps', type=frame_rate, default=1, metavar='N',
                        help="frames per second to segment, or 'native' for all frames (default: 1, as trained)")
    parser.add_argument('--outputs', nargs='+', choices=OUTPUTS, default=['overlay', 'png'],
                        help='overlay.mp4, masks/00000.png, masks.npz (default: overlay png)')
    parser.add_argument('--mask-prior', metavar='NAME',
                        help='for models with a mask-prior branch: none, sam, sam2, a SAM of the Hub or its directory, '
                        'or the directory that make_mask_priors.py wrote')
    parser.add_argument('--device', help='for example cpu or cuda:1 (default: the GPU if there is one)')
    parser.add_argument('--skip-existing', action='store_true', help='leave videos out whose results are complete')


def frame_rate(text: str) -> Fraction | str:
    """Read a rate such as 25, 29.97 or 30000/1001."""
    if text == 'native':
        return text
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of frames per second, or 'native'")
    return rate


def run(args: argparse.Namespace) -> int:
    """Write the results of each video, and one line for each that cannot be used."""
    from mmavs.apis import AVSInferencer
    from mmavs.apis.inferencer import result_names
    from mmavs.apis.outputs import output_paths
    from mmavs.utils.errors import USER_ERRORS, user_message
    from mmavs.utils.progress import track_progress
    from mmavs.video import list_videos

    videos = [video for path in args.videos for video in ([path] if '://' in path else list_videos(path))]
    targets = {video: Path(args.out) / name for video, name in zip(videos, result_names(videos))}
    inferencer, failed = AVSInferencer(args.model, args.weights, args.device, args.mask_prior), 0
    for video, target in track_progress(targets.items(), 'videos', len(targets)):
        if args.skip_existing and all(path.exists() for path in output_paths(target, args.outputs).values()):
            continue
        try:
            inferencer.write(video, target, args.outputs, args.fps)
        except USER_ERRORS as error:
            message = user_message(error)
            if message is None:
                raise
            failed += 1
            print(f'error: {message}', file=sys.stderr)
    print(f'{len(targets) - failed} of {len(targets)} video(s) segmented, results in {args.out}', file=sys.stderr)
    return 1 if failed else 0
