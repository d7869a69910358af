#!/usr/bin/env python
"""Evaluate a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``."""
import argparse
import json
from pathlib import Path

from mmengine.dist import is_main_process

from mmavs.checkpoint.compatibility import load_weights
from mmavs.engine.launch import build_runner
from mmavs.utils.cli import add_run_arguments, load_run_config
from mmavs.utils.config import metric_configs
from mmavs.utils.errors import cli_errors
from mmavs.utils.model import unwrap_model


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Evaluate a checkpoint on the test split')
    add_run_arguments(parser, checkpoint=True, example='test_dataloader.num_workers=0')
    parser.add_argument('--out', metavar='FILE', help='file for the metrics (.json) or the predicted masks (.npz)')
    parser.add_argument('--out-item', choices=['metrics', 'pred'], default='metrics',
                        help='what goes into FILE (default: metrics)')
    parser.add_argument('--allow-other-settings', action='store_true',
                        help='accept a checkpoint that was trained for another input size or for other classes')
    parser.add_argument('--show-dir', metavar='DIR', help='directory for figures of the predictions, one per clip')
    args = parser.parse_args()
    suffix = dict(metrics='.json', pred='.npz')[args.out_item]
    if args.out and not args.out.endswith(suffix):
        parser.error(f'--out {args.out}: with --out-item {args.out_item} the file must end in {suffix}')
    return args


@cli_errors()
def main() -> None:
    args = parse_args()
    config = load_run_config(args)
    if args.out and args.out_item == 'pred':
        config.test_evaluator = [*metric_configs(config), dict(type='SaveMasks', path=args.out)]
    if args.show_dir:
        hook = dict(type='ClipVisualizationHook', out_dir=args.show_dir)
        config.custom_hooks = [*config.get('custom_hooks', []), hook]

    # The checkpoint of the command line replaces that of the config.
    config.load_from, config.resume = None, False
    runner = build_runner(config, args.launcher)
    load_weights(unwrap_model(runner.model), args.checkpoint, None if args.allow_other_settings else config)
    metrics = runner.test()
    if args.out and args.out_item == 'metrics' and is_main_process():
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps({name: float(value) for name, value in metrics.items()}, indent=2) + '\n')


if __name__ == '__main__':
    main()
