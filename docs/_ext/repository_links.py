"""Links to files of the repository, written as on GitHub, lead to the pages of the site.

Pages, and the READMEs that they include, link to files by relative paths, which GitHub follows. On the site a README of
a method is a page, a config has a heading in the config reference, and a module has a page of the API. All other files
are offered for download. A link to a file that does not exist is a warning.
"""
import re
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
#: Files outside of docs/ that a page includes.
INCLUDED = {
    'README.md': 'index.md',
    'CHANGELOG.md': 'reference/changelog.md',
    'CONTRIBUTING.md': 'extend/contributing.md',
}
CODE = re.compile(r'(^ *(```+|~~~+).*?^ *\2|`[^`\n]+`)', re.DOTALL | re.MULTILINE)
LINK = re.compile(r'(\]\()([^)\s#]+)(#[^)\s]*)?(?=[)\s])')


def site_target(path: Path, anchor: str) -> str:
    """The address on the site, from its root, of a file of the repository."""
    if path.is_relative_to(DOCS):
        return f'/{path.relative_to(DOCS).as_posix()}{anchor}'
    file = path.relative_to(ROOT)
    if file.as_posix() in INCLUDED:
        return f'/{INCLUDED[file.as_posix()]}{anchor}'
    if file.parts[0] == 'configs':
        if path.is_dir() and not (path / 'README.md').is_file():
            return '/reference/configs.md'
        if path.is_dir() or path.name == 'README.md':
            return f'/methods/{file.parts[1]}.md{anchor}'
        if path.suffix == '.py':
            return f'/generated/configs/{config_page(file)}.md#{file.stem}'
    if file.parts[0] == 'mmavs' and (path.suffix == '.py' or path.is_dir()):
        module = '.'.join(file.with_suffix('').parts).removesuffix('.__init__')
        return f'/generated/api/{module}.rst'
    if path.is_dir():
        return '/concepts/architecture.md'
    return f'/../{file.as_posix()}'


def config_page(config: Path) -> str:
    """The page of the config reference that shows a config, by its path in the repository."""
    return '-'.join(part.strip('_') for part in config.parent.parts[1:]) or 'base'


def rewrite(text: str, directory: Path) -> str:
    """Replace relative links outside of code by addresses on the site."""

    def replace(match: re.Match) -> str:
        opening, target, anchor = match[1], match[2], match[3] or ''
        if re.match(r'[a-z]+:|/|<|\{', target):
            return match[0]
        path = (directory / target).resolve()
        if not path.exists():
            return match[0]  # MyST warns of it
        return f'{opening}{site_target(path, anchor)}'

    parts = CODE.split(text)
    # CODE has two groups: text, code, fence, text, code, fence, ...
    return ''.join(LINK.sub(replace, part) if i % 3 == 0 else part for i, part in enumerate(parts) if i % 3 < 2)


def on_source_read(app: Sphinx, docname: str, source: list[str]) -> None:
    path = Path(app.env.doc2path(docname))
    if path.suffix == '.md':
        source[0] = rewrite(source[0], path.parent)


def on_include_read(app: Sphinx, relative_path: Path, parent_docname: str, content: list[str]) -> None:
    path = (DOCS / relative_path).resolve()
    if path.suffix == '.md':
        content[0] = rewrite(content[0], path.parent)


def setup(app: Sphinx) -> dict:
    app.connect('source-read', on_source_read)
    app.connect('include-read', on_include_read)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
