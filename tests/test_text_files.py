"""CSV, JSON and YAML files that are damaged or of another kind, and full disks: one error that names the file."""
import errno
import importlib.util
import json
import os
from pathlib import Path

import pytest
import torch
from avsbench_tree import write_csv

from mmavs.analysis.method_comparison import read_scores as scores_of_recipe
from mmavs.analysis.method_comparison import train_and_score
from mmavs.analysis.result_collection import read_report, tabulate
from mmavs.analysis.robustness import read_results
from mmavs.apis.exported_model import METADATA_VERSION, parse_description
from mmavs.checkpoint.fetching import recorded_sha256
from mmavs.datasets import AVSSDataset
from mmavs.datasets.file_listing import read_csv
from mmavs.datasets.mask_prior_settings import read_settings
from mmavs.datasets.mask_priors import read_id_map, read_masks, stored_key
from mmavs.engine.test_report import FORMAT
from mmavs.evaluation import SaveMasks
from mmavs.synthesis.current_dataset import is_current
from mmavs.utils import zoo
from mmavs.utils.config import ConfigError, load_config
from mmavs.utils.errors import user_message
from mmavs.utils.files import atomic_write
from mmavs.utils.json_files import read_json
from mmavs.utils.yaml_files import parse_yaml

TOOLS = Path(__file__).parents[1] / 'tools/analysis_tools'
REPORT = b'{"format": "mmavs test report 1", "stamp": {}, "scores": %s, "details": %s}'
DAMAGED = [b'\xff\xfe' + '{"x": 1}'.encode('utf-16-le'), b'{"x": %s}' % (b'9' * 5000), b'{"format": 1, "format": 1}',
           b'{"recipe": "x", "scores": {"original": {"M_J": "x"}}}', b'{"details": {"x": {"confusion_matrix": [[1]]}}}',
           b'{"details": {"x": {"confusion_matrix": [[1]], "classes": ["a", "b"]}}}', REPORT % (b'{"x": "y"}', b'{}'),
           REPORT % (b'{}', b'{"x": []}'), REPORT % (b'{}', b'{"x": {"per_clip": [{"clip": "a"}]}}'),
           b'[{"name": "x", "config": "", "checkpoint": "", "clips": {}, "scores": {"original": {"M_J": "x"}}, '
           b'"other_scores": {}, "g_scores": {}, "mute_score": 1}]',
           b'{"format": "mmavs mask priors 1", "settings": 1}',
           b'{"format_version": 1, "pipeline": [1]}', b'{"step": [1]}\n\n',
           bytes(range(256)), b'', b'{"a": ', b'[' * 100000, b'1', b'null', b'[]', b'[[1]]', b'{"format": 1}', b'"x"',
           b'{"format": "mmavs test report 1", "scores": 1}', b'{"num_files": "x", "arguments": 1}']


def read_label_file(directory):
    write_csv(directory / 'metadata.csv', 'uid,split,label', [['x', 'train', 'v2']])
    AVSSDataset(str(directory), 'train', lazy_init=True).read_metadata()


def read_scores(directory):
    (directory / 'x.py').write_text('')
    train_and_score(str(directory / 'x.py'), 0, directory)


def read_by_tool(tool, read, path):
    """Call a function of a tool, whose errors end the program."""
    spec = importlib.util.spec_from_file_location(tool, TOOLS / f'{tool}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        getattr(module, read)(str(path))
    except SystemExit as error:
        raise OSError(None, str(error.code), str(path)) from error


def read_log(path):
    """The last line may be damaged: the training was killed while it wrote it."""
    path.write_bytes(path.read_bytes() + b'\n{"step": 1}')
    read_by_tool('analyze_logs', 'read_curves', path)


def read_description(path):
    parse_description(path.read_text('latin-1'), path)


CONFUSION = ('confusion_matrix', 'read_confusion')
# The file that a function reads in a directory.
READERS = {
    'x.json': lambda directory: read_json(directory / 'x.json', 'a report', ('clips', )),
    'metrics.json': lambda directory: read_report(directory / 'metrics.json'),
    'robustness.json': lambda directory: read_results(directory / 'robustness.json'),
    'synthesis.json': lambda directory: is_current(directory, {}),
    'label2idx.json': read_label_file,
    'scores.json': read_scores,
    'mask_priors.json': read_settings,
    'model.onnx': lambda directory: read_description(directory / 'model.onnx'),
    'confusion.json': lambda directory: read_by_tool(*CONFUSION, directory / 'confusion.json'),
    'scalars.json': lambda directory: read_log(directory / 'scalars.json'),
    'x.pth.sha256': lambda directory: recorded_sha256(directory / 'x.pth'),
}


def assert_user_error(read, *args, name):
    """Reading ends with an error that counts as the user's, and names the file."""
    with pytest.raises((ValueError, OSError)) as error:
        read(*args)
    assert name in str(user_message(error.value)), error.value


@pytest.mark.parametrize('name', READERS)
def test_damaged_and_other_json_files_are_an_error_that_names_them(tmp_path, name):
    for number, content in enumerate(DAMAGED):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / name).write_bytes(content)
        assert_user_error(READERS[name], directory, name=name)
    # To some readers a directory of the name is no such file, which may be missing.
    (tmp_path / name).mkdir()
    if name not in ('synthesis.json', 'label2idx.json', 'x.pth.sha256'):
        assert_user_error(READERS[name], tmp_path, name=name)


@pytest.mark.parametrize('change', [
    lambda report: report['scores'].update({'avsbench/M_J': 'x'}),
    lambda report: report['scores'].update({'avsbench/M_J': 10**400}),
    lambda report: report['details'].update(avsbench=[1]),
    lambda report: report['details']['avsbench'].update(per_clip=[1]),
    lambda report: report['details']['avsbench']['per_clip'][0].update(clip=['a']),
    lambda report: report['details']['avsbench']['per_clip'][0].pop('subset'),
    lambda report: report['details']['avsbench']['per_clip'][0].update(M_J={}),
    lambda report: report['details']['avsbench'].update(metric=[]),
    lambda report: report['stamp'].update(checkpoint_sha256=[])])
def test_a_report_with_values_of_other_types_is_an_error_that_names_it(tmp_path, change):
    clip = dict(subset='ms3', clip='a', frames=5, M_J=0.5)
    report = dict(format=FORMAT, stamp={}, scores={'avsbench/M_J': 0.5}, details=dict(
        avsbench=dict(metric='AVSBenchMetric', protocol='avsbench', options={}, per_clip=[clip])))

    def read():
        (tmp_path / 'metrics.json').write_text(json.dumps(report))
        reports = [read_report(tmp_path / 'metrics.json')]
        return tabulate(dict(x=reports, y=reports), ['avsbench/M_J'], 'x', samples=10)

    assert read().rows['y'][1][0].mean == 50
    change(report)
    assert_user_error(read, name='metrics.json')


@pytest.mark.parametrize('scores', [1, [], {'original': 1}])
def test_scores_that_are_not_those_of_a_comparison_are_an_error_that_names_the_file(tmp_path, scores):
    (tmp_path / 'scores.json').write_text(json.dumps(dict(recipe='r', scores=scores)))
    assert_user_error(scores_of_recipe, tmp_path / 'scores.json', 'r', name='scores.json')


@pytest.mark.parametrize('change', [
    dict(format_version=-1), dict(pipeline=1), dict(pipeline=[1]), dict(pipeline=[dict(type='LoadClipFrames')]),
    dict(pipeline=[dict(type='PackClipInputs', transforms=1)]), dict(frame_size=None), dict(dataset_meta=[]),
    dict(stereo='x')])
def test_a_damaged_description_of_an_exported_model_is_an_error_that_names_the_file(tmp_path, change):
    description = dict(format_version=METADATA_VERSION, frame_size=[8, 8], inputs=['frames'], dataset_meta={},
                       independent_frames=True, stereo=False, examples_per_frame=1,
                       pipeline=[dict(type='PackClipInputs')])
    path = tmp_path / 'model.onnx'
    assert parse_description(json.dumps(description), path)['frame_size'] == [8, 8]
    assert_user_error(parse_description, json.dumps(description | change), path, name='model.onnx')


def test_a_pipe_is_no_text_file(tmp_path):
    os.mkfifo(tmp_path / 'x.json')
    with pytest.raises(ValueError, match=r'x\.json: not a regular file, expected a report'):
        read_json(tmp_path / 'x.json', 'a report')


def test_a_pipe_is_no_array_and_no_mask_prior(tmp_path):
    os.mkfifo(tmp_path / 'x.npy')
    for read in (read_masks, read_id_map):
        with pytest.raises(ValueError, match=r'x\.npy: not a regular file, expected an array'):
            read(tmp_path / 'x.npy')
    assert stored_key(tmp_path / 'x.npy') is None


@pytest.mark.parametrize(('content', 'message'), [
    (b'uid,split\na,tr\0ain\n', r'line 2 holds a NUL byte'),
    (b'uid,split\na,"' + b'x' * 200000 + b'\n', r'line 2 cannot be read \(field larger than field limit'),
    (b'"' + b'x' * 200000, r'line 1 cannot be read'), (bytes(range(256)), r'not a CSV file in UTF-8'),
    ('uid,split\na,b\n'.encode('utf-16'), r'not a CSV file in UTF-8'),
    (b'uid,split,uid\na,train,b\n', r"several columns are called 'uid'"),
    (b'', r"no column 'uid', 'split', found none"), (b'uid,split\na\n', r"line 2 has no value in the column 'split'")])
def test_damaged_csv_files_are_an_error_that_names_them(tmp_path, content, message):
    (tmp_path / 'x.csv').write_bytes(content)
    with pytest.raises(ValueError, match=rf'x\.csv: {message}'):
        read_csv(tmp_path / 'x.csv', ('uid', 'split'))


def test_rows_that_end_early_have_empty_values(tmp_path):
    (tmp_path / 'x.csv').write_bytes(b'uid,split,visible\na,train\n')
    assert read_csv(tmp_path / 'x.csv', ('uid', 'split')) == [dict(uid='a', split='train', visible='')]


def test_yaml_whose_aliases_stand_for_more_than_fits_in_memory_is_refused(tmp_path):
    lines = ['a: &a [x, x, x, x, x, x, x, x, x, x]']
    lines += [f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in zip('abcde', 'bcdef')]
    assert len(parse_yaml('\n'.join(lines[:4]))['d']) == 10
    for text in ('\n'.join(lines), 'a: &a [*a]', 'a: &a {b: *a}'):
        with pytest.raises(ValueError, match='aliases stand for more than 1000000 values|holds itself'):
            parse_yaml(text)


@pytest.mark.parametrize('text', ['default_scope = [1]', 'default_hooks = [1]', 'custom_hooks = 1',
                                  'param_scheduler = 1', "model = dict(type='mmavs')",
                                  "model = dict(type='.registry')", "model = dict(type='')"])
def test_sections_of_a_config_of_another_type_are_an_error_that_names_it(tmp_path, text):
    (tmp_path / 'x.py').write_text(text)
    with pytest.raises(ConfigError, match=r'x\.py: \w+(\.type)? is .*(expected|no registry)'):
        load_config(str(tmp_path / 'x.py'))


@pytest.mark.parametrize('content', [
    b'Models: [{Name: [a], Config: c, Metadata: {Training Data: x}, In Collection: c}]', b'? [a, b]\n: 1',
    b'Models: [{Name: a, Config: c, Metadata: {Training Data: x}, In Collection: c, Results: [{Dataset: x, Metrics: y, '
    b'Protocol: z, Source: w}]}]', b'Models: [{Name: 2001-99-99}]',
    b'\x00', b'\xff\xfe', b'a: [', b'1', b'- 1', b'[' * 5000, b'Models: 1', b'Models: [1]', b'Models: [{Name: x}]',
    b'Models: [{Name: x, Metadata: 1}]',
    b'Models: [{Name: x, In Collection: y, Config: z, Metadata: {Training Data: a}, '
    b'Results: [{Dataset: a, Metrics: [1]}]}]',
    b'a: ' + b'9' * 5000, '\ufeffModels: []'.encode('utf-16'), b'Models: !!python/object/apply:os.getcwd []'])
def test_damaged_metafiles_are_an_error_that_names_them(tmp_path, monkeypatch, content):
    (tmp_path / 'model-index.yml').write_text('Import: [metafile.yml]')
    (tmp_path / 'metafile.yml').write_bytes(content)
    monkeypatch.setattr(zoo, 'zoo_root', lambda: tmp_path)
    assert_user_error(zoo.read_zoo.__wrapped__, name='metafile.yml')


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full')
def test_the_error_of_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def write_to_full_disk():
        with open('/dev/full', 'w') as file:
            file.write('x')

    def write_json():
        with atomic_write(tmp_path / 'metrics.json') as partial:
            partial.write_text('x')
            write_to_full_disk()

    assert_user_error(write_json, name='metrics.json')
    assert list(tmp_path.iterdir()) == []
    for path in ('masks.npz', 'masks'):
        metric = SaveMasks(str(tmp_path / path))
        for method in ('_write_array', '_write_images'):
            monkeypatch.setattr(metric, method, lambda *args: write_to_full_disk())
        sample = dict(clip_id='x', pred_frame_seg=torch.zeros(1, 4, 4, dtype=torch.uint8))
        assert_user_error(metric.process, None, [sample], name=path)


def test_an_error_that_names_its_file_keeps_the_name(tmp_path):
    with pytest.raises(OSError) as error, atomic_write(tmp_path / 'x'):
        raise OSError(errno.EACCES, 'denied', 'other')
    assert error.value.filename == 'other'
