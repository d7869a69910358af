#!/usr/bin/env python
"""Measure memory and time of predictions at frame size: ``python tools/benchmarks/benchmark_prediction.py CONFIG``.

Random weights and one random clip, on the CPU. Every run is a process of its own: memory that an earlier run left to
the allocator is not counted. The peak is resident memory during ``mode='predict'`` minus that before it, when model and
clip are loaded.
"""
import argparse
import json
import shlex
import statistics
import subprocess
import sys

import torch
from rich.console import Console
from rich.table import Table

import mmavs.models  # noqa: F401
from mmavs.analysis.complexity import drop_pretrained, frame_size
from mmavs.analysis.random_clips import random_clips
from mmavs.analysis.timing import Meter, hardware_name
from mmavs.cli.arguments import add_cfg_options, add_config
from mmavs.registry import MODELS
from mmavs.structures import DEFAULT_OUTPUTS, PREDICTIONS
from mmavs.utils.config import load_config
from mmavs.utils.errors import cli_errors
from mmavs.utils.terminal import quiet_libraries


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Measure memory and time of predictions at frame size')
    add_config(parser)
    parser.add_argument('--frames', type=int, default=60, help='frames of the clip (default: 60)')
    parser.add_argument('--frame-size', type=int, nargs=2, default=(1080, 1920), metavar=('H', 'W'),
                        help='size of the stored frames and of the predictions (default: 1080 1920)')
    parser.add_argument('--outputs', nargs='+', choices=PREDICTIONS, default=list(DEFAULT_OUTPUTS),
                        help=f"fields that are predicted (default: {' '.join(DEFAULT_OUTPUTS)})")
    parser.add_argument('--prob-dtype', choices=['float32', 'float16', 'uint8'], default='float32',
                        help='type of foreground_prob (default: float32)')
    parser.add_argument('--runs', type=int, default=3, help='processes; medians are reported (default: 3)')
    parser.add_argument('--single', action='store_true', help=argparse.SUPPRESS)
    add_cfg_options(parser, example='model.decode_head.num_classes=71')
    return parser.parse_args()


@cli_errors()
def main() -> None:
    args = parse_args()
    quiet_libraries()
    torch.set_num_threads(1)
    if args.single:
        print(json.dumps(measure_prediction(args)))
        return
    runs = []
    for _ in range(args.runs):
        command = [sys.executable, __file__, *sys.argv[1:], '--single']
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    height, width = args.frame_size
    table = Table(title=f'{args.config}: {args.frames} frames of {width}x{height}')
    for heading in ('', 'median', 'lowest', 'highest'):
        table.add_column(heading, justify='right')
    for key, unit in (('peak_mib', 'MiB'), ('seconds', 's of CPU time')):
        values = [run[key] for run in runs]
        table.add_row(unit, *(f'{f(values):.1f}' for f in (statistics.median, min, max)))
    console = Console()
    console.print(table)
    console.print(f'{hardware_name(torch.device("cpu"))}, 1 thread, {args.runs} processes, torch {torch.__version__}\n'
                  f'{shlex.join(["python", *sys.argv])}', highlight=False, soft_wrap=True)


def measure_prediction(args: argparse.Namespace) -> dict[str, float]:
    """Predict one random clip; return the seconds and the peak memory beyond model and clip."""
    config = load_config(args.config, args.cfg_options)
    size = tuple(frame_size(config))
    drop_pretrained(config.model)
    torch.manual_seed(0)
    model = MODELS.build(config.model).eval()
    clips = random_clips(model, size, num_frames=args.frames, out_size=tuple(args.frame_size))
    batch = model.data_preprocessor(clips)
    meter = Meter(torch.device('cpu'))
    meter.start()
    start = meter.now()
    with torch.no_grad():
        model(**batch, mode='predict', outputs=args.outputs, prob_dtype=getattr(torch, args.prob_dtype))
    return dict(seconds=meter.now() - start, peak_mib=meter.peak())


if __name__ == '__main__':
    main()
