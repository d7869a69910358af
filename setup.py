"""Package mmavs. OpenMMLab's packages are not install requirements: see requirements/mminstall.txt for the reason."""
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# Files that a wheel contains in mmavs/.mim, the directory that OpenMMLab's package manager reads. A checkout has them
# at its root.
CARRIED = ('configs', 'demo', 'tools', 'model-index.yml')


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


def read_version() -> str:
    """The version stated in mmavs/version.py, read without importing the package."""
    scope = {}
    exec((ROOT / 'mmavs/version.py').read_text(encoding='utf-8'), scope)
    return scope['__version__']


def read_requirements(name: str) -> list[str]:
    """The requirement lines of requirements/{name}.txt."""
    lines = (ROOT / f'requirements/{name}.txt').read_text(encoding='utf-8').splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


setup(
    name='mmavs',
    version=read_version(),
    description='OpenMMLab toolbox for audio-visual segmentation',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8') if (ROOT / 'README.md').exists() else '',
    long_description_content_type='text/markdown',
    keywords=['computer vision', 'audio-visual segmentation', 'sound source', 'OpenMMLab'],
    license='Apache-2.0',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    python_requires='>=3.10',
    cmdclass=dict(build_py=BuildWithConfigs),
    packages=find_packages(include=['mmavs', 'mmavs.*']),
    include_package_data=True,
    install_requires=read_requirements('runtime'),
    extras_require={name: read_requirements(name) for name in ('mminstall', 'tests', 'docs', 'optional')},
)
