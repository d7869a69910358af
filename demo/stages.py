"""Stages of the demos: training, tables, figures and the segmentation of a video."""
import shlex
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from rich.console import Console
from rich.table import Table

from mmavs.apis import init_model
from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.cli import main as mmavs
from mmavs.engine import training
from mmavs.registry import DATASETS
from mmavs.utils.config import find_clip_dataset, load_config
from mmavs.utils.image_files import write_image
from mmavs.utils.images import read_image
from mmavs.visualization import AVSVisualizer, play_stills, write_video

ROOT = Path(__file__).resolve().parents[1]
CONSOLE = Console()


def read_config(path: str, data: Path, work_dir: Path) -> Config:
    """Read a config that trains on AVSS-style clips and tests on MS3-style clips in ``data``."""
    # Until a runner is built, MMEngine's default logger reports the initialization of each layer.
    MMLogger.get_current_instance().setLevel('ERROR')
    config = load_config(path)
    for split, directory in (('train', 'AVSS'), ('val', 'AVSS'), ('test', 'Multi-sources')):
        _, dataset = find_clip_dataset(config, split)
        dataset['data_root'] = str(data / directory)
    config.work_dir = str(work_dir)
    config.log_level = 'ERROR'
    config.custom_hooks.append(dict(type='ProgressBarHook'))
    return config


def shorten(config: Config, iterations: int) -> None:
    """Train for a few iterations."""
    config.train_cfg.max_iters = config.train_cfg.val_interval = iterations
    config.default_hooks.checkpoint.interval = iterations


def train(config: Config) -> Path:
    """Train and return the checkpoint."""
    training.train(config)
    return Path(config.work_dir) / f'iter_{config.train_cfg.max_iters}.pth'


def print_scores(scores: dict[str, dict[str, float]], title: str, columns: dict[str, str]) -> None:
    """Print a table with a row for each audio; ``columns`` are heading -> name of a metric."""
    table = Table('audio', *columns, title=title)
    for audio, metrics in scores.items():
        table.add_row(audio, *(f'{metrics[name]:.3f}' for name in columns.values()))
    CONSOLE.print(table)


@torch.no_grad()
def draw(config: Config, checkpoint: Path, num_clips: int = 3) -> None:
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


def make_video(config: Config, path: Path, num_clips: int = 4, fps: int = 25) -> None:
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


def list_results(work_dir: Path) -> None:
    """Print the files that a demo has written."""
    for name in ('report.json', 'contact_sheet.png', 'overlay.mp4', 'video.mp4', 'video'):
        CONSOLE.print(work_dir / name)
