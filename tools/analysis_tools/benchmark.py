#!/usr/bin/env python
"""Measure time, memory and FLOPs of the model of a config: ``python tools/analysis_tools/benchmark.py CONFIG``.

Random weights and random clips; measured are ``mode='predict'`` and one training step (loss and backward, without the
optimizer), after one call of each to warm up.
"""
import argparse
import csv
import ctypes
import datetime
import platform
import shlex
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import DictAction
from mmengine.model import BaseModel
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

import mmavs.models  # noqa: F401
from mmavs.registry import MODELS
from mmavs.structures import AVSDataSample
from mmavs.utils.config import ConfigError, load_config

SAMPLE_RATE = 16000
MIB = 2**20


class Meter:
    """Clock and peak memory of a device.

    The clock is CPU time with one thread on the CPU, which a busy machine does not disturb much, and wall time
    otherwise. Peak memory counts from the start of a measurement: resident memory of the process on the CPU (Linux
    only), allocated memory on a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cpu_time = device.type == 'cpu' and torch.get_num_threads() == 1
        self.clock = 'CPU time' if self.cpu_time else 'wall time'

    def now(self) -> float:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        return time.process_time() if self.cpu_time else time.perf_counter()

    def start(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self.device)
            self.before = torch.cuda.memory_allocated(self.device)
        elif sys.platform == 'linux':
            if platform.libc_ver()[0] == 'glibc':
                ctypes.CDLL(None).malloc_trim(0)  # what earlier calls have freed goes back to the system
            Path('/proc/self/clear_refs').write_text('5')  # forget the peak
            self.before = self._resident('VmRSS')

    def peak(self) -> float:
        """Largest memory since :meth:`start` beyond that at the start, in MiB; NaN where it is not known."""
        if self.device.type == 'cuda':
            return (torch.cuda.max_memory_allocated(self.device) - self.before) / MIB
        return (self._resident('VmHWM') - self.before) / MIB if sys.platform == 'linux' else float('nan')

    @staticmethod
    def _resident(key: str) -> int:
        lines = Path('/proc/self/status').read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f'{key}:'))


class PartTimes:
    """Seconds that the branches of the model, and the parts of its head, take in forward calls."""

    def __init__(self, model: BaseModel, meter: Meter) -> None:
        self.meter = meter
        self.seconds: defaultdict[str, float] = defaultdict(float)
        for name, part in named_parts(model).items():
            part.register_forward_pre_hook(lambda *_, name=name: self._add(name, -meter.now()))
            part.register_forward_hook(lambda *_, name=name: self._add(name, meter.now()))

    def _add(self, name: str, seconds: float) -> None:
        self.seconds[name] += seconds


def named_parts(model: BaseModel) -> dict[str, torch.nn.Module]:
    parts = {}
    for name, child in model.named_children():
        if name == 'decode_head':
            parts.update({f'{name}.{part}': module for part, module in child.named_children()})
        elif name != 'data_preprocessor':
            parts[name] = child
    return parts


def measure(run: Callable[[], object], meter: Meter, parts: PartTimes, repeats: int) -> dict:
    """Median seconds and largest peak memory of ``repeats`` calls after one to warm up, and median seconds of parts."""
    run()
    seconds, peaks, part_seconds = [], [], defaultdict(list)
    for _ in range(repeats):
        parts.seconds.clear()
        meter.start()
        start = meter.now()
        run()
        seconds.append(meter.now() - start)
        peaks.append(meter.peak())
        for name, value in parts.seconds.items():
            part_seconds[name].append(value)
    return dict(
        seconds=statistics.median(seconds),
        fastest=min(seconds),
        slowest=max(seconds),
        peak_mib=max(peaks),
        parts={name: statistics.median(values) for name, values in part_seconds.items()})


def count_flops(model: BaseModel, run: Callable[[], object]) -> dict[str, int]:
    """FLOPs of matrix products, convolutions and attention in one call, by the path of the module ('Global': all)."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.requires_grad_(False)  # the counter fails on views of parameters that require a gradient
    # PyTorch's counter knows the fused attention of GPUs, not that of CPUs.
    cpu_attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__:
                     sdpa_flop_count(q, k, v)}
    with FlopCounterMode(display=False, custom_mapping=cpu_attention) as counter:
        run()
    for parameter in trained:
        parameter.requires_grad_()
    return {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}


def drop_pretrained(node: object) -> None:
    """Remove the files of weights from a config: speed does not depend on them."""
    if isinstance(node, dict):
        if isinstance(node.get('init_cfg'), dict) and node['init_cfg'].get('type') == 'Pretrained':
            node['init_cfg'] = None
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ():
        drop_pretrained(child)


def random_clips(model: BaseModel, head: dict, size: tuple[int, int], args: argparse.Namespace) -> dict:
    """Clips with a rectangle of a random class in every frame, the first ``args.labelled`` frames labelled."""
    inputs, samples = [], []
    for _ in range(args.clips):
        clip = dict(
            frames=torch.randint(256, (args.frames, 3, *size), dtype=torch.uint8),
            waveform=torch.rand(args.frames * SAMPLE_RATE) - 0.5)
        if getattr(model, 'mask_prior', None) is not None:
            clip['mask_prior'] = torch.randint(256, (args.frames, 3, *size), dtype=torch.uint8)
        masks = torch.zeros(args.frames, *size, dtype=torch.uint8)
        masks[:, size[0] // 4:size[0] // 2, size[1] // 4:] = torch.randint(1, head['num_classes'], (args.frames, 1, 1))
        sample = AVSDataSample(metainfo=dict(img_shape=size, out_shape=(args.out_size, ) * 2))
        sample.valid = torch.ones(args.frames, dtype=torch.bool)
        sample.labelled = torch.arange(args.frames) < (args.labelled or args.frames)
        sample.gt_sem_seg = masks
        if head.get('num_prototypes'):
            sample.gt_events = (torch.rand(args.frames, head['num_prototypes']) < 0.1).float()
        inputs.append(clip)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Measure time, memory and FLOPs of the model of a config')
    parser.add_argument('config', help='config file')
    parser.add_argument('--clips', type=int, default=1, help='clips in the batch')
    parser.add_argument('--frames', type=int, default=5, help='frames of a clip')
    parser.add_argument('--labelled', type=int, help='labelled frames of a clip in training (default: all of them)')
    parser.add_argument('--size', type=int, nargs=2, metavar=('H', 'W'), help='default: input_size of the head')
    parser.add_argument('--out-size', type=int, default=224, help='height and width of the predictions')
    parser.add_argument('--repeats', type=int, default=5, help='timed calls; the median is reported')
    parser.add_argument('--threads', type=int, default=1, help='threads on the CPU')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--mode', choices=['predict', 'train', 'both'], default='both', help='what is measured')
    parser.add_argument('--out', metavar='FILE', help='CSV file to which a row for each mode is added')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='values that replace the config\'s')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    try:
        config = load_config(args.config, args.cfg_options).model
    except ConfigError as error:
        sys.exit(f'error: {error}')
    drop_pretrained(config)
    size = args.size or config.decode_head.get('input_size')
    if size is None:
        sys.exit(f'error: {args.config}: the head states no input_size: give the size of the frames by --size')
    device = torch.device(args.device)
    model = MODELS.build(config).to(device)
    clips = random_clips(model, config.decode_head, tuple(size), args)
    meter = Meter(device)
    parts = PartTimes(model, meter)

    @torch.no_grad()
    def predict() -> None:
        model.eval()
        model(**model.data_preprocessor(clips), mode='predict')

    def train() -> None:
        model.train()
        losses = model(**model.data_preprocessor(clips, training=True), mode='loss')
        loss, _ = model.parse_losses(losses)
        start = meter.now()
        loss.backward()
        parts.seconds['backward'] += meter.now() - start
        model.zero_grad(set_to_none=True)

    flops = count_flops(model, predict)
    modes = dict(predict=predict, train=train) if args.mode == 'both' else {args.mode: locals()[args.mode]}
    results = {mode: measure(run, meter, parts, args.repeats) for mode, run in modes.items()}

    hardware = torch.cuda.get_device_name(device) if device.type == 'cuda' else processor_name()
    stamp = dict(
        config=args.config,
        clips=args.clips,
        frames=args.frames,
        size='x'.join(map(str, size)),
        params_m=round(sum(p.numel() for p in model.parameters()) / 1e6, 2),
        predict_gflops=round(flops['Global'] / 1e9, 1),
        hardware=hardware,
        threads=args.threads,
        clock=meter.clock,
        repeats=args.repeats,
        torch=torch.__version__,
        date=datetime.date.today().isoformat(),
        command=shlex.join(['python', *sys.argv]))
    print_report(model, results, flops, stamp)
    if args.out:
        append_rows(Path(args.out), results, stamp)


def print_report(model: BaseModel, results: dict, flops: dict, stamp: dict) -> None:
    table = Table(title=f"{stamp['config']}: {stamp['clips']} x {stamp['frames']} frames of {stamp['size']}")
    table.add_column('part', no_wrap=True)
    for heading in ('params (M)', 'GFLOPs', *(f'{mode} (s)' for mode in results)):
        table.add_column(heading, justify='right')

    def add_row(name: str, parameters: str, flop: str, seconds: list[float | None], **style: bool) -> None:
        table.add_row(name, parameters, flop, *('' if s is None else f'{s:.3f}' for s in seconds), **style)

    for name, part in named_parts(model).items():
        parameters = sum(p.numel() for p in part.parameters())
        add_row(name, f'{parameters / 1e6:.2f}', f"{flops.get(f'{type(model).__name__}.{name}', 0) / 1e9:.1f}",
                [result['parts'].get(name) for result in results.values()])
    add_row('backward', '', '', [result['parts'].get('backward') for result in results.values()])
    add_row('the rest', '', '', [r['seconds'] - sum(r['parts'].values()) for r in results.values()], end_section=True)
    add_row('all', str(stamp['params_m']), str(stamp['predict_gflops']), [r['seconds'] for r in results.values()])
    table.add_row('fastest - slowest', '', '', *(f"{r['fastest']:.2f}-{r['slowest']:.2f}" for r in results.values()))
    table.add_row('peak memory (MiB)', '', '', *(f"{r['peak_mib']:.0f}" for r in results.values()))
    console = Console()
    console.print(table)
    console.print(f"{stamp['hardware']}, {stamp['threads']} thread(s), {stamp['clock']}, median of {stamp['repeats']}, "
                  f"torch {stamp['torch']}, {stamp['date']}\n{stamp['command']}", highlight=False, soft_wrap=True)


def append_rows(file: Path, results: dict, stamp: dict) -> None:
    rows = [
        dict(mode=mode, seconds=round(r['seconds'], 4), peak_mib=round(r['peak_mib'], 1), **stamp)
        for mode, r in results.items()
    ]
    new = not file.exists()
    with file.open('a', newline='') as stream:
        writer = csv.DictWriter(stream, rows[0])
        if new:
            writer.writeheader()
        writer.writerows(rows)


def processor_name() -> str:
    if sys.platform == 'linux':
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return f"{line.split(':')[1].strip()} {torch.backends.cpu.get_cpu_capability()}"
    return platform.processor() or platform.machine()


if __name__ == '__main__':
    main()
