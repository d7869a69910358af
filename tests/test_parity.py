"""Outputs of the published implementations, reproduced from seeded weights and inputs.

Each directory in ``MMAVS_PARITY_DIR`` is one case; its ``case.json`` names the method. Nothing is downloaded: the
weights are sampled by ``seeded.py`` beside the directory of cases.
"""
import importlib
import importlib.util
import json
import os
from pathlib import Path

import pytest

CASES = Path(os.environ.get('MMAVS_PARITY_DIR', Path(__file__).parents[2] / 'shared/parity/cases'))
CHECKS = {
    'avsegformer': 'avsegformer',
    'avsegformer-v1': 'avsegformer',
    'beats': 'beats',
    'tpavi': 'tpavi',
    'vct': 'vct',
    'vct-loss': 'vct_loss',
    'vggish-frontend': 'vggish',
    'metrics-avsbench': 'metrics',
    'avsbench-trees': 'trees',
}
DIRECTORIES = sorted(path.parent for path in CASES.glob('*/case.json'))


@pytest.fixture(scope='module')
def seeded():
    path = CASES.parent / 'seeded.py'
    spec = importlib.util.spec_from_file_location('seeded', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not DIRECTORIES, reason=f'no parity cases in {CASES}: set MMAVS_PARITY_DIR to their directory')
@pytest.mark.parametrize('directory', DIRECTORIES, ids=lambda directory: directory.name)
def test_case_matches_the_published_implementation(directory, seeded):
    case = json.loads((directory / 'case.json').read_text())
    if case['method'] not in CHECKS:
        pytest.skip(f"method {case['method']!r} is not part of mmavs yet")
    check = importlib.import_module(f"parity.{CHECKS[case['method']]}").check
    check(directory, case, seeded)
