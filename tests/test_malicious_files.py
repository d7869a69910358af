"""Files that would run code when unpickled are refused wherever files are read, and nothing runs."""
import ast
import contextlib
import hashlib
import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import mmengine.runner.checkpoint
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

import mmavs.checkpoint.reading
from mmavs.apis import convert_checkpoint, init_model
from mmavs.checkpoint.reading import read_checkpoint
from mmavs.checkpoint.tensor_file import load_tensor
from mmavs.engine.launch import build_runner
from mmavs.utils import zoo
from mmavs.utils.config import load_config

REPOSITORY = Path(__file__).parents[1]
TINY = REPOSITORY / 'tests/configs/vct_tiny_s4.py'
KINDS = ('zip', 'legacy', 'pickle')


class Malicious:
    """Writes a file if it is unpickled without restriction."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f'touch {self.marker}', )


@pytest.fixture
def marker(tmp_path):
    """File that the attack of this module writes; no test may leave it behind."""
    marker = tmp_path / 'executed'
    pickle.loads(pickle.dumps(Malicious(marker)))
    assert marker.exists(), 'the attack of these tests is harmless, they show nothing'
    marker.unlink()
    yield marker
    assert not marker.exists()


def save(content, path, kind):
    if kind == 'pickle':
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == 'zip')
    return path


class Reaching:
    """Becomes an attribute of anything that the file can name if it is unpickled without restriction."""

    def __init__(self, owner, name):
        self.reach = getattr, (owner, name)

    def __reduce__(self):
        return self.reach


@pytest.mark.parametrize('owner, name', [(HistoryBuffer, '__init__'), (HistoryBuffer, '_statistics_methods'),
                                         (np.ndarray, 'tofile')])
def test_file_reaches_only_the_statistics_of_a_training(tmp_path, owner, name):
    good = save(dict(x=HistoryBuffer([1.0, 3.0], [1, 1])), tmp_path / 'good.pth', 'zip')
    assert read_checkpoint(good)['x'].mean() == 2
    path = save(dict(x=Reaching(owner, name)), tmp_path / 'bad.pth', 'zip')
    with pytest.raises(pickle.UnpicklingError, match=r'bad.pth: refused, .* asks for builtins\.getattr'):
        read_checkpoint(path)


def weights_from(path):
    """Initialize a backbone as a config with ``init_cfg`` does."""

    class Backbone(BaseModule):

        def __init__(self):
            super().__init__(dict(type='Pretrained', checkpoint=str(path)))
            self.fc = nn.Linear(1, 1)

    Backbone().init_weights()


READERS = {
    'read_checkpoint': read_checkpoint,
    'init_model': lambda path: init_model(TINY, path),
    'convert': lambda path: convert_checkpoint('vct', path, path.with_name('out.pth')),
    'converter of arrays': lambda path: convert_checkpoint('pvtv2', path, path.with_name('out.pth')),
    'init_cfg': weights_from,
    'load_checkpoint of MMEngine': lambda path: load_checkpoint(nn.Linear(1, 1), str(path)),
    'other schemes of MMEngine': lambda path: mmengine.runner.checkpoint._safe_torch_load(str(path)),
    'buffers of MMEngine': lambda path: mmengine.runner.checkpoint._safe_torch_load(path.open('rb')),
    'log-mel': load_tensor,
}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('read', READERS.values(), ids=READERS)
def test_a_malicious_file_is_refused_and_nothing_runs(tmp_path, marker, read, kind):
    path = save(dict(state_dict={'fc.weight': torch.zeros(1, 1)}, meta=Malicious(marker)), tmp_path / 'bad.pth', kind)
    with pytest.raises(pickle.UnpicklingError, match=r'refused, .* asks for posix\.system.*[Nn]othing\s+was executed'):
        read(path)


@pytest.fixture
def any_url(tmp_path, monkeypatch):
    """Every URL answers, and downloads go to a directory of their own."""
    answer = SimpleNamespace(length=None)
    monkeypatch.setattr('mmavs.checkpoint.fetching.urlopen', lambda request: contextlib.nullcontext(answer))
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))


@pytest.mark.parametrize('url', ['https://host/resnet.pth', 'torchvision://resnet18', 'open-mmlab://msra/hrnetv2_w18',
                                 'mmcls://vgg11'])
def test_a_malicious_download_is_refused_and_nothing_runs(any_url, marker, monkeypatch, url):
    monkeypatch.setattr(torch.hub, 'download_url_to_file',
                        lambda url, path, *args, **kwargs: save(Malicious(marker), Path(path), 'zip'))
    with pytest.raises(pickle.UnpicklingError, match='refused'):
        CheckpointLoader.load_checkpoint(url)


def test_a_download_is_compared_with_the_hash_in_its_name(any_url, monkeypatch):
    asked = []

    def fetch(url, path, hash_prefix, progress):
        asked.append(hash_prefix)
        raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "00")')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', fetch)
    with pytest.raises(ValueError, match='resnet50-0676ba61.pth: the file that was downloaded is not the published'):
        CheckpointLoader.load_checkpoint('https://host/models/resnet50-0676ba61.pth')
    assert asked == ['0676ba61']


@pytest.fixture(scope='module')
def trained(tmp_path_factory, synthetic_root):
    """The checkpoint of a training of two iterations, and its config."""
    config = load_config(str(TINY), {'train_cfg.max_iters': 2})
    for split in ('train', 'val', 'test'):
        config[f'{split}_dataloader'].dataset.data_root = str(synthetic_root / 'Single-source')
        config[f'{split}_dataloader'].update(num_workers=0, persistent_workers=False)
    config.default_hooks.checkpoint.interval = 2
    config.work_dir = str(tmp_path_factory.mktemp('trained'))
    runner = build_runner(Config(config.to_dict()))
    runner.val_loop.run = dict
    runner.train()
    return read_checkpoint(Path(config.work_dir) / 'iter_2.pth'), config


def resume(config, path, work_dir):
    config = Config(config.to_dict())
    config.update(work_dir=str(work_dir), load_from=str(path), resume=True)
    build_runner(config).train()


@pytest.mark.parametrize('kind', KINDS)
def test_a_malicious_optimizer_state_is_refused_on_resume_and_nothing_runs(tmp_path, marker, trained, kind):
    checkpoint, config = trained
    state = dict(checkpoint['optimizer'], state=Malicious(marker))
    # Plain pickles may hold tensors and built-in types only: leave out the history of the training.
    content = {key: x for key, x in checkpoint.items() if key != 'message_hub' or kind != 'pickle'}
    path = save(dict(content, optimizer=state), tmp_path / 'iter_2.pth', kind)
    with pytest.raises(pickle.UnpicklingError, match='iter_2.pth: refused'):
        resume(config, path, tmp_path / 'work')


def test_the_config_in_a_checkpoint_is_not_executed_on_resume(tmp_path, marker, trained):
    checkpoint, config = trained
    text = f'import os\nos.system("touch {marker}")\n'
    Config.fromstring(text, '.py')  # as MMEngine's Runner.resume does
    assert marker.exists(), 'the attack is harmless, this test shows nothing'
    marker.unlink()
    path = save(dict(checkpoint, meta=dict(checkpoint['meta'], config=text)), tmp_path / 'iter_2.pth', 'zip')
    resume(config, path, tmp_path / 'work')


def test_a_malicious_log_mel_is_refused_by_the_pipeline_and_nothing_runs(tmp_path, marker):
    from mmavs.datasets.transforms import LoadAudio
    path = save(Malicious(marker), tmp_path / 'clip.pkl', 'pickle')
    with pytest.raises(pickle.UnpicklingError, match='clip.pkl: refused'):
        LoadAudio(source='log_mel').transform(dict(log_mel_path=str(path), frame_paths=['a'] * 5, clip_id='clip'))


def test_a_stated_sha256_is_compared_before_anything_is_read(tmp_path, marker, monkeypatch):
    good = save(dict(state_dict={'x': torch.ones(2)}), tmp_path / 'good.pth', 'zip')
    digest = hashlib.sha256(good.read_bytes()).hexdigest()
    monkeypatch.setattr(mmavs.checkpoint.reading, 'stated_sha256', lambda path: {'0' * 64, digest})
    assert read_checkpoint(good)['state_dict']['x'].tolist() == [1, 1]
    bad = save(Malicious(marker), tmp_path / 'bad.pth', 'pickle')
    with pytest.raises(ValueError, match=f'bad.pth: SHA-256 is .* states 0+ or {digest}.*download it again'):
        read_checkpoint(bad)


def test_without_a_model_zoo_no_sha256_is_stated_and_checkpoints_are_read(tmp_path, marker, monkeypatch):
    good = save(dict(state_dict={'x': torch.ones(2)}), tmp_path / 'good.pth', 'zip')
    bad = save(Malicious(marker), tmp_path / 'bad.pth', 'pickle')
    monkeypatch.setattr(zoo, 'PACKAGE', tmp_path / 'site-packages/mmavs')
    zoo.read_zoo.cache_clear()
    try:
        with pytest.raises(FileNotFoundError, match='found no model-index.yml'):
            zoo.read_zoo()
        assert read_checkpoint(good)['state_dict']['x'].tolist() == [1, 1]
        with pytest.raises(pickle.UnpicklingError, match='refused'):
            read_checkpoint(bad)
    finally:
        zoo.read_zoo.cache_clear()


@pytest.mark.parametrize('overlay', [True, False])
def test_a_malicious_file_for_timm_is_refused_before_timm_reads_it(tmp_path, marker, overlay):
    path = save(dict(x=Malicious(marker)), tmp_path / 'bad.pth', 'zip')
    options = dict(pretrained=True, pretrained_cfg_overlay=dict(file=str(path))) if overlay else dict(
        checkpoint_path=str(path))
    config = load_config(str(TINY))
    config.model.backbone = dict(type='mmpretrain.TIMMBackbone', model_name='resnet10t', **options)
    config.work_dir = str(tmp_path)
    for build in (init_model, build_runner):
        with pytest.raises(pickle.UnpicklingError, match='bad.pth: refused'):
            build(config)


@pytest.mark.parametrize('read', READERS.values(), ids=READERS)
@pytest.mark.parametrize('content', [b'', b'PK\x03\x04', b'\x80\x02K', b'\x80\x04\x95'], ids=range(4))
def test_no_message_of_an_unreadable_file_gives_advice_to_read_it_without_restriction(tmp_path, read, content):
    path = tmp_path / 'bad.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='bad.pth|the buffer') as error:
        read(path)
    while error is not None:
        assert 'weights_only' not in str(getattr(error, 'value', error))
        error = getattr(error, 'value', error).__cause__


READING = {
    ('torch', 'load'), ('pickle', 'load'), ('pickle', 'loads'), ('pickle', 'Unpickler'), ('hub', 'load'),
    ('hub', 'load_state_dict_from_url'), ('model_zoo', 'load_url'), ('joblib', 'load'), ('shelve', 'open'),
    ('mmengine', 'load'), ('fileio', 'load'), ('jit', 'load'), ('dill', 'load'), ('dill', 'loads')
}


def test_no_other_unpickler_is_called():
    """Nothing calls an unpickler of Python, PyTorch or numpy, except for models in TorchScript, which are programs."""
    found = set()
    for directory in ('mmavs', 'tools', 'demo', 'configs'):
        for path in (REPOSITORY / directory).rglob('*.py'):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute):
                    owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, 'id', '')
                    if (owner, node.attr) in READING:
                        found.add(str(path.relative_to(REPOSITORY)))
                if isinstance(node, ast.keyword) and node.arg == 'allow_pickle' and node.value.value:
                    found.add(str(path.relative_to(REPOSITORY)))
                if isinstance(node, ast.keyword) and node.arg == 'weights_only' and node.value.value is False:
                    found.add(str(path.relative_to(REPOSITORY)))
                if isinstance(node, ast.ImportFrom) and node.module == 'pickle':
                    found.add(str(path.relative_to(REPOSITORY)))
    assert found == {'mmavs/apis/exported_model.py'}
    assert np.lib.format.read_array.__defaults__[0] is False  # allow_pickle of numpy.load
