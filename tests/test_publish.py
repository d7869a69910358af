"""Published checkpoints: weights and plain metadata only, checked, and read wherever a checkpoint is."""
import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader

import mmavs.checkpoint.publication
from mmavs.apis import init_model, publish_checkpoint
from mmavs.apis.model import build_model
from mmavs.checkpoint.reading import read_checkpoint
from mmavs.cli import main
from mmavs.utils.config import load_config

TINY = Path(__file__).parent / 'configs/vct_tiny_s4.py'
FORMATS = pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
KEY = 'decode_head.decoder.class_embed.bias'


@pytest.fixture(scope='module')
def config():
    return load_config(str(TINY))


@pytest.fixture(scope='module')
def trained(config):
    """Content of a checkpoint as MMEngine writes it in a training with EMAHook."""
    weights = build_model(config).state_dict()
    meta = dict(
        cfg="data_root = '/home/me/data'", seed=3, iter=8, epoch=0, experiment_name='run', time='now', hook_msgs={},
        dataset_meta=dict(classes=('background', 'sounding thing'), palette=((0, 0, 0), (1, 2, 3)), clip_length=5),
        trained_for=dict(config='vct_tiny_s4', input_size=None, classes=['background', 'sounding object']))
    averaged = {f'module.{key}': x + 1 for key, x in weights.items() if x.is_floating_point()}
    return dict(
        meta=meta,
        state_dict=weights,
        optimizer=dict(state={0: weights[KEY]}),
        message_hub=dict(log_scalars={}),
        ema_state_dict=dict(averaged, steps=torch.tensor(8)))


@pytest.fixture
def source(trained, tmp_path):
    torch.save(trained, tmp_path / 'iter_8.pth')
    return tmp_path / 'iter_8.pth'


@FORMATS
def test_weights_and_plain_metadata_are_published_and_nothing_else(config, trained, source, tmp_path, suffix):
    published = publish_checkpoint(source, tmp_path / f'out/vct{suffix}')
    digest = hashlib.sha256(published.path.read_bytes()).hexdigest()
    assert published.path == tmp_path / f'out/vct-{digest[:8]}{suffix}' and published.sha256 == digest
    assert [*published.path.parent.iterdir()] == [published.path]
    content = read_checkpoint(published.path)
    assert content.keys() == {'state_dict', 'meta'}
    assert content['meta'].keys() == {
        'mmavs_version', 'seed', 'iter', 'epoch', 'experiment_name', 'dataset_meta', 'trained_for'}
    assert b'/home/me' not in published.path.read_bytes() and json.dumps(content['meta'])
    weights = trained['state_dict']
    assert content['state_dict'].keys() == weights.keys()
    assert all(torch.equal(content['state_dict'][key], x) for key, x in weights.items())

    model = init_model(config, published.path, 'cpu')
    assert list(model.dataset_meta['classes']) == ['background', 'sounding thing']
    assert [list(color) for color in model.dataset_meta['palette']] == [[0, 0, 0], [1, 2, 3]]
    assert torch.equal(model.state_dict()[KEY], weights[KEY])
    loaded = CheckpointLoader.load_checkpoint(str(published.path), map_location='cpu')  # load_from, --resume
    assert torch.equal(loaded['state_dict'][KEY], weights[KEY]) and loaded['meta']['seed'] == 3


@FORMATS
def test_the_same_weights_get_the_same_name(source, tmp_path, suffix):
    first, second = (publish_checkpoint(source, tmp_path / f'vct{suffix}') for _ in range(2))
    assert first.path == second.path and (first.existed, second.existed) == (False, True)


def test_the_average_is_published_unless_the_weights_of_the_optimizer_are_asked_for(trained, source, tmp_path, capsys):
    main(['publish', str(source), str(tmp_path / 'average')])
    out, err = capsys.readouterr()
    assert 'the average of the training (EMA)' in err
    assert torch.equal(read_checkpoint(out.strip())['state_dict'][KEY], trained['state_dict'][KEY])
    main(['publish', '--no-ema', str(source), str(tmp_path / 'raw')])
    out, err = capsys.readouterr()
    assert 'those of the optimizer' in err and re.search(r'/raw-[0-9a-f]{8}\.safetensors\n$', out)
    assert torch.equal(read_checkpoint(out.strip())['state_dict'][KEY], trained['state_dict'][KEY] + 1)


@pytest.mark.parametrize('kept, message', [
    (None, 'has no ema_state_dict'), ({'steps': torch.tensor(1)}, 'does not belong to its state_dict'),
    ({'module.x': torch.ones(1)}, r'does not belong to its state_dict \(x\)'),
    ({f'module.{KEY}': torch.full((3, ), torch.nan)}, f'{KEY} holds 3 NaN')])
def test_an_average_that_is_missing_or_of_another_model_is_refused(tmp_path, kept, message):
    content = dict(state_dict={KEY: torch.ones(3)}) | ({} if kept is None else dict(ema_state_dict=kept))
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=f'x.pth: .*{message}'):
        publish_checkpoint(tmp_path / 'x.pth', tmp_path / 'out', averaged=False)
    assert [*tmp_path.iterdir()] == [tmp_path / 'x.pth']


@pytest.mark.parametrize('value, message', [
    (torch.tensor([1, torch.inf]), 'b holds 1 NaN or infinite values of 2'),
    (torch.ones(2, dtype=torch.complex64), 'b holds 2 complex values'),
    (torch.ones(2, dtype=torch.float8_e5m2), 'b holds 2 values of torch.float8_e5m2')])
def test_weights_that_no_model_can_use_are_not_published(tmp_path, value, message):
    save = pytest.importorskip('safetensors.torch').save_file
    save({'a': torch.ones(1), 'b': value}, tmp_path / 'x.safetensors')
    with pytest.raises(ValueError, match=f'x.safetensors: {message}'):
        publish_checkpoint(tmp_path / 'x.safetensors', tmp_path / 'out')
    assert [*tmp_path.iterdir()] == [tmp_path / 'x.safetensors']


def test_shared_weights_and_views_are_written_without_their_storage(tmp_path):
    table = torch.randn(100, 4)
    torch.save(dict(state_dict={'a.weight': table, 'b.weight': table, 'c': table[:, 0], 'd': table.t()}),
               tmp_path / 'x.pth')
    for suffix in ('.safetensors', '.pth'):
        weights = read_checkpoint(publish_checkpoint(tmp_path / 'x.pth', tmp_path / f'y{suffix}').path)['state_dict']
        assert torch.equal(weights['b.weight'], table) and torch.equal(weights['c'], table[:, 0])
        assert torch.equal(weights['d'], table.t()) and weights['c'].untyped_storage().nbytes() == 400


def test_another_file_of_the_name_is_kept(source, tmp_path):
    path = publish_checkpoint(source, tmp_path / 'vct').path
    path.write_bytes(b'mine')
    with pytest.raises(ValueError, match=f'{path.name}: is there already and is another file'):
        publish_checkpoint(source, tmp_path / 'vct')
    assert path.read_bytes() == b'mine'


def test_a_file_that_does_not_hold_the_weights_is_not_kept(source, tmp_path, monkeypatch):
    write = mmavs.checkpoint.publication.write_weights

    def write_changed(path, weights, *args):
        write(path, weights | {KEY: weights[KEY] + 1}, *args)

    monkeypatch.setattr(mmavs.checkpoint.publication, 'write_weights', write_changed)
    with pytest.raises(ValueError, match=f'{KEY} differs after it was written'):
        publish_checkpoint(source, tmp_path / 'vct')
    assert [*tmp_path.iterdir()] == [source]


def test_metadata_that_is_not_plain_is_refused(tmp_path):
    torch.save(dict(state_dict={'a': torch.ones(1)}, meta=dict(dataset_meta=dict(classes={'x'}))), tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=r"x\.pth: its 'meta' holds more than texts, numbers and lists"):
        publish_checkpoint(tmp_path / 'x.pth', tmp_path / 'out')


@pytest.mark.parametrize('meta', ['[1]', '"text"', '{', '{"epoch": 1'])
def test_damaged_metadata_of_a_safetensors_file_is_named(tmp_path, meta):
    save = pytest.importorskip('safetensors.torch').save_file
    save({'a': torch.ones(1)}, tmp_path / 'x.safetensors', {'mmavs_meta': meta})
    with pytest.raises(ValueError, match=r"x\.safetensors: ('meta' is a|not a readable checkpoint)"):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'x.safetensors'))
