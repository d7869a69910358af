"""The fuzzer of tools/fuzz in a small form: every kind of file, read or refused by one error that names it."""
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / 'tools/fuzz'


@pytest.fixture(scope='module')
def fuzzer():
    """The modules ``fuzz_readers`` and ``readers``; tools are no package."""
    before = list(sys.path)
    sys.path.insert(0, str(FUZZ))
    import fuzz_readers
    import readers
    yield fuzz_readers, readers
    sys.path[:] = before


@pytest.mark.parametrize('kind', ['log-mel', 'image', 'audio', 'video', 'array', 'mask archive', 'list', 'JSON', 'YAML',
                                  'rows of a benchmark', 'last_checkpoint'])
def test_hostile_files_are_read_or_refused_by_their_name(fuzzer, tmp_path, recwarn, kind):
    fuzz_readers, readers = fuzzer
    make, outcomes = readers.KINDS[kind].inputs(seed=2), []
    for _ in range(5 if kind == 'video' else 10):
        data = make()
        for name, functions in readers.KINDS[kind].readers.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            outcomes += [fuzz_readers.outcome_of(read, path) for read in functions]
            path.unlink()
    assert not [outcome for outcome in outcomes if outcome not in ('read', 'refused')]
    assert 'refused' in outcomes


def test_an_outcome_is_a_fault_unless_the_error_is_one_of_mmavs_with_the_name(fuzzer, tmp_path):
    from mmavs.utils.json_files import read_json
    outcome_of = fuzzer[0].outcome_of
    path = tmp_path / 'x.json'
    path.write_text('{')
    assert outcome_of(read_json, path) == 'refused'
    assert outcome_of(lambda path: read_json(tmp_path / 'y.json'), path).startswith('fault: no name in FileNotFound')
    assert outcome_of(lambda path: int('x.json'), path).startswith('fault: ValueError')
    assert outcome_of(lambda path: sys.exit('error: x.json: damaged'), path) == 'refused'
    assert outcome_of(lambda path: sys.exit(1), path) == 'fault: SystemExit: 1'
