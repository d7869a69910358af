#!/usr/bin/env python
"""Measure time, memory and FLOPs of the model of a config: ``python tools/analysis_tools/benchmark.py CONFIG``.

Random weights and random clips; measured are ``mode='predict'`` and one training step (loss and backward, without the
optimizer), after one call of each to warm up.
"""
import argparse
import csv
import datetime
import shlex
import sys
from pathlib import Path

import torch
from mmengine.config import DictAction
from mmengine.model import BaseModel
from rich.console import Console
from rich.table import Table

import mmavs.models  # noqa: F401
from mmavs.apis.profiling import (
    Measurement,
    Meter,
    count_flops,
    count_parameters,
    drop_pretrained,
    hardware_name,
    measure_model,
    named_parts,
    random_clips,
)
from mmavs.registry import MODELS
from mmavs.utils.config import load_config
from mmavs.utils.errors import one_line_errors


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


@one_line_errors()
def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = load_config(args.config, args.cfg_options).model
    drop_pretrained(config)
    size = args.size or config.decode_head.get('input_size')
    if size is None:
        sys.exit(f'error: {args.config}: the head states no input_size: give the size of the frames by --size')
    device = torch.device(args.device)
    model = MODELS.build(config).to(device)
    clips = random_clips(model, tuple(size), args.clips, args.frames, args.labelled,
                         config.decode_head.get('num_prototypes'), (args.out_size, args.out_size))
    modes = ('predict', 'train') if args.mode == 'both' else (args.mode, )
    flops = count_flops(model, clips)
    results = measure_model(model, clips, modes, args.repeats)

    stamp = dict(
        config=args.config,
        clips=args.clips,
        frames=args.frames,
        size='x'.join(map(str, size)),
        params_m=round(count_parameters(model) / 1e6, 2),
        predict_gflops=round(flops[''] / 1e9, 1),
        hardware=hardware_name(device),
        threads=args.threads,
        clock=Meter(device).clock,
        repeats=args.repeats,
        torch=torch.__version__,
        date=datetime.date.today().isoformat(),
        command=shlex.join(['python', *sys.argv]))
    print_report(model, results, flops, stamp)
    if args.out:
        append_rows(Path(args.out), results, stamp)


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
    console.print(f"{stamp['hardware']}, {stamp['threads']} thread(s), {stamp['clock']}, median of {stamp['repeats']}, "
                  f"torch {stamp['torch']}, {stamp['date']}\n{stamp['command']}", highlight=False, soft_wrap=True)


def append_rows(file: Path, results: dict[str, Measurement], stamp: dict) -> None:
    rows = [
        dict(mode=mode, seconds=round(r.seconds, 4), peak_mib=round(r.peak_mib, 1), **stamp)
        for mode, r in results.items()
    ]
    new = not file.exists()
    with file.open('a', newline='') as stream:
        writer = csv.DictWriter(stream, rows[0])
        if new:
            writer.writeheader()
        writer.writerows(rows)


if __name__ == '__main__':
    main()
