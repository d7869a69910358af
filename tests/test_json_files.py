"""Strict JSON."""
import json
import math

import numpy as np
import pytest
import torch
from mmengine.fileio import dump
from mmengine.visualization import LocalVisBackend

import mmavs.engine  # noqa: F401 - replaces the JSON writer of MMEngine
from mmavs.utils.files import atomic_write
from mmavs.utils.json_files import NUMBER, check_types, nan_for_null, read_json, to_json, write_json


def refuse(constant):
    raise ValueError(f'{constant} is not JSON')


def test_nan_and_infinities_are_null_at_every_depth(tmp_path):
    values = dict(a=math.nan, b=[1, (math.inf, torch.tensor(math.nan))], c=np.float32(0.5), d=np.array([1., math.nan]),
                  e='NaN', f=torch.tensor([1, 2]), g=True, h=None)
    write_json(tmp_path / 'new' / 'file.json', values)
    found = json.loads((tmp_path / 'new' / 'file.json').read_text(), parse_constant=refuse)
    assert found == dict(a=None, b=[1, [None, None]], c=0.5, d=[1, None], e='NaN', f=[1, 2], g=True, h=None)
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['file.json']


def test_scores_that_are_null_are_read_as_nan():
    scores = nan_for_null(json.loads(to_json(dict(original=dict(M_J=0.5, J_at_switch=math.nan)))))
    assert scores['original']['M_J'] == 0.5 and math.isnan(scores['original']['J_at_switch'])


def test_mmengine_writes_null_for_nan_in_its_logs(tmp_path):
    backend = LocalVisBackend(str(tmp_path))
    backend.add_scalars(dict(loss=math.nan, lr=0.5, count=torch.tensor(3)), step=7)
    backend.add_scalar('score', torch.tensor(math.inf), step=8)
    lines = (tmp_path / 'scalars.json').read_text().splitlines()
    assert [json.loads(line, parse_constant=refuse) for line in lines] == [
        dict(loss=None, lr=0.5, count=3, step=7), dict(score=None, step=8)]
    dump(dict(score=math.nan), tmp_path / 'test.json')
    assert json.loads((tmp_path / 'test.json').read_text(), parse_constant=refuse) == dict(score=None)


def test_a_file_that_could_not_be_written_leaves_nothing(tmp_path):
    (tmp_path / 'a.json').write_text('old')
    with pytest.raises(TypeError, match='not JSON'):
        write_json(tmp_path / 'a.json', object())
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / 'b.txt') as partial:
        partial.write_text('half')
        raise KeyboardInterrupt
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [('a.json', 'old')]


def test_a_key_that_occurs_twice_is_an_error(tmp_path):
    (tmp_path / 'x.json').write_text('{"a": [{"b": 1, "c": 2, "b": 3}]}')
    with pytest.raises(ValueError, match=r"x\.json: not a JSON file, expected a report \(the key 'b' occurs twice\)"):
        read_json(tmp_path / 'x.json', 'a report')


@pytest.mark.parametrize(('content', 'message'), [
    ([], r'the content is a list, expected dict'), (dict(a={}), r'x: b is missing'),
    (dict(a=[], b=1), r'x: a is a list'),
    (dict(a=dict(c='y'), b=1), r'x: a\.c is a str, expected null or a number'),
    (dict(a={}, b=[1]), r'x: b is a list, expected int'), (dict(a={}, b=1, d=['y', 2]), r'x: d\[1\] is a int')])
def test_the_place_of_another_type_is_named(content, message):
    types = {'a': {'*': NUMBER}, 'b': int, 'd?': [str]}
    check_types(dict(a=dict(c=None, d=0.5), b=1), types, 'x')
    with pytest.raises(ValueError, match=message):
        check_types(content, types, 'x')


def test_a_value_that_json_does_not_have_is_an_error():
    with pytest.raises(TypeError, match='not JSON serializable'):
        to_json(dict(a=object()))


def test_whole_numbers_that_fit_in_no_float_are_refused(tmp_path):
    (tmp_path / 'x.json').write_text(f'[{2**63 - 1}, {-2**63}]')
    assert read_json(tmp_path / 'x.json') == [2**63 - 1, -2**63]
    (tmp_path / 'x.json').write_text(f'[{10**400}]')
    with pytest.raises(ValueError, match=r'x\.json: .*a whole number of 401 digits'):
        read_json(tmp_path / 'x.json')
