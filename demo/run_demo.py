#!/usr/bin/env python
"""From nothing to sounding masks: make clips, train a small VCT on the CPU, test it, draw what it does.

Needs no download. Data go to ``data/synthetic``, results to ``work_dirs/demo``:

- ``report.json``: metrics on the MS3-style test split with the clips' own sound, muted, and with swapped sounds;
- ``contact_sheet.png``: frames, ground truth, prediction and spectrogram of test clips;
- ``overlay.mp4``: a test clip with its sound, ground truth beside prediction.
"""
import argparse
import json
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mmavs.analysis.audio_ablation import audio_ablation
from mmavs.apis import init_model
from mmavs.engine.launch import build_runner
from mmavs.registry import DATASETS
from mmavs.synthesis import synthesize_clips
from mmavs.utils.config import load_config
from mmavs.visualization import AVSVisualizer

ROOT = Path(__file__).resolve().parents[1]
CONSOLE = Console()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Make clips, train a small VCT, test it and draw the results')
    parser.add_argument('--config', default=str(ROOT / 'configs/vct/vct_tiny_synthetic.py'))
    parser.add_argument('--data', type=Path, default=ROOT / 'data/synthetic', help='folder of the clips')
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/demo', help='folder of the results')
    parser.add_argument('--quick', action='store_true', help='a few clips and iterations, to see that everything runs')
    return parser.parse_args()


def make_clips(data: Path, num_train: int, num_val: int, num_test: int) -> None:
    """Write the training and validation clips (AVSS style) and the test clips (MS3 style), unless they are there."""
    CONSOLE.rule('1. clips')
    synthesize_clips(data, 'avss', num_train, num_val, num_test=0, workers=2)
    synthesize_clips(data, 'ms3', num_train=0, num_val=0, num_test=num_test, workers=2)
    CONSOLE.print(f'{num_train} AVSS-style clips to learn from, {num_test} MS3-style clips to be tested on')


def train(config) -> Path:
    """Train and return the checkpoint."""
    CONSOLE.rule('2. training')
    runner = build_runner(config)
    runner.train()
    return Path(config.work_dir) / f'iter_{config.train_cfg.max_iters}.pth'


def print_scores(scores: dict[str, dict[str, float]]) -> None:
    table = Table('sound', 'M_J', 'M_F', title='MS3-style test split: does the model listen?')
    for sound, metrics in scores.items():
        table.add_row(sound, f"{metrics['avsbench/M_J']:.3f}", f"{metrics['avsbench/M_F']:.3f}")
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
        # What is foreground for the benchmark is shown, whatever the class.
        sample.pred_sem_seg = (sample.foreground_prob > 0.5).byte()
        frames = [cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
                  for path in dataset.get_data_info(index)['frame_paths']]
        waveform = clip['inputs']['waveform']
        sheets.append(visualizer.draw_contact_sheet(sample.clip_id, frames, sample, waveform=waveform))
        if index == 0:
            visualizer.add_datasample(sample.clip_id, frames, sample, waveform, out_file=work_dir / 'overlay.mp4')
    cv2.imwrite(str(work_dir / 'contact_sheet.png'), np.concatenate(sheets)[..., ::-1])


def main() -> None:
    args = parse_args()
    start = time.time()
    warnings.filterwarnings('ignore')
    make_clips(args.data, *((8, 2, 4) if args.quick else (300, 30, 60)))

    config = load_config(args.config)
    for name, folder in (('train', 'AVSS'), ('val', 'AVSS'), ('test', 'Multi-sources')):
        config[f'{name}_dataloader'].dataset.data_root = str(args.data / folder)
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
    report.write_text(json.dumps(scores, indent=2) + '\n')

    CONSOLE.rule('4. pictures')
    draw(config, checkpoint)
    for name in ('report.json', 'contact_sheet.png', 'overlay.mp4'):
        CONSOLE.print(args.work_dir / name)
    CONSOLE.print(f'done in {time.time() - start:.0f} s')


if __name__ == '__main__':
    main()
