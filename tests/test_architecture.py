"""The rules of docs/concepts/architecture.md that a machine can check: rooms, words, docstrings."""
import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A room imports only from itself and from rooms to its left; registry.py and version.py belong to no room.
ROOMS = ('utils', 'structures', 'audio', 'video', 'checkpoint', 'datasets', 'models', 'evaluation', 'visualization',
         'engine', 'synthesis', 'analysis', 'apis', 'batch_inference', 'serving', 'cli')
SOURCES = sorted(path for top in ('mmavs', 'tools', 'demo', 'configs', 'tests') for path in ROOT.glob(f'{top}/**/*.py'))
# Files without docstrings to check: their words count all the same.
OTHERS = sorted(
    path for pattern in ('setup.py', 'Makefile', 'pyproject.toml', '.ci/run', 'requirements/*.txt', 'tools/**/*.sh',
                         'tools/**/*.cpp', 'docs/**/*.py', '.github/**/*.yml', 'configs/*/metafile.yml')
    for path in ROOT.glob(pattern) if not {'generated', '_build'} & set(path.parts))
PAGES = sorted(path for pattern in ('*.md', 'docs/**/*.md', 'configs/*/*.md') for path in ROOT.glob(pattern)
               if not {'generated', '_build'} & set(path.parts))

# Word that is ruled out -> the word of the field.
RULED_OUT = {
    r'data[ -]sets?': 'dataset',
    r'pictures?': 'frame in a clip, image otherwise',
    r'folders?': 'directory',
    r'\w*colour\w*': 'color',
    r'neighbour\w*': 'neighbor',
    r'cent(?:re|red|res)': 'center',
    r'grey\w*': 'gray',
    r'(?:de|un)?normalis\w*': 'normalize',
    r'(?:re|un)?initialis\w*': 'initialize',
    r'summaris\w*': 'summarize',
    r'(?:over)?hears?|hearing|(?<!\.)heard': 'takes, attends to',
    r'listens?|listening|deaf': 'uses the audio',
    r'doubt\w*': 'uncertainty',
    r'wakes? up': 'describe the effect',
    r'own sounds?|(?:wrong|right) (?:sound|audio)s?': 'audio condition, original audio, negative audio',
    r'(?:the|its|their|no|without|muted|swapped) sounds?(?! (?:instance|source|pool))': 'audio, waveform',
    r'drawn (?:clip|sound|scene)s?': 'synthetic clip',
    r'likewise|as far as|but for|where there is': 'if, except, unless',
    r'is no(?= (?:text|file|config|longer a|clip|checkpoint))': 'is not a',
}
# Files that name a ruled-out word because it is part of a file format, or to rule it out.
COLUMN = 'heard'
READS_COLUMN = ('mmavs/datasets/clip_dataset.py', 'mmavs/synthesis/layouts.py', 'tests/test_audio_conditions.py')
NAMES_THE_WORDS = ('docs/concepts/architecture.md', 'tests/test_architecture.py')


@cache
def counted_lines() -> list[tuple[str, int, str]]:
    """File, number and text of the lines that count; in pages, code spans, code blocks and links do not."""
    lines = []
    for path in [*SOURCES, *OTHERS, *PAGES]:
        name, in_block = path.relative_to(ROOT).as_posix(), False
        if name in NAMES_THE_WORDS:
            continue
        for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
            if path.suffix == '.md':
                is_fence = line.lstrip().startswith(('```', '~~~'))
                in_block ^= is_fence
                line = '' if in_block or is_fence else re.sub(r'`[^`]*`|\]\([^)]*\)', '', line)
            elif name in READS_COLUMN:
                line = line.replace(COLUMN, '')
            lines.append((name, number, line))
    return lines


def imported_modules(path: Path) -> Iterator[str]:
    package = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) + 1 - node.level] if node.level else []
            yield '.'.join([*base, *filter(None, [node.module])])


@pytest.mark.parametrize('room', ROOMS)
def test_room_imports_only_from_rooms_below(room):
    assert (ROOT / 'mmavs' / room).is_dir()
    above = set(ROOMS[ROOMS.index(room) + 1:])
    imports = [(path.relative_to(ROOT).as_posix(), module) for path in sorted((ROOT / 'mmavs' / room).rglob('*.py'))
               for module in imported_modules(path)]
    assert [(path, module) for path, module in imports if module.startswith('mmavs.')
            and module.split('.')[1] in above] == []


def test_every_directory_of_the_package_is_a_room():
    found = {path.parent.name for path in (ROOT / 'mmavs').glob('*/__init__.py')}
    assert found == set(ROOMS)


@pytest.mark.parametrize('word', RULED_OUT)
def test_tree_uses_the_words_of_the_field(word):
    pattern = re.compile(rf'(?<![\w-])(?:{word})(?![\w-])', re.IGNORECASE)
    found = [f'{name}:{number}: {line.strip()}' for name, number, line in counted_lines() if pattern.search(line)]
    assert not found, '\n'.join([f'write: {RULED_OUT[word]}', *found])


@pytest.mark.parametrize('path', [p for p in SOURCES if p.parts[len(ROOT.parts)] in ('mmavs', 'tools', 'demo')],
                         ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_say_what_a_thing_is_or_does(path):
    tree = ast.parse(path.read_text(encoding='utf-8'))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    summaries = [ast.get_docstring(node).split('\n')[0] for node in ast.walk(tree)
                 if isinstance(node, documented) and ast.get_docstring(node)]
    assert [s for s in summaries if re.match(r'(What|Which|Where|Whose|How)\b', s)] == []
    assert 'mmavs' not in path.parts or path.name == 'version.py' or path.read_text() == '' or ast.get_docstring(tree)
