"""The pages that GitHub shows: links lead to files and headings that exist, and every page is on the site."""
import re
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config

from mmavs.utils.zoo import read_zoo

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / 'docs'
PAGES = sorted(path for pattern in ('*.md', 'configs/*/README.md', 'docs/**/*.md') for path in REPOSITORY.glob(pattern)
               if 'generated' not in path.parts and '_build' not in path.parts)
CODE = re.compile(r'^ *(```+|~~~+).*?^ *\1|`[^`\n]+`', re.DOTALL | re.MULTILINE)
LINK = re.compile(r'\]\(([^)\s]+)\)')
INCLUDE = re.compile(r'^```\{include\} (\S+)$', re.MULTILINE)
# Configs that the pages name by their paths; braces and stars stand for several.
CONFIG = re.compile(r'\bconfigs/[\w./-]+\.py\b')


@cache
def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub and MyST name them."""
    text = page.read_text()
    names = {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-')
             for title in re.findall(r'^#+ +(.+?) *$', CODE.sub(lambda code: code[0].strip('`'), text), re.MULTILINE)}
    # Pages are made of included ones.
    for target in INCLUDE.findall(text):
        included = (page.parent / target).resolve()
        names |= anchors(included) if included.is_file() else set()
    return names


def identify(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def test_all_pages_are_found():
    assert {'README.md', 'configs/vct/README.md', 'docs/user_guides/data.md'} <= set(map(identify, PAGES))
    assert len(PAGES) > 40


@pytest.mark.parametrize('page', PAGES, ids=identify)
def test_links_lead_to_files_and_headings_of_the_repository(page):
    broken = []
    for link in LINK.findall(CODE.sub('', page.read_text())):
        path, _, anchor = link.partition('#')
        if ':' in path:
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or anchor and target.suffix == '.md' and anchor not in anchors(target):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize('page', PAGES, ids=identify)
def test_configs_that_a_page_names_exist(page):
    missing = [path for path in CONFIG.findall(page.read_text()) if not (REPOSITORY / path).is_file()]
    assert not missing


def test_checkpoints_that_the_pages_name_are_saved_by_their_schedules():
    named = {match for page in PAGES
             for match in re.findall(r'work_dirs/([\w-]+)/(?:best_\w+_)?iter_(\d+)\.pth', page.read_text())}
    named = {(name, int(step)) for name, step in named if name in read_zoo()}
    assert ('vct_swin-b_avss', 45000) in named
    for name, step in named:
        config = Config.fromfile(read_zoo()[name].config)
        last, interval = config.train_cfg.max_iters, config.default_hooks.checkpoint.interval
        assert step <= last and (step == last or step % interval == 0), f'{name} has no iter_{step}.pth'


def test_pages_that_the_code_names_exist():
    named = {name for room in ('mmavs', 'tools', 'configs', 'demo') for path in (REPOSITORY / room).rglob('*.py')
             for name in re.findall(r'docs/[\w/]+\.md', path.read_text())}
    assert named
    assert not {name for name in named if not (REPOSITORY / name).is_file()}


def test_the_readme_links_every_guide():
    linked = {(REPOSITORY / link.partition('#')[0]).resolve()
              for link in LINK.findall((REPOSITORY / 'README.md').read_text())}
    guides = {path for name in ('get_started', 'user_guides', 'extend', 'concepts')
              for path in (DOCS / name).glob('*.md')}
    assert guides - linked == {DOCS / 'extend/contributing.md'}  # CONTRIBUTING.md itself is linked


def test_every_method_has_a_page():
    pages = {path.stem for path in (DOCS / 'methods').glob('*.md')}
    assert pages == {'index'} | {path.parent.name for path in REPOSITORY.glob('configs/*/metafile.yml')}
