#!/usr/bin/env python
"""Score a checkpoint with several mask priors: ``compare_mask_priors.py CONFIG CHECKPOINT --priors NAME=DIR ...``."""
import argparse
from pathlib import Path

from mmavs.cli.arguments import add_run_arguments, load_run_config
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import check_writable
from mmavs.utils.json_files import write_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Score a checkpoint with the mask priors of several generators, and with none (constant gray), on '
        'the same clips')
    add_run_arguments(parser, checkpoint=True, example='test_dataloader.num_workers=0')
    parser.add_argument('--priors', nargs='+', type=named_directory, required=True, metavar='NAME=DIR',
                        help='directories of mask priors, relative to the data root or absolute, for example '
                        'authors=pre_SAM_mask/AVSBench_semantic ours=priors_sam2')
    parser.add_argument('--out', metavar='FILE',
                        help='CSV file for the table; a JSON file beside it says how it was made')
    args = parser.parse_args()
    if len(dict(args.priors)) < len(args.priors) or 'none' in dict(args.priors):
        parser.error("argument --priors: expected different names, and none of them 'none', which is tested anyway")
    if args.out and Path(args.out).suffix != '.csv':
        parser.error(f'argument --out: {args.out!r}, expected a .csv file')
    return args


def named_directory(text: str) -> tuple[str, str]:
    """Read NAME=DIR."""
    name, _, directory = text.partition('=')
    if not name or not directory:
        raise argparse.ArgumentTypeError(f'{text!r}, expected NAME=DIR')
    return name, directory


@cli_errors()
def main() -> None:
    args = parse_args()
    from mmengine.dist import is_main_process
    from rich.console import Console
    from rich.table import Table

    from mmavs.analysis.mask_prior_comparison import compare_mask_priors
    from mmavs.datasets.file_listing import write_csv
    from mmavs.engine.test_report import make_stamp

    if args.out:
        check_writable(args.out)
    config = load_run_config(args)
    stamp = make_stamp(config, args.checkpoint, {})
    scores = compare_mask_priors(config, args.checkpoint, dict(args.priors), args.launcher)
    if not is_main_process():
        return
    metrics = list(scores['none'])
    table = Table('mask priors', *metrics, title=f'{Path(args.config).name} by mask priors')
    for name, values in scores.items():
        table.add_row(name, *(f'{values[metric]:.4f}' for metric in metrics))
    Console().print(table)
    if args.out:
        rows = [{'mask priors': name, **values} for name, values in scores.items()]
        write_csv(args.out, rows, ['mask priors', *metrics])
        write_json(Path(args.out).with_suffix('.json'), dict(scores=scores, directories=dict(args.priors), stamp=stamp))


if __name__ == '__main__':
    main()
