"""Fixtures of the tests: threads, datasets, and the tools called in this process."""
import copy
import gc
import importlib.util
import os
import random
import sys
import warnings
from pathlib import Path

# Before torch is imported: the tests run in several processes at once.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import pytest
import torch
from mmengine.config import Config

REPOSITORY = Path(__file__).parents[1]


def pytest_configure() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings('ignore', message='.*pkg_resources.*')


def pytest_collection_finish() -> None:
    """Exclude what the imports left from garbage collection: MMEngine's datasets start one each, of half a second.

    That they are excluded is asked for with every dataset, and Python counts the objects each time, for 50 ms.
    """
    gc.collect()
    gc.freeze()
    number = gc.get_freeze_count()
    gc.get_freeze_count = lambda: number


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Every test draws the same numbers each time, also the seed that a Runner without one draws from NumPy."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope='session', autouse=True)
def unformatted_configs(tmp_path_factory: pytest.TempPathFactory):
    """MMEngine formats the text of a config about five times in a run, which takes longer than the steps of a test.

    The processes that tests start find another yapf, which does not format either.
    """
    directory = tmp_path_factory.mktemp('unformatted')
    (directory / 'yapf/yapflib').mkdir(parents=True)
    (directory / 'yapf/__init__.py').write_text("__version__ = '1.0'\n")
    (directory / 'yapf/yapflib/yapf_api.py').write_text('def FormatCode(code, **style):\n    return code, True\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda code, **style: (code, True))
        patch.setenv('PYTHONPATH', str(directory), prepend=os.pathsep)
        yield


@pytest.fixture(scope='session', autouse=True)
def configs_read_once():
    """MMEngine copies and parses a config and all its bases at each reading; those of the repository do not change."""
    read, found = Config._file2dict, {}

    def read_once(filename: str, *arguments: object, **options: object) -> tuple:
        if not Path(filename).resolve().is_relative_to(REPOSITORY / 'configs'):
            return read(filename, *arguments, **options)
        key = str(filename), arguments, *options.items()
        if key not in found:
            found[key] = read(filename, *arguments, **options)
        return copy.deepcopy(found[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, '_file2dict', staticmethod(read_once))
        yield


@pytest.fixture(scope='session', autouse=True)
def checked_clips_of_the_tests(tmp_path_factory: pytest.TempPathFactory):
    """The clips that tests check are not remembered in the cache of the user."""
    directory = tmp_path_factory.mktemp('cache')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmavs.datasets.checked_clips.cache_directory', lambda: directory)
        yield


@pytest.fixture(scope='session')
def synthetic_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few synthetic clips of 64x64 in the layouts of S4 (``Single-source``) and MS3 (``Multi-sources``)."""
    from mmavs.synthesis import synthesize_clips
    root = tmp_path_factory.mktemp('synthetic')
    for subset in ('s4', 'ms3'):
        synthesize_clips(str(root), subset, 6, 2, 3, seed=0, size=64)
    return root


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch):
    """The model of time_probe.py, which stands for the models of all names, without a checkpoint."""
    from time_probe import time_probe

    from mmavs import apis
    model, inferencer = time_probe(), apis.AVSInferencer
    monkeypatch.setattr(apis, 'AVSInferencer', lambda *_: inferencer(model))
    return model


@pytest.fixture(scope='session')
def run_tool():
    """Function that runs a script of ``tools/`` in this process, with its command line."""

    def run(name: str, *arguments: object) -> None:
        spec = importlib.util.spec_from_file_location(f'tools_{name}', REPOSITORY / f'tools/{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        argv, sys.argv = sys.argv, [f'tools/{name}.py', *map(str, arguments)]
        try:
            module.main()
        finally:
            sys.argv = argv

    return run
