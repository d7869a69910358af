#!/usr/bin/env python
"""Measure the data path of a config: ``python tools/benchmarks/benchmark_data.py CONFIG [--data-root DIR]``.

- ``stages``: CPU time of each stage of the training pipeline for a clip, in one process: each transform, and of those
  that read files the reading apart from the decoding. Its inverse is the clips per second of a worker.
- ``loader``: clips per second of the data loader with ``--workers``, in wall time, and the memory of a worker: its
  proportional set size (PSS), in which memory that processes share is divided among them.
- ``start``: seconds from the start of a process to its first batch: imports, listing of the clips of training and
  validation, the check of their files, the first batch; without a cache of checked files, and with it.

Medians of ``--runs`` runs are printed with the lowest and the highest value. ``make_avss.py`` makes data of the size of
AVSBench-semantic.
"""
import argparse
import datetime
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import cv2
import numpy as np
import PIL
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from mmavs.analysis.data_timing import StageTimer, time_loader
from mmavs.analysis.timing import hardware_name
from mmavs.cli.arguments import add_cfg_options, add_config, positive_int
from mmavs.engine.hooks import CheckDataHook
from mmavs.registry import DATASETS
from mmavs.utils.config import find_clip_dataset, load_config
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import check_writable
from mmavs.utils.json_files import write_json
from mmavs.utils.terminal import quiet_libraries
from mmavs.version import __version__

MEASUREMENTS = ('stages', 'loader', 'start')
#: Seconds, rates or MiB of all runs, by the measurement and what was measured.
Numbers = dict[str, dict[str, list[float]]]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Measure the data path of a config')
    add_config(parser)
    parser.add_argument('--data-root', metavar='DIR', help='dataset (default: that of the config)')
    parser.add_argument('--measure', nargs='+', choices=MEASUREMENTS, default=MEASUREMENTS, help='(default: all)')
    parser.add_argument('--clips', type=positive_int, default=64, help='clips of a run (default: 64)')
    parser.add_argument('--workers', type=positive_int, default=1, help='workers of the loader (default: 1)')
    parser.add_argument('--runs', type=positive_int, default=5, help='(default: 5)')
    parser.add_argument('--out', metavar='FILE', help='JSON file for the numbers of all runs')
    parser.add_argument('--begin', type=float, help=argparse.SUPPRESS)  # of this process, which measures a start
    parser.add_argument('--cache-dir', help=argparse.SUPPRESS)
    add_cfg_options(parser, example='train_dataloader.batch_size=4')
    return parser.parse_args()


@cli_errors()
def main() -> None:
    args = parse_args()
    if args.out:
        check_writable(args.out)
    quiet_libraries()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # as in the workers of a training
    init_default_scope('mmavs')
    config = load_config(args.config, args.cfg_options)
    for split in ('train', 'val'):
        if args.data_root:
            find_clip_dataset(config, split)[1]['data_root'] = args.data_root
    if args.begin is not None:
        print(json.dumps(time_start(config, args.begin, args.cache_dir)))
        return
    load, numbers = os.getloadavg()[0], {}
    for name in args.measure:
        numbers |= dict(stages=measure_stages, loader=measure_loader, start=measure_start)[name](config, args)
    stamp = (f'{hardware_name(torch.device("cpu"))}, load {load:.1f}, torch {torch.__version__}, Pillow '
             f'{PIL.__version__}, OpenCV {cv2.__version__}, mmavs {__version__}, {datetime.date.today()}')
    command = shlex.join(['python', 'tools/benchmarks/benchmark_data.py', *sys.argv[1:]])
    if args.out:
        write_json(args.out, dict(stamp=stamp, command=command, numbers=numbers))
    console = Console(width=120)
    for table in tables(numbers):
        console.print(table)
    console.print(f'{stamp}\n{command}', highlight=False, soft_wrap=True)


def measure_stages(config: Config, args: argparse.Namespace) -> Numbers:
    """Milliseconds of each stage for a clip."""
    timer = StageTimer(DATASETS.build(find_clip_dataset(config, 'train')[1]))
    indices = np.random.RandomState(0).randint(len(timer.dataset), size=args.clips).tolist()
    timer.measure(indices[:4])  # imports and tables
    stages, others = {}, {'read from disk (wall time)': [], 'whole pipeline': []}
    for _ in range(args.runs):
        np.random.seed(0)
        times = timer.measure(indices)
        for stage, seconds in times.stages.items():
            stages.setdefault(stage, []).append(1e3 * seconds)
        others['read from disk (wall time)'].append(1e3 * times.read_from_disk)
        others['whole pipeline'].append(1e3 * times.total)
    return {'stages of a clip, ms of CPU time': stages, 'a clip, ms': others,
            'one process': {'clips/s of CPU time': [1e3 / total for total in others['whole pipeline']]}}


def measure_loader(config: Config, args: argparse.Namespace) -> Numbers:
    """Clips per second and memory of the workers of the data loader."""
    rates, memory = [], []
    dataset = DATASETS.build(config.train_dataloader.dataset)
    for _ in range(args.runs):
        # A new one, because the sampler of a training runs once.
        loader = Runner.build_dataloader(
            dict(config.train_dataloader, dataset=dataset, num_workers=args.workers, persistent_workers=False), seed=0)
        rate, mib = time_loader(loader, max(1, args.clips // loader.batch_size))
        rates.append(rate * loader.batch_size / args.workers)
        memory.append(mib)
    return {f'{args.workers} worker(s)': {'clips/s of a worker': rates, 'MiB of a worker (PSS)': memory}}


def measure_start(config: Config, args: argparse.Namespace) -> Numbers:
    """Seconds of each phase of a start, without and with the cache of checked files."""
    numbers: Numbers = {'start without the cache, s': {}, 'start with the cache, s': {}}
    for _ in range(args.runs):
        with tempfile.TemporaryDirectory(prefix='mmavs-benchmark-') as cache_dir:
            for phases in numbers.values():
                arguments = [sys.executable, __file__, *sys.argv[1:], '--cache-dir', cache_dir, '--begin',
                             str(time.time())]
                done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=False)
                if done.returncode:
                    sys.exit('error: a start has failed, see above')
                for phase, seconds in json.loads(done.stdout.splitlines()[-1]).items():
                    phases.setdefault(phase, []).append(seconds)
    return numbers


def time_start(config: Config, begin: float, cache_dir: str) -> dict[str, float]:
    """Seconds of each phase of the start of this process, which has imported everything but its data."""
    ends = {'imports and config': time.time()}
    loaders = [Runner.build_dataloader(config[f'{split}_dataloader'], seed=0) for split in ('train', 'val')]
    ends['list the clips'] = time.time()
    options = next((dict(hook) for hook in config.get('custom_hooks', ()) if hook['type'] == 'CheckDataHook'), {})
    options.pop('type', None)
    hook, cpu = CheckDataHook(**dict(options, cache_dir=cache_dir)), time.process_time()
    hook.check([loader.dataset for loader in loaders])
    cpu = time.process_time() - cpu
    ends['check the files'] = time.time()
    next(iter(loaders[0]))
    ends['first batch'] = time.time()
    seconds = {phase: end - start for (phase, end), start in zip(ends.items(), (begin, *ends.values()))}
    return {**seconds, 'sum': ends['first batch'] - begin, 'check the files (CPU time)': cpu}


def tables(numbers: Numbers) -> Iterator[Table]:
    """A table of each measurement: median, lowest and highest value, and the share of the sum for stages."""
    for title, rows in numbers.items():
        medians = {name: statistics.median(values) for name, values in rows.items()}
        table = Table(title.rpartition(', ')[0] or title, title=title)
        for heading in ('median', 'lowest', 'highest', 'share'):
            table.add_column(heading, justify='right')
        for name, values in rows.items():
            share = f'{100 * medians[name] / sum(medians.values()):.1f} %' if title.startswith('stages') else ''
            table.add_row(name, *(f'{value:.2f}' for value in (medians[name], min(values), max(values))), share)
        yield table


if __name__ == '__main__':
    main()
