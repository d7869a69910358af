"""CSV, JSON and YAML files that are damaged or of another kind, and full disks: one error that names the file."""
import errno
import importlib.util
import os
from pathlib import Path

import pytest
import torch
from avsbench_tree import write_csv

from mmavs.analysis.method_comparison import train_and_score
from mmavs.analysis.result_collection import read_report
from mmavs.analysis.robustness import read_results
from mmavs.apis.exported_model import _read_metadata
from mmavs.checkpoint.fetching import recorded_sha256
from mmavs.datasets import AVSSDataset
from mmavs.datasets.file_listing import read_csv
from mmavs.datasets.mask_prior_settings import read_settings
from mmavs.evaluation import SaveMasks
from mmavs.synthesis.current_dataset import is_current
from mmavs.utils import zoo
from mmavs.utils.errors import user_message
from mmavs.utils.files import atomic_write
from mmavs.utils.json_files import read_json

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
    'model.onnx': lambda directory: _read_metadata((directory / 'model.onnx').read_text('latin-1'), 'model.onnx'),
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


def test_a_pipe_is_no_text_file(tmp_path):
    os.mkfifo(tmp_path / 'x.json')
    with pytest.raises(ValueError, match=r'x\.json: not a regular file, expected a report'):
        read_json(tmp_path / 'x.json', 'a report')


@pytest.mark.parametrize(('content', 'message'), [
    (b'uid,split\na,tr\0ain\n', r'line 2 holds a NUL byte'),
    (b'uid,split\na,"' + b'x' * 200000 + b'\n', r'line 2 cannot be read \(field larger than field limit'),
    (b'"' + b'x' * 200000, r'line 1 cannot be read'), (bytes(range(256)), r'not a CSV file in UTF-8'),
    ('uid,split\na,b\n'.encode('utf-16'), r'not a CSV file in UTF-8'),
    (b'', r"no column 'uid', 'split', found none"), (b'uid,split\na\n', r"line 2 has no value in the column 'split'")])
def test_damaged_csv_files_are_an_error_that_names_them(tmp_path, content, message):
    (tmp_path / 'x.csv').write_bytes(content)
    with pytest.raises(ValueError, match=rf'x\.csv: {message}'):
        read_csv(tmp_path / 'x.csv', ('uid', 'split'))


@pytest.mark.parametrize('content', [
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
