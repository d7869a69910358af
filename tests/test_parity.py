"""Outputs of the published implementations, reproduced from seeded weights and inputs.

Each directory in ``MMAVS_PARITY_DIR`` is one case; its ``case.json`` names the method. Nothing is downloaded: the
weights are sampled by ``seeded.py`` beside the directory of cases. Where that variable is set, a case of an unknown
method and a directory without cases are failures; where it is not, ``../shared/parity/cases`` is used if it exists.
"""
import importlib
import importlib.util
import json
import os
from pathlib import Path

import pytest
from torch import nn

NAMED = os.environ.get('MMAVS_PARITY_DIR')
CASES = Path(NAMED or Path(__file__).parents[2] / 'shared/parity/cases')
CHECKS = {
    'avsegformer': 'avsegformer',
    'avsegformer-v1': 'avsegformer',
    'beats': 'beats',
    'combo': 'combo',
    'ease': 'ease',
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


@pytest.fixture(autouse=True)
def weights_are_not_drawn(monkeypatch):
    """The cases bring all weights that they use; drawing others first takes seconds."""
    for name in ('uniform_', 'normal_', 'trunc_normal_', 'xavier_uniform_', 'xavier_normal_', 'kaiming_uniform_',
                 'kaiming_normal_'):
        monkeypatch.setattr(nn.init, name, lambda tensor, *arguments, **options: tensor)


def test_named_directory_holds_cases():
    # Without cases the parametrized test below is skipped, which must not pass for parity where cases are asked for.
    assert DIRECTORIES or NAMED is None, f'MMAVS_PARITY_DIR={NAMED}: no directory in it holds a case.json'


@pytest.mark.skipif(not DIRECTORIES, reason=f'no parity cases in {CASES}: set MMAVS_PARITY_DIR to their directory')
@pytest.mark.parametrize('directory', DIRECTORIES, ids=lambda directory: directory.name)
def test_case_matches_the_published_implementation(directory, seeded):
    case = json.loads((directory / 'case.json').read_text())
    method = case.pop('method')
    if method not in CHECKS:
        message = f"{directory}: the method {method!r} is not one of {', '.join(CHECKS)}"
        (pytest.fail if NAMED else pytest.skip)(message)
    module = importlib.import_module(f'parity.{CHECKS[method]}')
    unknown = sorted(set(case) - module.KEYS)
    assert not unknown, f'{directory}/case.json: keys that the check of {method} does not read: {unknown}'
    module.check(directory, case | dict(method=method), seeded)
