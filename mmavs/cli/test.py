"""``mmavs test``: evaluate a checkpoint, or predict with it."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mmavs.utils.files import check_writable, check_writable_directory

from .arguments import add_acceleration, add_json, add_run_arguments, load_run_config

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

DESCRIPTION = 'Evaluate a checkpoint on the test split, or predict its masks'
SUFFIXES = dict(metrics='.json', pred='.npz')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
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
    add_acceleration(parser)
    parser.add_argument('--show-dir', metavar='DIR', help='directory for figures of the predictions, one per clip')
    add_json(parser, 'the report that --out FILE.json writes')


def run(args: argparse.Namespace) -> None:
    """Test, in this process or as one of those that a launcher has started."""
    check_arguments(args)
    from mmavs.utils.json_files import to_json, write_json
    from mmavs.utils.terminal import messages_to_stderr

    with messages_to_stderr(args.json):
        report = test(args)
    if report and args.out and args.out_item == 'metrics':
        write_json(args.out, report)
    if report and args.json:
        print(to_json(report))


def check_arguments(args: argparse.Namespace) -> None:
    """Raise an error for outputs that other arguments exclude, that would mix with old ones, or cannot be written."""
    if args.out and args.out_item == 'png':
        if Path(args.out).exists() and (not Path(args.out).is_dir() or any(Path(args.out).iterdir())):
            raise argparse.ArgumentError(None, f'--out {args.out}: exists and is not an empty directory; with '
                                         '--out-item png name a new one')
    elif args.out and Path(args.out).suffix != SUFFIXES[args.out_item]:
        raise argparse.ArgumentError(None, f'--out {args.out}: with --out-item {args.out_item} the file must end in '
                                     f'{SUFFIXES[args.out_item]}')
    if args.out:
        exists = args.out_item == 'png' and Path(args.out).is_dir()
        (check_writable_directory if exists else check_writable)(args.out)
    if args.show_dir:
        check_writable_directory(args.show_dir)
    if args.predict_only and not args.show_dir and (not args.out or args.out_item == 'metrics'):
        raise argparse.ArgumentError(None, '--predict-only needs --show-dir DIR, --out FILE.npz --out-item pred or '
                                     '--out DIR --out-item png')
    if args.predict_only and args.json:
        raise argparse.ArgumentError(None, '--json prints metrics, which --predict-only does not compute')


def test(args: argparse.Namespace) -> dict | None:
    """Run the test, which writes masks and figures; return the report if it is asked for, in the main process."""
    from mmengine.config import Config
    from mmengine.dist import is_main_process

    from mmavs.apis.weights import resolve_weights
    from mmavs.checkpoint.compatibility import load_weights
    from mmavs.engine.launch import build_runner
    from mmavs.engine.test_report import make_report, make_stamp
    from mmavs.evaluation.metrics.save_masks import check_clip_ids
    from mmavs.utils.model import unwrap_model

    config = load_run_config(args)
    args.checkpoint = str(resolve_weights(args.config, args.checkpoint))
    loaded = Config(config.to_dict(), filename=config.filename)
    request_outputs(config, args)
    # The checkpoint of the command line replaces that of the config.
    config.load_from, config.resume = None, False
    runner = build_runner(config, args.launcher)
    model = unwrap_model(runner.model)
    meta = load_weights(model, args.checkpoint, None if args.allow_other_settings else config)
    if (args.precision, args.compile) != ('fp32', False):
        model.accelerate(args.precision, args.compile)
    if args.show_dir or args.out and args.out_item != 'metrics':
        check_clip_ids(clip_ids(runner))
    scores = run_test(runner)
    if not is_main_process() or not (args.json or args.out and args.out_item == 'metrics'):
        return None
    return make_report(config, scores, runner.test_evaluator.metrics, make_stamp(loaded, args.checkpoint, meta))


def run_test(runner: Runner) -> dict[str, float]:
    """Run a test; the error of a stopped loader worker names it."""
    from mmavs.engine.loader_timeout import naming_late_worker

    with naming_late_worker():
        return runner.test()


def request_outputs(config: Config, args: argparse.Namespace) -> None:
    """Add what saves masks and figures to the config; without ground truth, remove what reads it."""
    from mmavs.engine.testing import remove_ground_truth
    from mmavs.structures import DEFAULT_OUTPUTS
    from mmavs.utils.config import metric_configs

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
