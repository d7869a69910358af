"""Pages that are made of the tree at each build: the config reference, the model zoo, the lists of commands and tools.

They are written to ``docs/generated``; nothing in it is kept by hand.
"""
import ast
import importlib
import os
import pydoc
import re
import shutil
from collections import defaultdict
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

from docutils.nodes import Element
from method_tables import COSTS, PROTOCOLS, costs_table, published_table
from repository_links import DOCS, ROOT, config_page
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from mmavs.analysis.method_costs import compared_models, read_costs
from mmavs.cli.command import COMMANDS, make_parsers
from mmavs.utils.published import PublishedWeights
from mmavs.utils.zoo import ModelInfo, read_backbones, read_zoo

GENERATED = DOCS / 'generated'


def write(path: Path, text: str) -> None:
    """Write a page; leave it alone if it is the same, so that it is not read again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def bases_of(config: Path) -> list[Path]:
    """The files that a config inherits from."""
    for node in ast.parse(config.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', None) == '_base_':
            value = ast.literal_eval(node.value)
            return [(config.parent / base).resolve() for base in ([value] if isinstance(value, str) else value)]
    return []


def config_section(config: Path) -> str:
    """The heading of a config, what it inherits from, and its text."""
    name, zoo = config.stem, read_zoo()
    lines = [f'## {name}', '', f'`{config.relative_to(ROOT)}`', '']
    if name in zoo and zoo[name].parameters:
        lines += [f'{size_of(zoo[name])}. Trained on {zoo[name].training_data}.', '']
    if bases := bases_of(config):
        lines += ['Inherits from ' + ', '.join(f'[{base.stem}]({link_to(base)})' for base in bases) + '.', '']
    return '\n'.join([*lines, '```python', config.read_text().rstrip(), '```', ''])


def link_to(config: Path) -> str:
    """A link from a page in generated/configs to a config."""
    file = config.relative_to(ROOT)
    return f'{config_page(file)}.md#{file.stem.lower()}'


def size_of(info: ModelInfo) -> str:
    return f'{info.parameters / 1e6:.1f} M parameters, {info.flops / 1e9:.0f} GFLOPs for 5 frames'


def write_configs() -> None:
    """A page for each directory below configs/, a section for each config in it."""
    pages = defaultdict(list)
    for config in sorted((ROOT / 'configs').rglob('*.py')):
        pages[config_page(config.relative_to(ROOT))].append(config)
    for page, configs in pages.items():
        directory = configs[0].parent.relative_to(ROOT)
        title = f'# {directory.as_posix()}\n\n'
        write(GENERATED / f'configs/{page}.md', title + '\n'.join(map(config_section, configs)))
    for old in set((GENERATED / 'configs').glob('*.md')) - {GENERATED / f'configs/{page}.md' for page in pages}:
        old.unlink()


def number(value: float | None, scale: float = 1, digits: int = 1) -> str:
    return '' if value is None else f'{value / scale:.{digits}f}'


def zoo_row(info: ModelInfo) -> str:
    """A row of the table of models."""
    file = info.config.resolve().relative_to(ROOT)
    results = [', '.join(f'{key} {value}' for key, value in x.metrics.items()) for x in info.results]
    cells = [
        f'[{info.name}](/generated/configs/{config_page(file)}.md#{file.stem})', info.training_data,
        number(info.parameters, 1e6), number(info.flops, 1e9, 0),
        '<br>'.join(results) or f'none: {info.unpublished}',
        '<br>'.join(f'`{x.protocol}`' for x in info.results), '<br>'.join(x.source for x in info.results)
    ]
    return '| ' + ' | '.join(cells) + ' |'


def write_zoo() -> None:
    """Tables of all models, by method, and of the published weights."""
    models = defaultdict(list)
    for info in read_zoo().values():
        models[info.method].append(info)
    head = ['| model | dataset | params (M) | GFLOPs | published (%) | protocol | source |',
            '|---|---|--:|--:|---|---|---|']
    lines = []
    for method, infos in models.items():
        page = f'methods/{method.lower()}.md'
        link = f'; [the method](/{page}).' if (DOCS / page).is_file() else '.'
        lines += [f'### {method}', '', f'{len(infos)} models{link}', '']
        lines += [*head, *map(zoo_row, infos), '']
    write(GENERATED / 'zoo/models.md', '\n'.join(lines))

    sources = defaultdict(list)
    for info in read_zoo().values():
        for x in info.results:
            sources[info.method, x.source, x.protocol].append(info.name)
    lines = ['| method | source | protocol | models |', '|---|---|---|--:|']
    lines += [f'| {method} | {source} | `{protocol}` | {len(names)} |'
              for (method, source, protocol), names in sources.items()]
    write(GENERATED / 'zoo/sources.md', '\n'.join(lines) + '\n')

    weights = defaultdict(list)
    for info in read_zoo().values():
        for x in info.weights:
            weights[replace(x, place='')].append(info.name)
    lines = ['| place | license | `--from` | models |', '|---|---|---|---|']
    for x, names in weights.items():
        lines.append(weights_row(x, ', '.join(f'`{name}`' for name in names)))
    write(GENERATED / 'zoo/weights.md', '\n'.join(lines) + '\n')

    lines = ['| place | license | `--from` | name | file of the configs |', '|---|---|---|---|---|']
    for backbone in read_backbones().values():
        lines.append(weights_row(backbone.weights, f'`{backbone.name}` | `{backbone.path}`'))
    write(GENERATED / 'zoo/backbones.md', '\n'.join(lines) + '\n')


def write_comparison() -> None:
    """Tables of all methods: published scores by protocol, and measured costs."""
    models, costs = compared_models(read_zoo()), read_costs(COSTS)
    for protocol in PROTOCOLS:
        write(GENERATED / f'comparison/{protocol}.md', '\n'.join(published_table(models, costs, protocol)) + '\n')
    write(GENERATED / 'comparison/costs.md', '\n'.join(costs_table(models, costs)) + '\n')


def weights_row(weights: PublishedWeights, others: str) -> str:
    """A row of a table of published files, with further cells at its end."""
    place = f'<{weights.where}>' if weights.is_published else weights.where
    return f"| {place} | {weights.license or ''} | {f'`{weights.converter}`' if weights.converter else ''} | {others} |"


def tool_of(command: str) -> str | None:
    """The tool that runs a sub-command of ``mmavs``, None if there is none."""
    call = re.compile(rf'\brun_tool\({COMMANDS[command]}\)')
    tools = [path for path in sorted((ROOT / 'tools').rglob('*.py')) if call.search(path.read_text())]
    return tools[0].relative_to(ROOT).as_posix() if tools else None


def command_table() -> list[str]:
    """A row for each sub-command: its purpose and its tool."""
    lines = ['| command | purpose | tool |', '|---|---|---|']
    for name, parser in make_parsers()[1].items():
        tool = tool_of(name)
        lines.append(f"| [`mmavs {name}`](/reference/command.md#mmavs-{name}) | {parser.description} | "
                     f"{f'`{tool}`' if tool else ''} |")
    return [*lines, '']


@patch.dict(os.environ, COLUMNS='100')
def write_commands() -> None:
    """The sub-commands of ``mmavs`` in a table, and the help of each."""
    lines = []
    for name, parser in make_parsers()[1].items():
        lines += [f'## mmavs {name}', '', '```text', parser.format_help().rstrip(), '```', '']
    write(GENERATED / 'commands/help.md', '\n'.join(lines))
    write(GENERATED / 'commands/table.md', '\n'.join(command_table()))


def write_tools() -> None:
    """Every tool with the summary of its docstring, or its leading comment."""
    lines = []
    for directory in sorted({path.parent for path in (ROOT / 'tools').rglob('*.*') if path.suffix in ('.py', '.sh')}):
        lines += [f'## {directory.relative_to(ROOT)}', '', '| tool | purpose |', '|---|---|']
        for path in sorted(x for x in directory.iterdir() if x.suffix in ('.py', '.sh')):
            lines.append(f'| `{path.relative_to(ROOT)}` | {purpose_of(path)} |')
        lines.append('')
    write(GENERATED / 'tools.md', '\n'.join(lines))


def purpose_of(tool: Path) -> str:
    """The summary of a Python tool's docstring, or the comment at the top of a shell script."""
    text = tool.read_text()
    if tool.suffix == '.py':
        text = ast.get_docstring(ast.parse(text)) or ''
        return ' '.join(text.split('\n\n')[0].split()).replace('``', '`').replace('|', r'\|')
    lines = [line for line in text.splitlines() if not line.startswith('#!')]
    comment = [line.lstrip('# ') for line in takewhile(lambda line: line.startswith('# '), lines)]
    if comment and comment[0].startswith('Usage: '):
        comment[0] = f"`{comment[0].removeprefix('Usage: ')}`."
    return ' '.join(comment).replace('|', r'\|')


def public_names(module: str) -> list[tuple[str, str]]:
    """What a package exports with ``__all__``: full names where they are defined, and summaries."""
    package = importlib.import_module(module)
    names = []
    for name in getattr(package, '__all__', ()):
        item = getattr(package, name)
        home = getattr(item, '__module__', module)
        if home.startswith('mmavs.') and callable(item):
            summary = ' '.join((item.__doc__ or '').split('\n\n')[0].split())
            names.append((f'{home}.{item.__qualname__}', summary))
    return names


def remove_stale_modules() -> None:
    """Make the API pages anew if a module is gone: Sphinx would import what old pages list."""
    modules = ('.'.join(path.relative_to(ROOT).with_suffix('').parts) for path in (ROOT / 'mmavs').rglob('*.py'))
    modules = {module.removesuffix('.__init__') for module in modules if not module.startswith('mmavs..mim')}
    if {page.stem for page in (GENERATED / 'api').glob('*.rst')} - modules:
        shutil.rmtree(GENERATED / 'api')


def resolve_public_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Element) -> Element | None:
    """Resolve a reference by the name that users import, such as ``mmavs.datasets.VPODataset``."""
    target = node.get('reftarget', '')
    item = pydoc.locate(target) if node.get('refdomain') == 'py' and target.startswith('mmavs.') else None
    if isinstance(item, TypeVar):
        return content
    home = f"{getattr(item, '__module__', '')}.{getattr(item, '__qualname__', '')}"
    if item is None or home == target:
        return None
    return env.get_domain('py').resolve_xref(env, node['refdoc'], app.builder, node['reftype'], home, node, content)


def generate(app: Sphinx) -> None:
    write_configs()
    write_zoo()
    write_comparison()
    write_commands()
    write_tools()
    remove_stale_modules()


def setup(app: Sphinx) -> dict:
    app.connect('builder-inited', generate, priority=100)
    app.connect('missing-reference', resolve_public_name)
    app.config.autosummary_context = dict(public_names=public_names)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
