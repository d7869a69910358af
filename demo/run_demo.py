#!/usr/bin/env python
"""Make synthetic clips, train a small VCT on the CPU, test it and draw its predictions.

Nothing is downloaded. Clips are written to ``data/synthetic``, results to ``work_dirs/demo``:

- ``report.json``: metrics on the MS3-style test split with original, muted and swapped audio;
- ``contact_sheet.png``: frames, ground truth, prediction and spectrogram of test clips;
- ``overlay.mp4``: a test clip with audio, ground truth and prediction side by side;
- ``video.mp4``: a video made of test clips, and ``video/``, what ``mmavs infer`` writes for it.
"""
import argparse
import shlex
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mmavs.analysis.audio_ablation import audio_ablation
from mmavs.apis import init_model
from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.cli import main as mmavs
from mmavs.engine import training
from mmavs.registry import DATASETS
from mmavs.synthesis import synthesize_clips
from mmavs.utils.config import load_config
from mmavs.utils.image_files import write_image
from mmavs.utils.images import read_image
from mmavs.utils.json_files import write_json
from mmavs.utils.terminal import quiet_libraries
from mmavs.visualization import AVSVisualizer, play_stills, write_video

ROOT = Path(__file__).resolve().parents[1]
CONSOLE = Console()


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


def train(config) -> Path:
    """Train and return the checkpoint."""
    CONSOLE.rule('2. training')
    training.train(config)
    return Path(config.work_dir) / f'iter_{config.train_cfg.max_iters}.pth'


def print_scores(scores: dict[str, dict[str, float]]) -> None:
    table = Table('audio', 'M_J', 'M_F', title='Audio ablation, MS3-style test split')
    for audio, metrics in scores.items():
        table.add_row(audio, f"{metrics['avsbench/M_J']:.3f}", f"{metrics['avsbench/M_F']:.3f}")
    CONSOLE.print(table)


@torch.no_grad()
def draw(config, checkpoint: Path, num_clips: int = 3) -> None:
    """Draw the first test clips as one sheet, and the very first as a video."""
    model = init_model(config, str(checkpoint))
    dataset = DATASETS.build(config.test_dataloader.dataset)
    visualizer = AVSVisualizer()
    visualizer.dataset_meta = dataset.metainfo
    work_dir, sheets = Path(config.work_dir), []
    for index in range(num_clips):
        clip = dataset[index]
        batch = model.data_preprocessor(dict(inputs=[clip['inputs']], data_samples=[clip['data_samples']]))
        sample, = model(**batch, mode='predict')
        # Show the foreground of the benchmark, regardless of the class.
        sample.pred_sem_seg = (sample.foreground_prob > 0.5).byte()
        frames = [read_image(path, 'frame', 'RGB') for path in dataset.get_data_info(index)['frame_paths']]
        waveform = clip['inputs']['waveform']
        sheets.append(visualizer.draw_contact_sheet(sample.clip_id, frames, sample, waveform, SAMPLE_RATE))
        if index == 0:
            visualizer.add_datasample(
                sample.clip_id, frames, sample, waveform, SAMPLE_RATE, out_file=work_dir / 'overlay.mp4')
    write_image(work_dir / 'contact_sheet.png', np.concatenate(sheets))


def make_video(config, path: Path, num_clips: int = 4, fps: int = 25) -> None:
    """Make a video of test clips one after the other, each frame shown for a second."""
    dataset, frames, waveforms = DATASETS.build(config.test_dataloader.dataset), [], []
    for index in range(num_clips):
        frames += [read_image(frame, 'frame', 'RGB') for frame in dataset.get_data_info(index)['frame_paths']]
        waveforms.append(dataset[index]['inputs']['waveform'].numpy())
    write_video(path, play_stills(np.stack(frames), len(frames), fps), fps, np.concatenate(waveforms), SAMPLE_RATE)


def infer(config: str, checkpoint: Path, video: Path) -> None:
    """Run ``mmavs infer`` on a video."""
    command = ['infer', str(video), '--model', config, '--weights', str(checkpoint), '--out', str(video.parent)]
    CONSOLE.print(shlex.join(['mmavs', *command]), style='bold', soft_wrap=True)
    mmavs(command)


def main() -> None:
    args = parse_args()
    start = time.time()
    make_clips(args.data, *((8, 2, 4) if args.quick else (300, 30, 60)))

    quiet_libraries()
    config = load_config(args.config)
    for split, directory in (('train', 'AVSS'), ('val', 'AVSS'), ('test', 'Multi-sources')):
        config[f'{split}_dataloader'].dataset.data_root = str(args.data / directory)
    config.work_dir = str(args.work_dir)
    config.log_level = 'ERROR'
    config.custom_hooks.append(dict(type='ProgressBarHook'))
    if args.quick:
        config.train_cfg.max_iters = config.train_cfg.val_interval = config.default_hooks.checkpoint.interval = 4
    checkpoint = train(config)

    CONSOLE.rule('3. test')
    scores = audio_ablation(config, str(checkpoint))
    print_scores(scores)
    report = Path(config.work_dir) / 'report.json'
    write_json(report, scores)

    CONSOLE.rule('4. figures')
    draw(config, checkpoint)
    CONSOLE.rule('5. a video')
    make_video(config, args.work_dir / 'video.mp4')
    infer(args.config, checkpoint, args.work_dir / 'video.mp4')
    for name in ('report.json', 'contact_sheet.png', 'overlay.mp4', 'video.mp4', 'video'):
        CONSOLE.print(args.work_dir / name)
    CONSOLE.print(f'done in {time.time() - start:.0f} s')


if __name__ == '__main__':
    main()
