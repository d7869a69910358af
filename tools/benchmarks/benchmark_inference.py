#!/usr/bin/env python
"""Measure the segmentation of a video, from the file to the written results.

``python tools/benchmarks/benchmark_inference.py CONFIG`` prints the CPU time of each stage: decode, preprocess (resize
and normalize frames, read audio), model, postprocess (scores to masks at the size of the video) and each output. The
stages run one after the other, so that the time of FFmpeg's own threads is counted with the right one; then all run at
once, as ``mmavs infer`` does.

``--memory`` prints the peak resident memory at minute 2 and at minute 20 of a video of 21 minutes, beyond that of the
process with the model.

The video is generated: H.264 with AAC audio. The weights are random, so the masks are noisier than those of a trained
model, which outputs take longer for. One thread on the CPU.
"""
import argparse
import datetime
import shlex
import statistics
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mmavs.analysis.complexity import drop_pretrained
from mmavs.analysis.timing import Meter, hardware_name
from mmavs.apis import AVSInferencer
from mmavs.apis.chunk_prediction import predict_chunks
from mmavs.apis.outputs import OUTPUTS
from mmavs.cli.arguments import add_cfg_options, add_config, positive_int
from mmavs.cli.infer import frame_rate
from mmavs.models.segmentors.clip_prediction import ClipPrediction
from mmavs.utils.config import load_config
from mmavs.utils.errors import cli_errors
from mmavs.utils.terminal import quiet_libraries
from mmavs.version import __version__
from mmavs.visualization import write_video

RATE = 16000
MINUTES = (2, 20)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Measure the segmentation of a video')
    add_config(parser)
    parser.add_argument('--memory', action='store_true', help='measure memory over 21 minutes instead of time')
    parser.add_argument('--frame-size', type=positive_int, nargs=2, metavar=('H', 'W'),
                        help='size of the video (default: 1080 1920, with --memory 180 320)')
    parser.add_argument('--video-fps', type=positive_int, help='its frames per second (default: 30, with --memory 5)')
    parser.add_argument('--seconds', type=positive_int, help='its duration (default: 20, with --memory 1260)')
    parser.add_argument('--fps', type=frame_rate, default=1, help="frames per second to segment, or 'native'")
    parser.add_argument('--outputs', nargs='+', choices=OUTPUTS, default=['overlay', 'png'],
                        help='default: overlay png')
    parser.add_argument('--runs', type=positive_int, default=3, help='timed runs; the median is printed (default: 3)')
    add_cfg_options(parser, example='model.decode_head.num_queries=50')
    return parser.parse_args()


@cli_errors()
def main() -> None:
    args = parse_args()
    quiet_libraries()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    size = args.frame_size or ((180, 320) if args.memory else (1080, 1920))
    video_fps, seconds = args.video_fps or (5 if args.memory else 30), args.seconds or (1260 if args.memory else 20)
    config = load_config(args.config, args.cfg_options)
    drop_pretrained(config.model)
    console = Console()
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='the model has no checkpoint')
        video = generate_video(Path(directory) / 'video.mp4', size, video_fps, seconds)
        inferencer = AVSInferencer(config, device='cpu')
        title = f'{args.config}: {seconds} s of {size[1]}x{size[0]} at {video_fps} fps, segmented at fps={args.fps}'
        measure = measure_memory if args.memory else measure_stages
        console.print(measure(inferencer, video, args, title))
    console.print(f'{hardware_name(torch.device("cpu"))}, 1 thread, outputs {" ".join(args.outputs)}, '
                  f'torch {torch.__version__}, av {av.__version__}, mmavs {__version__}, {datetime.date.today()}\n'
                  f'{shlex.join(["python", *sys.argv])}', highlight=False, soft_wrap=True)


def generate_video(path: Path, size: tuple[int, int], fps: int, seconds: int) -> Path:
    """Write a video whose view moves over a random texture, with a tone that changes each second."""
    height, width = size
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    texture = cv2.resize(coarse, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
    places = ((np.sin(0.02 * k) + 1) / 2 for k in range(fps * seconds))
    views = (texture[round(p * height):][:height, round(p * width):][:, :width] for p in places)
    time = np.arange(seconds * RATE, dtype=np.float32) / RATE
    waveform = 0.3 * np.sin(2 * np.pi * (220 + 20 * (time.astype(int) % 12)) * time, dtype=np.float32)
    write_video(path, views, fps, waveform, RATE)
    return path


def measure_stages(inferencer: AVSInferencer, video: Path, args: argparse.Namespace, title: str) -> Table:
    """CPU seconds of each stage, and wall seconds of all at once."""
    runs, walls = defaultdict(list), []
    for _ in range(args.runs):
        for stage, seconds in time_stages(inferencer, video, args).items():
            runs[stage].append(seconds)
        with tempfile.TemporaryDirectory() as directory:
            cpu, wall = time.process_time(), time.perf_counter()
            inferencer.write(video, directory, args.outputs, args.fps)
            runs['all at once'].append(time.process_time() - cpu)
            walls.append(time.perf_counter() - wall)
    together = runs.pop('all at once')
    medians = {stage: statistics.median(values) for stage, values in runs.items()}
    table = Table('stage', title=title)
    for heading in ('CPU s, median', 'lowest', 'highest', 'share'):
        table.add_column(heading, justify='right')
    for stage, values in runs.items():
        table.add_row(stage, *(f'{value:.2f}' for value in (medians[stage], min(values), max(values))),
                      f'{100 * medians[stage] / sum(medians.values()):.1f} %')
    table.add_section()
    table.add_row('sum', f'{sum(medians.values()):.2f}')
    for name, values in (('all at once', together), ('all at once, wall', walls)):
        table.add_row(name, *(f'{f(values):.2f}' for f in (statistics.median, min, max)))
    return table


def time_stages(inferencer: AVSInferencer, video: Path, args: argparse.Namespace) -> dict[str, float]:
    """CPU seconds of each stage, one after the other."""
    source = inferencer._open(video, args.fps)
    seconds, needs_prob = {}, any(OUTPUTS[output].needs_prob for output in args.outputs)

    def timed(stage: str, call: Callable[[], object]) -> object:
        begin = time.process_time()
        result = call()
        seconds[stage] = time.process_time() - begin
        return result

    frames = timed('decode', lambda: list(source.open_frames()))
    # Frames in memory: the rest is not disturbed by decoding.
    in_memory = replace(source, open_frames=lambda: frames)
    with model_seconds(inferencer.model) as (forward, postprocess):
        chunks = timed('preprocess', lambda: list(predict_chunks(inferencer.pipeline, in_memory, needs_prob)))
    seconds['model'], seconds['postprocess'] = sum(forward) - sum(postprocess), sum(postprocess)
    seconds['preprocess'] -= sum(forward)
    context = inferencer._output_context(source)
    with tempfile.TemporaryDirectory() as directory:
        for output in args.outputs:
            path = Path(directory) / OUTPUTS[output].file
            timed(f'write {output}', lambda: OUTPUTS[output].write(path, iter(chunks), context))  # noqa: B023
    return seconds


@contextmanager
def model_seconds(model: torch.nn.Module) -> Iterable[tuple[list[float], list[float]]]:
    """CPU seconds of the calling thread in calls of the model, and of these in :meth:`ClipPrediction.add_frame`."""
    forward, postprocess, add_frame = [], [], ClipPrediction.add_frame

    def timed_add_frame(self: ClipPrediction, index: int, scores: torch.Tensor) -> None:
        begin = time.thread_time()
        add_frame(self, index, scores)
        postprocess.append(time.thread_time() - begin)

    hooks = [
        model.register_forward_pre_hook(lambda *call: forward.append(-time.thread_time())),
        model.register_forward_hook(lambda *call: forward.append(time.thread_time()))]
    ClipPrediction.add_frame = timed_add_frame
    try:
        yield forward, postprocess
    finally:
        ClipPrediction.add_frame = add_frame
        for hook in hooks:
            hook.remove()


def measure_memory(inferencer: AVSInferencer, video: Path, args: argparse.Namespace, title: str) -> Table:
    """Peak resident memory of the process at some minutes of the video, beyond that before the video."""
    table = Table('minute', title=title)
    table.add_column('peak MiB', justify='right')
    meter, minutes, peaks = Meter(torch.device('cpu')), list(MINUTES), []

    def note(seconds: float, duration: float | None) -> None:
        while minutes and seconds >= 60 * minutes[0]:
            peaks.append(meter.peak())
            table.add_row(f'{minutes.pop(0):.3g}', f'{peaks[-1]:.1f}')

    meter.start()
    with tempfile.TemporaryDirectory() as directory:
        begin = time.process_time()
        inferencer.write(video, directory, args.outputs, args.fps, on_progress=note)
        seconds = time.process_time() - begin
    if len(peaks) < len(MINUTES):
        raise ValueError(f'the video ended before minute {MINUTES[-1]}: it needs --seconds {60 * MINUTES[-1] + 60}')
    table.add_section()
    table.add_row('difference', f'{peaks[-1] - peaks[0]:.1f}')
    table.caption = f'{seconds:.0f} s of CPU time'
    return table


if __name__ == '__main__':
    main()
