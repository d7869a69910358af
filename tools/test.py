#!/usr/bin/env python
"""Evaluate a checkpoint, or predict with it: ``python tools/test.py CONFIG CHECKPOINT``."""
import argparse
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mmavs.checkpoint.compatibility import load_weights
from mmavs.engine.launch import build_runner
from mmavs.engine.test_report import make_report, make_stamp
from mmavs.engine.testing import remove_ground_truth
from mmavs.evaluation.metrics.save_masks import check_clip_ids
from mmavs.structures import DEFAULT_OUTPUTS
from mmavs.utils.cli import add_run_arguments, load_run_config
from mmavs.utils.config import metric_configs
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import check_writable
from mmavs.utils.json_files import write_json
from mmavs.utils.model import unwrap_model

SUFFIXES = dict(metrics='.json', pred='.npz')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Evaluate a checkpoint on the test split, or predict its masks')
    add_run_arguments(parser, checkpoint=True, example='test_dataloader.num_workers=0')
    parser.add_argument('--out', metavar='PATH',
                        help='file for the metrics (.json) or the predicted masks (.npz), or directory for the '
                        'masks as PNG')
    parser.add_argument('--out-item', choices=['metrics', 'pred', 'png'], default='metrics',
                        help='what goes to PATH: metrics, or masks at the size of the frames in one file (pred) or one '
                        'PNG file per frame (png) (default: metrics)')
    parser.add_argument('--predict-only', action='store_true',
                        help='predict without ground truth: neither read masks nor compute metrics; with --show-dir, '
                        'or --out and --out-item pred or png')
    parser.add_argument('--allow-other-settings', action='store_true',
                        help='accept a checkpoint that was trained for another input size or for other classes')
    parser.add_argument('--show-dir', metavar='DIR', help='directory for figures of the predictions, one per clip')
    args = parser.parse_args()
    if args.out:
        check_output(parser, args.out, args.out_item)
    if args.predict_only and not args.show_dir and (not args.out or args.out_item == 'metrics'):
        parser.error('--predict-only needs --show-dir DIR, --out FILE.npz --out-item pred or --out DIR --out-item png')
    return args


def check_output(parser: argparse.ArgumentParser, out: str, item: str) -> None:
    """Exit if the file is of another kind or cannot be written, or the directory holds files that would be mixed in."""
    if item == 'png':
        if Path(out).exists() and (not Path(out).is_dir() or any(Path(out).iterdir())):
            parser.error(f'--out {out}: exists and is not an empty directory; with --out-item png name a new one')
    elif Path(out).suffix != SUFFIXES[item]:
        parser.error(f'--out {out}: with --out-item {item} the file must end in {SUFFIXES[item]}')
    check_writable(Path(out, 'masks') if Path(out).is_dir() and item == 'png' else out)


@cli_errors()
def main() -> None:
    args = parse_args()
    config = load_run_config(args)
    loaded = Config(config.to_dict(), filename=config.filename)
    request_outputs(config, args)
    # The checkpoint of the command line replaces that of the config.
    config.load_from, config.resume = None, False
    runner = build_runner(config, args.launcher)
    meta = load_weights(unwrap_model(runner.model), args.checkpoint, None if args.allow_other_settings else config)
    if args.show_dir or args.out and args.out_item != 'metrics':
        check_clip_ids(clip_ids(runner))
    scores = runner.test()
    if args.out and args.out_item == 'metrics' and is_main_process():
        stamp = make_stamp(loaded, args.checkpoint, meta)
        write_json(args.out, make_report(config, scores, runner.test_evaluator.metrics, stamp))


def request_outputs(config: Config, args: argparse.Namespace) -> None:
    """Add what saves masks and figures to the config; without ground truth, remove what reads it."""
    outputs = list(config.model.get('outputs', DEFAULT_OUTPUTS))
    if args.predict_only:
        remove_ground_truth(config)
        outputs = ['pred_sem_seg'] if args.show_dir else []
    if args.out and args.out_item != 'metrics':
        config.test_evaluator = [*metric_configs(config), dict(type='SaveMasks', path=args.out)]
        outputs.append('pred_frame_seg')
    if args.show_dir:
        hook = dict(type='ClipVisualizationHook', out_dir=args.show_dir)
        config.custom_hooks = [*config.get('custom_hooks', []), hook]
    config.model.outputs = outputs


def clip_ids(runner: Runner) -> list[str]:
    """List the clips of the test."""
    dataset = runner.test_loop.dataloader.dataset
    return [dataset.get_data_info(i)['clip_id'] for i in range(len(dataset))]


if __name__ == '__main__':
    main()
