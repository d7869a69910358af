"""What pyproject.toml cannot say: configs and tools in the wheel, and the README as PyPI shows it.

OpenMMLab's packages are not install requirements: see requirements/mminstall.txt for the reason.
"""
import os
import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# Files that a wheel contains in mmavs/.mim, the directory that OpenMMLab's package manager reads. A checkout has them
# at its root.
CARRIED = ('configs', 'demo', 'tools', 'model-index.yml')
# Address of the public repository, without a trailing slash; whoever publishes a release sets it.
REPOSITORY_VARIABLE = 'MMAVS_REPOSITORY_URL'
RELATIVE_LINK = re.compile(r'(?P<image>!?)\[(?P<text>[^][]*(?:\n[^][]*)?)\]\((?![a-z]+:|#)(?P<target>[^)\s]+)\)')


class BuildWithConfigs(build_py):
    """Put configs and tools into the package, unless it is installed in editable mode."""

    def run(self) -> None:
        super().run()
        if getattr(self, 'editable_mode', False):
            return
        target = Path(self.build_lib) / 'mmavs/.mim'
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build
        for name in CARRIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns('__pycache__', '.*'))
            else:
                shutil.copy(ROOT / name, target / name)


def long_description(repository: str | None) -> str:
    """README.md with absolute links: PyPI has no other files of the repository.

    Args:
        repository: Address of the repository; None leaves images out and of other relative links the text.
    """

    def absolute(match: re.Match) -> str:
        if not repository:
            return '' if match['image'] else match['text']
        view = 'raw' if match['image'] else 'blob'
        return f"{match['image']}[{match['text']}]({repository}/{view}/main/{match['target']})"

    readme = ROOT / 'README.md'
    return RELATIVE_LINK.sub(absolute, readme.read_text(encoding='utf-8')) if readme.exists() else ''


setup(
    long_description=long_description(os.environ.get(REPOSITORY_VARIABLE)),
    long_description_content_type='text/markdown',
    cmdclass=dict(build_py=BuildWithConfigs))
