#!/usr/bin/env python
"""Score a checkpoint with original, muted and swapped audio: ``audio_ablation.py CONFIG CHECKPOINT``."""
import argparse
from pathlib import Path

from mmavs.cli.arguments import add_run_arguments, load_run_config
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import check_writable
from mmavs.utils.json_files import write_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Score a checkpoint with original, muted and swapped audio')
    add_run_arguments(parser, checkpoint=True, example='test_dataloader.num_workers=0')
    parser.add_argument('--out', metavar='FILE', help='JSON file for the metrics')
    return parser.parse_args()


@cli_errors()
def main() -> None:
    args = parse_args()
    from mmengine.dist import is_main_process
    from rich.console import Console
    from rich.table import Table

    from mmavs.analysis.audio_ablation import audio_ablation
    from mmavs.apis.weights import resolve_weights

    if args.out:
        check_writable(args.out)
    config = load_run_config(args)
    scores = audio_ablation(config, str(resolve_weights(args.config, args.checkpoint)), args.launcher)
    if not is_main_process():
        return
    table = Table('metric', *scores, title=f'{Path(args.config).name} by audio')
    for name in scores['original']:
        table.add_row(name, *(f'{metrics[name]:.4f}' for metrics in scores.values()))
    Console().print(table)
    if args.out:
        write_json(args.out, scores)


if __name__ == '__main__':
    main()
