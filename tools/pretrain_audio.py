#!/usr/bin/env python
"""Pretrain a small audio backbone on the recordings of cut-outs: ``pretrain_audio.py OUT --cutouts PATH``.

It learns which classes sound in each second of mixed recordings. The file is for ``audio_backbone.init_cfg`` of the
configs with the small VGGish. Recordings that ``--hold-out`` keeps for the test split are not used in training, and the
backbone is scored with them.
"""
import argparse
import sys

from mmavs.cli.arguments import non_negative_int, positive_int
from mmavs.utils.errors import cli_errors

CONFIG = 'configs/vct/vct_efficientnet-lite0-128_stamps-following.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Pretrain a small audio backbone on the recordings of cut-outs')
    parser.add_argument('out', help='file to write, such as pretrained/vggish_tiny_stamps.pth')
    parser.add_argument('--cutouts', required=True, metavar='PATH', help='as for synthesize_clips.py')
    parser.add_argument('--hold-out', type=non_negative_int, metavar='K', help='as for synthesize_clips.py')
    parser.add_argument('--config', default=CONFIG, help='config with the VGGish to train (default: %(default)s)')
    parser.add_argument('--steps', type=positive_int, default=1500, help='steps of 64 s of audio (default: 1500)')
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


@cli_errors()
def main() -> None:
    args = parse_args()

    from mmavs.synthesis.cutouts import read_cutouts
    from mmavs.synthesis.recording_pretraining import pretrain_on_recordings
    from mmavs.utils.config import load_config
    from mmavs.utils.files import check_writable
    from mmavs.utils.terminal import quiet_libraries

    quiet_libraries()
    check_writable(args.out)
    backbone = load_config(args.config).model.audio_backbone
    if backbone.type != 'VGGish':
        sys.exit(f'error: {args.config}: the audio backbone is {backbone.type}, expected a VGGish')
    scores = pretrain_on_recordings(backbone | dict(output='embedding'), args.out, read_cutouts(args.cutouts),
                                    args.hold_out, args.steps, 64, args.seed)
    print(f'{args.out}: {scores.accuracy:.1%} of the decisions whether a class sounds in a second are correct')
    print(f'mean average precision of the classes: {scores.average_precision:.3f}'
          + (f', with held-out recordings {scores.held_out:.3f}' if scores.held_out is not None else ''))


if __name__ == '__main__':
    main()
