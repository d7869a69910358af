#!/usr/bin/env python
"""Draw the predictions of models on clips: ``draw_comparison.py CONFIG CHECKPOINT ... --clips ID ... --out FILE``.

Frames are columns; frames with audio, ground truth and each model are rows. With ``--maps``, the figure shows the mask
logits of VCT's queries and AVSegFormer's features before and after the audio mixer. See docs/user_guides/testing.md.
"""
import argparse
from pathlib import Path

from mmavs.cli.arguments import add_cfg_options
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import atomic_write, check_writable
from mmavs.utils.terminal import quiet_libraries

SUFFIXES = ('.png', '.pdf', '.svg')
SPLITS = ('train', 'val', 'test')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw the predictions of models on chosen clips')
    parser.add_argument('models', nargs='+', metavar='CONFIG CHECKPOINT',
                        help="config of each model, and its checkpoint or 'published'")
    parser.add_argument('--clips', nargs='+', required=True, metavar='ID', help='ids of the clips')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE', help=f"figure, {', '.join(SUFFIXES)}")
    parser.add_argument('--names', nargs='+', metavar='NAME',
                        help='names of the models (default: those of the configs)')
    parser.add_argument('--frames', nargs='+', type=int, metavar='I',
                        help='indices of the frames, counted from 0 (default: all)')
    parser.add_argument('--maps', action='store_true', help='show the maps inside of the models')
    parser.add_argument('--queries', type=int, default=2, metavar='N', help='queries to show with --maps (default: 2)')
    parser.add_argument('--split', choices=SPLITS, default='test', help='data loader of the clips (default: test)')
    parser.add_argument('--device', help='for example cpu or cuda:1 (default: the GPU if there is one)')
    add_cfg_options(parser, example='test_dataloader.dataset.data_root=data/street')
    args = parser.parse_args()
    if len(args.models) % 2:
        parser.error('expected a CONFIG and a CHECKPOINT for each model')
    if args.names and len(args.names) != len(args.models) // 2:
        parser.error(f'{len(args.names)} names for {len(args.models) // 2} models')
    if args.out.suffix.lower() not in SUFFIXES:
        parser.error(f"--out {args.out}: expected a file name that ends with {', '.join(SUFFIXES)}")
    return args


@cli_errors()
def main() -> None:
    args = parse_args()
    import matplotlib
    from mmengine.logging import MMLogger

    from mmavs.analysis.compared_clips import compare_clips
    from mmavs.apis.weights import resolve_weights
    from mmavs.utils.config import load_config
    from mmavs.utils.device import select_device
    from mmavs.visualization.comparison_figure import draw_comparison

    quiet_libraries()
    check_writable(args.out)
    MMLogger.get_current_instance().setLevel('WARNING')
    files = args.models[::2]
    checkpoints = [str(resolve_weights(*pair)) for pair in zip(files, args.models[1::2], strict=True)]
    configs = [load_config(file, args.cfg_options) for file in files]
    names = args.names or [Path(file).stem for file in files]
    clips = compare_clips(list(zip(names, configs, checkpoints)), args.clips, args.split,
                          select_device(args.device), args.maps, args.queries)
    figure = draw_comparison(clips, args.frames)
    # Type 42 fonts can be edited, and publishers accept them.
    with matplotlib.rc_context({'pdf.fonttype': 42}), atomic_write(args.out) as partial:
        figure.savefig(partial, dpi=300, format=args.out.suffix[1:].lower())
    print(args.out)


if __name__ == '__main__':
    main()
