"""Which checkpoint a training is resumed from, and the lock of its directory."""
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmavs.engine.resume import choose_checkpoint
from mmavs.engine.schedule import check_length
from mmavs.engine.training import train
from mmavs.engine.work_dir_lock import LOCK, locked_work_dir
from mmavs.utils.config import load_config

EPOCHS = Path(__file__).parent / 'configs/vct_tiny_s4_epochs.py'

CHECKPOINT = dict(
    meta=dict(iter=4, epoch=0), state_dict=dict(weight=torch.ones(3)), optimizer=dict(state={}),
    message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}), param_schedulers=[dict(last_step=4)])


@pytest.fixture
def config(tmp_path):
    """A training whose checkpoints are those of iterations 2, 4 and 10."""
    for step in (2, 4, 10):
        torch.save(CHECKPOINT, tmp_path / f'iter_{step}.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_10.pth'))
    return Config(dict(work_dir=str(tmp_path), resume=True, load_from=None, param_scheduler=[dict(type='PolyLR')]))


def chosen(config):
    choose_checkpoint(config)
    return config.load_from


def damage(path):
    data = bytearray(path.read_bytes())
    path.write_bytes(data[:len(data) // 2])


def test_the_newest_checkpoint_is_chosen(config, tmp_path):
    assert chosen(config) == str(tmp_path / 'iter_10.pth')


def test_a_directory_that_was_moved_is_resumed(config, tmp_path):
    (tmp_path / 'last_checkpoint').write_text('/old/place/iter_4.pth\n')
    assert chosen(config) == str(tmp_path / 'iter_4.pth')


def test_of_damaged_checkpoints_the_newest_whole_one_before_them_is_chosen(config, tmp_path, caplog):
    damage(tmp_path / 'iter_10.pth')
    (tmp_path / 'iter_4.pth').write_bytes(b'')
    (tmp_path / 'epoch_3.pth').write_bytes((tmp_path / 'iter_2.pth').read_bytes())
    assert chosen(config) == str(tmp_path / 'iter_2.pth')
    damage(tmp_path / 'iter_2.pth')
    config.load_from = None
    with pytest.raises(ValueError, match=r'no checkpoint of .* can be read: .*iter_10.pth: not a readable checkpoint'):
        choose_checkpoint(config)


def test_a_missing_newest_checkpoint_is_replaced(config, tmp_path):
    (tmp_path / 'iter_10.pth').unlink()
    assert chosen(config) == str(tmp_path / 'iter_4.pth')


@pytest.mark.parametrize('content,message', [
    (b'', 'last_checkpoint is empty, expected the path of a checkpoint: name the checkpoint: --resume .*iter_10.pth'),
    (b'\x80\x02\xff\x00', 'last_checkpoint is damaged'),
    (b'iter\x00_4.pth', 'last_checkpoint is damaged'),
    (b'x' * 300, r'last_checkpoint is damaged \(File name too long\)'),
])
def test_a_pointer_that_is_no_path_is_an_error(config, tmp_path, content, message):
    (tmp_path / 'last_checkpoint').write_bytes(content)
    with pytest.raises(ValueError, match=message):
        choose_checkpoint(config)


def test_resuming_nothing_is_an_error(config, tmp_path):
    (tmp_path / 'last_checkpoint').unlink()
    with pytest.raises(FileNotFoundError, match=r'has no last_checkpoint: name .* --resume .*iter_\d+.pth'):
        choose_checkpoint(config)
    config.work_dir = str(tmp_path / 'other')
    with pytest.raises(FileNotFoundError, match='start the training without --resume'):
        choose_checkpoint(config)


@pytest.mark.parametrize('left_out,message', [
    (('optimizer', 'param_schedulers'), 'lacks the state of the optimizer, the state of the learning-rate schedule;'),
    (('meta', ), r'lacks the iteration \(meta\);'),
    (('message_hub', ), 'lacks the history of the training;'),
    (tuple(key for key in CHECKPOINT if key != 'state_dict'), r'lacks the iteration \(meta\), the state of'),
])
@pytest.mark.parametrize('named', [False, True])
def test_a_checkpoint_without_the_state_of_the_training_is_an_error(config, tmp_path, left_out, message, named):
    torch.save({key: x for key, x in CHECKPOINT.items() if key not in left_out}, tmp_path / 'iter_10.pth')
    config.load_from = str(tmp_path / 'iter_10.pth') if named else None
    with pytest.raises(ValueError, match=f'iter_10.pth: cannot be resumed, it {message}'):
        choose_checkpoint(config)


def test_a_training_without_schedule_needs_none(config, tmp_path):
    torch.save({key: x for key, x in CHECKPOINT.items() if key != 'param_schedulers'}, tmp_path / 'iter_10.pth')
    config.param_scheduler = None
    assert chosen(config) == str(tmp_path / 'iter_10.pth')


@pytest.mark.parametrize('loop', [dict(max_iters=0), dict(max_epochs=-1), dict(max_iters=2.5), dict(max_iters='8'),
                                  dict(max_iters=8, val_interval=0)])
def test_a_training_without_length_is_an_error(loop):
    with pytest.raises(ValueError, match='train_cfg.*expected a whole number of at least 1'):
        check_length(Config(dict(train_cfg=loop)))
    check_length(Config(dict(train_cfg=dict(max_iters=8))))


def test_an_epoch_without_a_batch_is_an_error(tmp_path, synthetic_root):
    config = load_config(str(EPOCHS))
    root = str(synthetic_root / 'Single-source')
    for split in ('train', 'val', 'test'):
        config[f'{split}_dataloader'].dataset.data_root = root
    config.train_dataloader.update(batch_size=100, drop_last=True, num_workers=0, persistent_workers=False)
    config.work_dir = str(tmp_path)
    with pytest.raises(ValueError, match='train_dataloader: 6 clips make no batch of 100: set a smaller batch_size'):
        train(config)
    assert not list(tmp_path.rglob('*.pth'))


HOLDER = """
import sys
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print('locked', flush=True)
sys.stdin.read()
"""


def test_a_second_training_in_a_directory_is_told_who_has_it(tmp_path):
    owner = tmp_path / f'{LOCK}.json'
    holder = subprocess.Popen([sys.executable, '-c', HOLDER, tmp_path / LOCK], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b'locked\n'
        owner.write_text(json.dumps(dict(pid=holder.pid, host=socket.gethostname())))
        with pytest.raises(ValueError, match=rf'process {holder.pid} on .* trains into {tmp_path}\. Wait until'):
            with locked_work_dir(tmp_path):
                pass
    finally:
        holder.kill()
        holder.communicate()
    # What a killed process leaves is no lock.
    assert (tmp_path / LOCK).exists() and owner.exists()
    with locked_work_dir(tmp_path):
        assert json.loads(owner.read_text())['pid'] == os.getpid()
    assert not owner.exists()
