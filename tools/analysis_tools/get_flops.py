#!/usr/bin/env python
"""Count parameters and FLOPs of a model by branch: ``python tools/analysis_tools/get_flops.py CONFIG``.

Both are counted from shapes alone: a model of any size takes a second or two and no memory. A multiply-add is 2 FLOPs.
``--metafile`` writes the numbers of all models of a metafile into it.
"""
from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmavs.cli.arguments import add_cfg_options, add_config, positive_int
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import atomic_write, check_writable
from mmavs.utils.terminal import quiet_libraries
from mmavs.utils.zoo import read_yaml, zoo_root

if TYPE_CHECKING:
    from rich.table import Table

    from mmavs.analysis.complexity import Complexity

# Branches that comparisons of methods leave out, because some methods lack them or compute them only once per dataset.
BRANCHES = dict(audio_backbone='the audio encoder', mask_prior='the mask prior')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Count parameters and FLOPs of a model by branch')
    add_config(parser, nargs='?')
    parser.add_argument('--frames', type=positive_int, default=5, help='frames of the clip')
    parser.add_argument('--size', type=positive_int, nargs=2, metavar=('H', 'W'), help='default: that of the config')
    parser.add_argument(
        '--metafile', nargs='+', metavar='FILE', help='write Parameters and FLOPs of all its models into the metafile')
    add_cfg_options(parser, example='model.decode_head.num_queries=50')
    args = parser.parse_args()
    if (args.config is None) == (args.metafile is None):
        parser.error('give a config or --metafile FILE')
    return args


def report(complexity: Complexity, title: str) -> Table:
    from rich.table import Table

    table = Table(title=title)
    for heading in ('part', 'params (M)', 'GFLOPs', 'GFLOPs (%)'):
        table.add_column(heading, justify='left' if heading == 'part' else 'right', no_wrap=True)

    def add_row(name: str, parameters: int, flops: int, **style: bool) -> None:
        share = 100 * flops / complexity.flops['']
        table.add_row(name, f'{parameters / 1e6:.2f}', f'{flops / 1e9:.1f}', f'{share:.1f}', **style)

    for part in complexity.parts:
        add_row(part, complexity.parameters[part], complexity.flops.get(part, 0))
    table.add_section()
    add_row('all', complexity.parameters[''], complexity.flops[''], end_section=True)
    present = [branch for branch in BRANCHES if branch in complexity.parts]
    for branch in present:
        add_row(f'without {BRANCHES[branch]}', *complexity.without(branch))
    if len(present) > 1:
        add_row('without either', *complexity.without(*present))
    return table


def fill_metafile(path: Path) -> None:
    """Write the numbers into a metafile and leave the rest of its text unchanged."""
    from mmavs.analysis.complexity import model_complexity
    from mmavs.utils.config import load_config

    check_writable(path)
    for entry in read_yaml(path)['Models']:
        complexity = model_complexity(load_config(str(zoo_root() / entry['Config'])))
        parameters, flops = complexity.parameters[''], complexity.flops['']
        text = with_numbers(path.read_text(encoding='utf-8'), entry['Name'], parameters, flops)
        with atomic_write(path) as partial:
            partial.write_text(text, encoding='utf-8')
        print(f"{entry['Name']}: {parameters} parameters, {flops} FLOPs", flush=True)


def with_numbers(text: str, name: str, parameters: int, flops: int) -> str:
    """Return the text of a metafile with the numbers in the ``Metadata`` of a model."""
    start = re.search(rf'^  - Name: {re.escape(name)}$', text, re.MULTILINE)
    if start is None:
        sys.exit(f'error: {name}: found no line "  - Name: {name}" in the metafile; format the entry like the others')
    end = re.compile(r'^  - Name: ', re.MULTILINE).search(text, start.end())
    end = end.start() if end else len(text)
    entry = re.sub(r'^      (Parameters|FLOPs): .*\n', '', text[start.start():end], flags=re.MULTILINE)
    if '\n    Metadata:\n' not in entry:
        sys.exit(f'error: {name}: its entry in the metafile has no line "    Metadata:"')
    numbers = f'      Parameters: {parameters}\n      FLOPs: {flops}\n'
    return text[:start.start()] + entry.replace('\n    Metadata:\n', f'\n    Metadata:\n{numbers}', 1) + text[end:]


@cli_errors()
def main() -> None:
    args = parse_args()
    from rich.console import Console

    import mmavs.models  # noqa: F401
    from mmavs.analysis.complexity import model_complexity
    from mmavs.utils.config import load_config

    quiet_libraries()
    if args.metafile:
        for metafile in args.metafile:
            fill_metafile(Path(metafile))
        return
    complexity = model_complexity(load_config(args.config, args.cfg_options), args.frames, args.size)
    size = 'x'.join(map(str, complexity.size))
    console = Console()
    console.print(report(complexity, f'{args.config}: one clip of {args.frames} frames of {size}'))
    console.print(f'{complexity.parameters[""]:,} parameters. FLOPs of a prediction: matrix products, convolutions and '
                  'attention, 2 for each multiply-add.', highlight=False, soft_wrap=True)


if __name__ == '__main__':
    main()
