#!/usr/bin/env python
"""Make the mask priors of a dataset, a directory of frames or videos: ``make_mask_priors.py INPUT OUT``."""
import argparse
import re
import sys
from pathlib import Path

from mmavs.cli.arguments import positive_int
from mmavs.cli.infer import frame_rate
from mmavs.utils.errors import cli_errors

SPLITS = ('train', 'val', 'test')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Make the mask priors (*_mask_color.png) of COMBO and VCT. Run it again after an interruption: '
        'files of the same frames and settings are kept.')
    parser.add_argument('input', help='a data root with --subset, a config (file or name of the zoo), a video, a '
                        'directory of videos, or a directory of frames')
    parser.add_argument('out', help='directory of the mask priors; OUT/NAME for a video or a directory NAME')
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--generator', metavar='NAME',
                        help='none (constant gray), sam, sam2, another SAM of the Hugging Face Hub, or its '
                        'local directory')
    source.add_argument('--masks', metavar='DIR', help='take the *_mask.npy files of Semantic-SAM in DIR')
    source.add_argument('--id-maps', metavar='DIR', help='take the id maps (*.png, *.npy) in DIR')
    parser.add_argument('--settings', choices=['level3', 'sam'], default='level3',
                        help='of SAM: nearest to Semantic-SAM (default), or those of SAM itself')
    parser.add_argument('--device', help='for example cpu or cuda:1 (default: the GPU if there is one)')
    parser.add_argument('--size', type=positive_int, help='side of square mask priors (default: that of the frames)')
    parser.add_argument('--subset', choices=['s4', 'ms3', 'avss'], help='dataset of the data root')
    parser.add_argument('--layout', help="of S4 and MS3: 'object' (default) or '384'")
    parser.add_argument('--splits', nargs='+', choices=SPLITS, default=list(SPLITS))
    parser.add_argument('--fps', type=frame_rate, default=1, metavar='N',
                        help="of videos: frames per second, or 'native' (default: 1)")
    parser.add_argument('--shard', type=shard, default=(1, 1), metavar='K/N',
                        help='do every N-th frame from the K-th on, for N processes side by side')
    return parser.parse_args()


def shard(text: str) -> tuple[int, int]:
    """Read K/N."""
    match = re.fullmatch(r'(\d+)/(\d+)', text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f'{text!r}, expected K/N with K from 1 to N, for example 2/8')
    return int(match[1]), int(match[2])


@cli_errors()
def main() -> None:
    """Write the mask priors; print one line for each frame that cannot be used."""
    args = parse_args()

    from mmavs.apis.mask_generators import IdMapFiles, MaskFiles
    from mmavs.apis.mask_prior_files import write_mask_priors
    from mmavs.apis.mask_priors import MaskPriorGenerator
    from mmavs.utils.files import check_writable_directory
    from mmavs.utils.progress import track_progress
    from mmavs.utils.terminal import quiet_libraries

    quiet_libraries()
    check_writable_directory(args.out)
    frames, input_settings = list_frames(args)
    if args.generator:
        masks = args.generator
    else:
        masks = MaskFiles(args.masks) if args.masks else IdMapFiles(args.id_maps)
    generator = MaskPriorGenerator(masks, args.device, args.settings, args.size)
    # Of a video, the number of frames is not known before it is decoded.
    total = len(frames) if isinstance(frames, list) else None
    frames = track_progress(frames, 'mask priors', total)
    done = write_mask_priors(frames, args.out, generator, input_settings, args.shard)
    for problem in done.problems:
        print(problem)
    print(f'{done.written} mask prior(s) written in {args.out}, {done.kept} kept as they were, {len(done.problems)} '
          'frame(s) that cannot be used', file=sys.stderr)
    sys.exit(1 if done.problems or not done.written + done.kept else 0)


def list_frames(args: argparse.Namespace) -> tuple:
    """The frames of the input, and what is recorded of it."""
    from mmavs.apis.mask_prior_files import config_frames, path_frames, root_frames
    from mmavs.utils.config import load_config

    if args.subset:
        return root_frames(args.input, args.subset, args.out, args.layout, args.splits), {}
    path = Path(args.input)
    if path.suffix == '.py' or not path.exists() and not path.suffix and '/' not in args.input:
        return config_frames(load_config(args.input), args.out, args.splits), {}
    return path_frames(args.input, args.fps)


if __name__ == '__main__':
    main()
