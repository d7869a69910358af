#!/usr/bin/env python
"""Make synthetic clips, train a small VCT on the CPU, test it and draw its predictions.

Nothing is downloaded. Clips are written to ``data/synthetic``, results to ``work_dirs/demo``:

- ``report.json``: metrics on the MS3-style test split with original, muted and swapped audio;
- ``contact_sheet.png``: frames, ground truth, prediction and spectrogram of test clips;
- ``overlay.mp4``: a test clip with audio, ground truth and prediction side by side;
- ``video.mp4``: a video made of test clips, and ``video/``, what ``mmavs infer`` writes for it.
"""
import argparse
import time
from pathlib import Path

from stages import CONSOLE, ROOT, draw, infer, list_results, make_video, print_scores, read_config, shorten, train

from mmavs.analysis.audio_ablation import audio_ablation
from mmavs.synthesis import synthesize_clips
from mmavs.utils.json_files import write_json
from mmavs.utils.terminal import quiet_libraries


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Make clips, train a small VCT, test it and draw the results')
    parser.add_argument('--config', default=str(ROOT / 'configs/vct/vct_tiny_synthetic.py'))
    parser.add_argument('--data', type=Path, default=ROOT / 'data/synthetic', help='directory of the clips')
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/demo', help='directory of the results')
    parser.add_argument('--quick', action='store_true', help='use a few clips and iterations, to test the installation')
    return parser.parse_args()


def make_clips(data: Path, num_train: int, num_val: int, num_test: int) -> None:
    """Write the training and validation clips (AVSS style) and the test clips (MS3 style) unless they exist."""
    CONSOLE.rule('1. clips')
    synthesize_clips(data, 'avss', num_train, num_val, num_test=0, workers=2, replace=False)
    synthesize_clips(data, 'ms3', num_train=0, num_val=0, num_test=num_test, workers=2,
                     replace=False)
    CONSOLE.print(f'{num_train} AVSS-style clips for training, {num_test} MS3-style clips for testing')


def main() -> None:
    args = parse_args()
    start = time.time()
    make_clips(args.data, *((8, 2, 4) if args.quick else (300, 30, 60)))

    quiet_libraries()
    config = read_config(args.config, args.data, args.work_dir)
    if args.quick:
        shorten(config, 4)
    CONSOLE.rule('2. training')
    checkpoint = train(config)

    CONSOLE.rule('3. test')
    scores = audio_ablation(config, str(checkpoint))
    print_scores(scores, 'Audio ablation, MS3-style test split', dict(M_J='avsbench/M_J', M_F='avsbench/M_F'))
    write_json(args.work_dir / 'report.json', scores)

    CONSOLE.rule('4. figures')
    draw(config, checkpoint)
    CONSOLE.rule('5. a video')
    make_video(config, args.work_dir / 'video.mp4')
    infer(args.config, checkpoint, args.work_dir / 'video.mp4')
    list_results(args.work_dir)
    CONSOLE.print(f'done in {time.time() - start:.0f} s')


if __name__ == '__main__':
    main()
