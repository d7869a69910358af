#!/usr/bin/env python
"""Compare the engines of ``mmavs infer --list`` on generated videos: the loop, and Ray with one and two workers.

``python tools/benchmarks/benchmark_engines.py CONFIG`` prints, for each engine, the seconds until the first video is
done, which contain the start of Ray and of the workers and the loading of the model, and the videos per second from
then on. The engines take turns; the medians of several runs are compared. The load of the machine is printed: numbers
of a busy one say little.

The weights are random. Workers of Ray reserve ``--cpus-per-worker`` CPUs, of which one decodes; two workers are faster
than one only if there are enough.
"""
import argparse
import datetime
import os
import shlex
import statistics
import sys
import tempfile
import time
import warnings
from importlib import import_module
from pathlib import Path

import torch
from benchmark_inference import generate_video
from rich.console import Console
from rich.table import Table

from mmavs.analysis.timing import hardware_name
from mmavs.batch_inference import ENGINES, SegmentOptions
from mmavs.cli.arguments import add_config, positive_int
from mmavs.cli.infer import OUTPUTS, cpus_of_worker
from mmavs.utils.errors import cli_errors
from mmavs.utils.terminal import quiet_libraries
from mmavs.version import __version__

VIDEO_FPS = 30


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare the engines of mmavs infer --list')
    add_config(parser)
    parser.add_argument('--videos', type=positive_int, default=24, help='number of videos (default: 24)')
    parser.add_argument('--seconds', type=positive_int, default=20, help='duration of each (default: 20)')
    parser.add_argument('--frame-size', type=positive_int, nargs=2, metavar=('H', 'W'), default=(720, 1280),
                        help='default: 720 1280')
    parser.add_argument('--outputs', nargs='+', choices=OUTPUTS, default=['overlay', 'png'],
                        help='default: overlay png')
    parser.add_argument('--workers', type=positive_int, nargs='*', default=[1, 2],
                        help='numbers of workers of Ray to compare (default: 1 2)')
    parser.add_argument('--cpus-per-worker', type=cpus_of_worker, default=2, help='default: 2')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu', help='default: cpu')
    parser.add_argument('--runs', type=positive_int, default=5, help='runs of each engine (default: 5)')
    return parser.parse_args()


@cli_errors()
def main() -> None:
    args = parse_args()
    if args.videos <= max(args.workers, default=1):
        sys.exit(f'error: --videos is {args.videos}, expected more than the workers')
    quiet_libraries()
    warnings.simplefilter('ignore')  # the weights are random
    engines = [('loop', 1), *(('ray', count) for count in args.workers)]
    firsts, rates = {engine: [] for engine in engines}, {engine: [] for engine in engines}
    with tempfile.TemporaryDirectory(prefix='mmavs-benchmark-') as directory:
        video = generate_video(Path(directory, 'video.mp4'), args.frame_size, VIDEO_FPS, args.seconds)
        names = [f'{number:04d}' for number in range(args.videos)]
        load = os.getloadavg()[0]
        for run in range(args.runs):
            for engine in engines:
                first, rate = measure(engine, [(str(video), name) for name in names],
                                      Path(directory, f'{run}-{engine[0]}-{engine[1]}'), args)
                firsts[engine].append(first)
                rates[engine].append(rate)
    print_table(firsts, rates, load, args)


def measure(engine: tuple[str, int], videos: list[tuple[str, str]], out: Path,
            args: argparse.Namespace) -> tuple[float, float]:
    """Seconds until the first video is done, and videos per second after each worker has done one."""
    name, workers = engine
    options = SegmentOptions(args.config, None, args.outputs, device=args.device)
    arguments = dict(workers=workers, cpus_per_worker=args.cpus_per_worker) if name == 'ray' else {}
    segment_all = import_module(f'mmavs.batch_inference.{ENGINES[name]}').segment_all
    begin, ends = time.perf_counter(), []
    for record in segment_all(videos, str(out), options, lambda *_: None, **arguments):
        if record.status != 'segmented':
            raise RuntimeError(record.error)
        ends.append(time.perf_counter())
    return ends[0] - begin, (len(ends) - workers) / (ends[-1] - ends[workers - 1])


def print_table(firsts: dict, rates: dict, load: float, args: argparse.Namespace) -> None:
    """Print medians with the lowest and the highest value, and the ratios to the loop."""
    title = (f'{hardware_name(torch.device(args.device))}, {len(os.sched_getaffinity(0))} cores, load {load:.1f} at '
             f'the start, torch {torch.__version__}, mmavs {__version__}, {datetime.date.today()}')
    table = Table('engine', title=title)
    for heading in ('s to the first video', 'videos/s', 'lowest', 'highest', 'of the loop', 'of one worker'):
        table.add_column(heading, justify='right')
    medians = {engine: statistics.median(values) for engine, values in rates.items()}
    for engine, rate in medians.items():
        name = engine[0] if engine[0] == 'loop' else f'ray, {engine[1]} worker(s)'
        one = medians.get(('ray', 1))
        table.add_row(name, f'{statistics.median(firsts[engine]):.1f}', f'{rate:.3f}', f'{min(rates[engine]):.3f}',
                      f'{max(rates[engine]):.3f}', f'{rate / medians["loop", 1]:.2f}',
                      f'{rate / one:.2f}' if one and engine[0] == 'ray' else '')
    Console(width=140).print(table)
    print(shlex.join(['python', 'tools/benchmarks/benchmark_engines.py', *sys.argv[1:]]))


if __name__ == '__main__':
    main()
