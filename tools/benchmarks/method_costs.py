#!/usr/bin/env python
"""Measure what the comparison of methods shows of models of the zoo: ``python tools/benchmarks/method_costs.py``.

Parameters with and without audio encoder and mask prior are counted for every model; time and memory of a prediction
are measured for some. The results are added to ``docs/reference/method_costs.json`` after each model, and
``docs/reference/comparison.md`` shows them. Models of the same architecture and frame size are timed once.
"""
import argparse
import sys
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from rich.console import Console

import mmavs.models  # noqa: F401
from mmavs.analysis.method_costs import compared_models, count_method, read_costs, time_method, write_costs
from mmavs.cli.arguments import positive_int
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import check_writable
from mmavs.utils.terminal import quiet_libraries
from mmavs.utils.zoo import read_zoo

OUT = Path(__file__).resolve().parents[2] / 'docs/reference/method_costs.json'
# Of each method the recipes with PVTv2-B5 at 224x224, then the one with the highest published scores.
TIMED = ('ease_pvt-v2-b5_*', 'ravs_pvt-v2-b5_s4', 'ravs_pvt-v2-b5_ms3', 'ravs_pvt-v2-b5_avss', 'ravs_pvt-v2-b5_vpo-*',
         'tpavi_pvt-v2-b5_s4', 'tpavi_pvt-v2-b5_ms3', 'tpavi_pvt-v2-b5_avss', 'combo_pvt-v2-b5_*',
         'vct_pvt-v2-b5-224_*_mask-prior', 'avsegformer_pvt-v2-b5_s4', 'avsegformer_pvt-v2-b5_ms3',
         'avsegformer_pvt-v2-b5_avss', 'act_swin-b_*', 'vct_swin-b_s4_mask-prior', 'vct_swin-b_ms3_mask-prior',
         'vct_swin-b_avss_mask-prior', 'ease_dinov3-l-384_*', 'avsegformer_pvt-v2-b5-512_*')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Measure what the comparison of methods shows of models of the zoo')
    parser.add_argument('models', nargs='*', default=TIMED, metavar='MODEL',
                        help='names or patterns of the models that are timed, in this order (default: of each method '
                             'the recipes with PVTv2-B5 at 224x224 and the best one)')
    parser.add_argument('--count-only', action='store_true', help='count the parameters of these models, time none')
    parser.add_argument('--repeats', type=positive_int, default=3, help='timed calls; the median is reported')
    parser.add_argument('--threads', type=positive_int, default=1, help='threads on the CPU')
    parser.add_argument('--out', type=Path, default=OUT, help='JSON file to which the results are added')
    return parser.parse_args()


def choose(patterns: list[str], names: list[str]) -> list[str]:
    """Names that match, in the order of the patterns, each once."""
    chosen = {}
    for pattern in patterns:
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            sys.exit(f'error: {pattern}: no model that the comparison shows matches; tools/list_models.py lists all, '
                     'and ablations are not compared')
        chosen |= dict.fromkeys(matching)
    return list(chosen)


@cli_errors()
def main() -> None:
    args = parse_args()
    check_writable(args.out)
    quiet_libraries()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    models, console, timings = compared_models(read_zoo()), Console(), {}
    for name in choose(args.models, list(models)):
        cost, architecture = count_method(models[name])
        if not args.count_only:
            if architecture not in timings:
                timings[architecture] = time_method(models[name], args.repeats)
            cost = replace(cost, timing=timings[architecture])
        # Read again: an interrupted run keeps what it has, and other results stay.
        costs = read_costs(args.out)
        if args.count_only and name in costs:
            cost = replace(cost, timing=costs[name].timing)
        write_costs(args.out, costs | {name: cost})
        found, timing = f'{cost.parameters / 1e6:.1f} M parameters', cost.timing
        if timing:
            found += f', {timing.seconds_per_frame:.3f} s per frame, {timing.peak_mib:.0f} MiB'
        console.print(f'{name}: {found}', highlight=False, soft_wrap=True)


if __name__ == '__main__':
    main()
