#!/usr/bin/env python
"""Compare predictions of a half precision with float32: ``compare_precision.py CONFIG CHECKPOINT --precision bf16``.

Predicts the test split in both and reports the pixels with the same label and the difference of every metric. The
contract of a half precision: at least 99.5 % of the pixels have the same label, and M_J differs by less than 0.002. The
exit status is 1 if it is broken.
"""
import argparse
import sys
import time

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmavs.analysis.timing import hardware_name
from mmavs.checkpoint.compatibility import load_weights
from mmavs.cli.arguments import add_acceleration, add_run_arguments, load_run_config
from mmavs.engine.launch import build_runner
from mmavs.structures import AVSDataSample
from mmavs.utils.errors import cli_errors
from mmavs.utils.model import unwrap_model
from mmavs.utils.precision import MAX_METRIC_DIFFERENCE, MIN_SAME_LABELS


class LabelsHook(Hook):
    """Keep the predicted labels of a test, (T, H, W) uint8 of each clip."""

    def __init__(self) -> None:
        self.labels: list[Tensor] = []

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                        outputs: list[AVSDataSample] | None = None) -> None:
        self.labels += [sample.pred_sem_seg.cpu() for sample in outputs]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare predictions of a half precision with float32')
    add_run_arguments(parser, checkpoint=True, example='test_dataloader.num_workers=0')
    add_acceleration(parser)
    args = parser.parse_args()
    if args.precision == 'fp32' and not args.compile:
        parser.error('nothing to compare: add --precision bf16, --precision fp16 or --compile')
    return args


@cli_errors()
def main() -> None:
    args = parse_args()
    config = load_run_config(args)
    config.load_from, config.resume = None, False
    runner = build_runner(config, args.launcher)
    load_weights(unwrap_model(runner.model), args.checkpoint, config)
    hook = LabelsHook()
    runner.register_hook(hook)

    expected, expected_scores, seconds = predict(runner, hook, 'fp32', False)
    labels, scores, other_seconds = predict(runner, hook, args.precision, args.compile)
    equal = sum(int((a == b).sum()) for a, b in zip(labels, expected))
    same = equal / sum(x.numel() for x in expected)
    name = args.precision + (', compiled' if args.compile else '')
    print(f'{same:.5%} of the pixels of {len(expected)} clips have the same label in {name} as in fp32')
    print(f'{seconds:.1f} s in fp32, {other_seconds:.1f} s in {name} (wall time of the whole test)')
    for key, value in expected_scores.items():
        if isinstance(value, float):
            print(f'{key}: {value:.5f} in fp32, {scores[key]:.5f} in {name}, difference {scores[key] - value:+.5f}')
    print(f"torch {torch.__version__}, {hardware_name(next(runner.model.parameters()).device)}")
    moved = max((abs(scores[key] - value) for key, value in expected_scores.items() if key.endswith('M_J')), default=0)
    if same < MIN_SAME_LABELS or moved >= MAX_METRIC_DIFFERENCE:
        sys.exit(f'{name} breaks the contract: expected at least {MIN_SAME_LABELS:.1%} equal labels and a difference '
                 f'of M_J below {MAX_METRIC_DIFFERENCE}')


def predict(runner: Runner, hook: LabelsHook, precision: str,
            compiled: bool) -> tuple[list[Tensor], dict[str, float], float]:
    """Labels of all clips, metrics and seconds of the test."""
    unwrap_model(runner.model).accelerate(precision, compiled)
    hook.labels = []
    start = time.perf_counter()
    scores = runner.test()
    return hook.labels, scores, time.perf_counter() - start


if __name__ == '__main__':
    main()
