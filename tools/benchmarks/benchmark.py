#!/usr/bin/env python
"""Measure time, memory and FLOPs of the model of a config: ``python tools/benchmarks/benchmark.py CONFIG``.

Random weights and random clips; measured are ``mode='predict'`` and one training step (loss and backward, without the
optimizer), after one call of each to warm up. Every row of the CSV file says by what command, on what device and with
which versions it was measured.
"""
import argparse
import csv
import datetime
import platform
import shlex
import sys
from pathlib import Path

import mmcv
import mmengine
import torch
from mmengine.model import BaseModel
from rich.console import Console
from rich.table import Table

import mmavs.models
from mmavs.analysis.complexity import count_flops, count_parameters, drop_pretrained, frame_size, named_parts
from mmavs.analysis.random_clips import random_clips
from mmavs.analysis.timing import Measurement, Meter, hardware_name, measure_model
from mmavs.cli.arguments import add_cfg_options, add_config, positive_int
from mmavs.models.layers.deformable_attention import mmcv_cuda_op
from mmavs.registry import MODELS
from mmavs.utils.config import load_config
from mmavs.utils.device import select_device
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import atomic_write, check_writable, read_text
from mmavs.utils.precision import PRECISIONS
from mmavs.utils.terminal import quiet_libraries


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Measure time, memory and FLOPs of the model of a config')
    add_config(parser)
    parser.add_argument('--clips', type=positive_int, default=1, help='clips in the batch')
    parser.add_argument('--frames', type=positive_int, default=5, help='frames of a clip')
    parser.add_argument('--labelled', type=positive_int, help='labelled frames of a clip in training (default: all)')
    parser.add_argument('--size', type=positive_int, nargs=2, metavar=('H', 'W'), help='default: that of the config')
    parser.add_argument('--out-size', type=positive_int, default=224, help='height and width of the predictions')
    parser.add_argument('--repeats', type=positive_int, default=5, help='timed calls; the median is reported')
    parser.add_argument('--threads', type=positive_int, default=1, help='threads on the CPU')
    parser.add_argument('--device', help='for example cpu or cuda:1 (default: the GPU if there is one)')
    parser.add_argument('--precision', choices=PRECISIONS, default='fp32',
                        help='of predictions as for mmavs infer, of training steps that of autocast (default: fp32)')
    parser.add_argument('--tf32', action='store_true',
                        help='products and convolutions of float32 in TF32, on a GPU (default: in float32)')
    parser.add_argument('--compile', action='store_true', help='with torch.compile; parts are not timed')
    parser.add_argument('--channels-last', action='store_true', help='convolutions with channels last in memory')
    parser.add_argument('--mode', choices=['predict', 'train', 'both'], default='both', help='what is measured')
    parser.add_argument('--out', metavar='FILE', help='CSV file to which a row for each mode is added')
    add_cfg_options(parser, example='model.decode_head.num_queries=50')
    return parser.parse_args()


@cli_errors()
def main() -> None:
    args = parse_args()
    if args.out:
        check_writable(args.out)
    quiet_libraries()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    allow_tf32(args.tf32)
    config = load_config(args.config, args.cfg_options)
    size = args.size or frame_size(config)
    config = config.model
    drop_pretrained(config)
    device = select_device(args.device)
    model = MODELS.build(config).to(device)
    if args.channels_last:
        model = model.to(memory_format=torch.channels_last)
    clips = random_clips(model, tuple(size), args.clips, args.frames, args.labelled,
                         config.decode_head.get('num_prototypes'), (args.out_size, args.out_size))
    modes = ('predict', 'train') if args.mode == 'both' else (args.mode, )
    flops = count_flops(model, clips)
    results = measure_model(model, clips, modes, args.repeats, args.precision, args.compile)

    stamp = dict(
        config=args.config,
        clips=args.clips,
        frames=args.frames,
        size='x'.join(map(str, size)),
        precision='tf32' if args.tf32 and args.precision == 'fp32' else args.precision,
        compiled=args.compile,
        channels_last=args.channels_last,
        params_m=round(count_parameters(model) / 1e6, 2),
        predict_gflops=round(flops[''] / 1e9, 1),
        hardware=hardware_name(device),
        deformable_op='mmcv CUDA' if device.type == 'cuda' and mmcv_cuda_op() else 'PyTorch',
        threads=args.threads,
        clock=Meter(device).clock,
        repeats=args.repeats,
        torch=torch.__version__,
        cuda=torch.version.cuda if device.type == 'cuda' else '',
        mmcv=mmcv.__version__,
        mmengine=mmengine.__version__,
        mmavs=mmavs.__version__,
        python=platform.python_version(),
        date=datetime.date.today().isoformat(),
        command=shlex.join(['python', *sys.argv]))
    print_report(model, results, flops, stamp)
    if args.out:
        append_rows(Path(args.out), [to_row(mode, result, stamp) for mode, result in results.items()])


def allow_tf32(allowed: bool) -> None:
    """Compute products and convolutions of float32 in TF32, or not: by default PyTorch does for convolutions only."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def print_report(model: BaseModel, results: dict[str, Measurement], flops: dict[str, int], stamp: dict) -> None:
    table = Table(title=f"{stamp['config']}: {stamp['clips']} x {stamp['frames']} frames of {stamp['size']}")
    table.add_column('part', no_wrap=True)
    for heading in ('params (M)', 'GFLOPs', *(f'{mode} (s)' for mode in results)):
        table.add_column(heading, justify='right')

    def add_row(name: str, parameters: str, flop: str, seconds: list[float | None], **style: bool) -> None:
        table.add_row(name, parameters, flop, *('' if s is None else f'{s:.3f}' for s in seconds), **style)

    for name, part in named_parts(model).items():
        add_row(name, f'{count_parameters(part) / 1e6:.2f}', f'{flops.get(name, 0) / 1e9:.1f}',
                [result.parts.get(name) for result in results.values()])
    add_row('backward', '', '', [result.parts.get('backward') for result in results.values()])
    add_row('the rest', '', '', [r.seconds - sum(r.parts.values()) for r in results.values()], end_section=True)
    add_row('all', str(stamp['params_m']), str(stamp['predict_gflops']), [r.seconds for r in results.values()])
    table.add_row('fastest - slowest', '', '', *(f'{r.fastest:.2f}-{r.slowest:.2f}' for r in results.values()))
    table.add_row('peak memory (MiB)', '', '', *(f'{r.peak_mib:.0f}' for r in results.values()))
    console = Console()
    console.print(table)
    options = [name for name in ('compiled', 'channels_last') if stamp[name]]
    console.print(f"{', '.join([stamp['precision'], *options])}, {stamp['hardware']}, deformable attention by "
                  f"{stamp['deformable_op']}, {stamp['threads']} thread(s), {stamp['clock']}, median of "
                  f"{stamp['repeats']}, torch {stamp['torch']}, {stamp['date']}\n{stamp['command']}", highlight=False,
                  soft_wrap=True)


def to_row(mode: str, result: Measurement, stamp: dict) -> dict:
    """Latency, throughput and memory of a mode, with the stamp of the run."""
    return dict(
        mode=mode,
        seconds=round(result.seconds, 4),
        frames_per_second=round(stamp['clips'] * stamp['frames'] / result.seconds, 2),
        peak_mib=round(result.peak_mib, 1),
        **stamp)


def append_rows(file: Path, rows: list[dict]) -> None:
    """Add rows to a CSV file of the same columns."""
    columns = list(rows[0])
    new = not file.exists()
    if not new:
        found = read_text(file, 'a CSV file').partition('\n')[0].rstrip('\r').split(',')
        if found != columns:
            sys.exit(f'error: {file}: has the columns {", ".join(found)}, expected {", ".join(columns)}; name another '
                     'file')
    before = b'' if new else file.read_bytes()
    with atomic_write(file) as partial, partial.open('w', newline='') as stream:
        stream.write(before.decode())
        writer = csv.DictWriter(stream, columns)
        if new:
            writer.writeheader()
        writer.writerows(rows)


if __name__ == '__main__':
    main()
