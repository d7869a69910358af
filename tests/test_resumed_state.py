"""Checkpoints whose state of the training is malformed are refused when a training is resumed from them."""
import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmavs.checkpoint.mmengine_schemes import load_from_local
from mmavs.checkpoint.reading import read_checkpoint
from mmavs.engine.resumed_state import ResumedStateHook
from mmavs.utils.errors import cli_errors

ESCAPE = '\x1b[2J'


class Toy(BaseModel):

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, x, mode='tensor'):
        return dict(loss=self.head(x).square().mean())


def collate(samples):
    return dict(x=torch.stack(samples))


def build(work_dir, resume=False, **options):
    """A training of 4 iterations, with all that a checkpoint may hold the state of."""
    data = list(torch.linspace(-1, 1, 24).reshape(8, 3))
    config = dict(
        train_dataloader=DataLoader(data, batch_size=2, collate_fn=collate),
        train_cfg=dict(by_epoch=False, max_iters=4),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
        param_scheduler=[dict(type='PolyLR', by_epoch=False, begin=1, end=9),
                         dict(type='MultiStepLR', by_epoch=False, milestones=[2])],
        default_hooks=dict(logger=None, timer=None, checkpoint=dict(
            type='AtomicCheckpointHook', interval=2, by_epoch=False)),
        custom_hooks=[dict(type='EMAHook'), ResumedStateHook()],
        log_level='WARNING',
        default_scope='mmavs') | options
    return Runner(Toy(), str(work_dir), resume=resume, experiment_name=f'{work_dir.name}_{id(data)}', **config)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('trained')
    runner = build(work_dir)
    runner.train()
    runner._resume, runner._load_from = True, 'iter_2.pth'
    return runner, load_from_local(str(work_dir / 'iter_2.pth'))


def put(checkpoint, path, value):
    """Set a value within dicts and lists; ``...`` removes it."""
    *parents, last = path
    for key in parents:
        checkpoint = checkpoint[key]
    if value is ...:
        del checkpoint[last]
    else:
        checkpoint[last] = value


GROUP = ('optimizer', 'param_groups', 0)
STATE = ('optimizer', 'state', 0)
POLY = ('param_schedulers', 0)
HUB = ('message_hub', )
INFO = (*HUB, 'runtime_info')
MALFORMED = [
    (('meta', 'iter'), -1, 'meta.iter is -1, expected a whole number of at least 0'),
    (('meta', 'iter'), True, 'meta.iter is True'),
    (('meta', 'iter'), 10**6, r'meta.iter is 1000000, but the training ends after 4 \(train_cfg.max_iters\)'),
    (('meta', 'epoch'), 10**5000, 'meta.epoch is an integer of more than 30 digits'),
    (('meta', 'epoch'), '0', "meta.epoch is '0'"),
    (('meta', 'seed'), 2**32, 'meta.seed is 4294967296, expected None or a whole number from 0 to 4294967295'),
    (('meta', 'dataset_meta'), ['dog'], 'meta.dataset_meta is a list of length 1, expected a dict'),
    (HUB, 'text', "message_hub is 'text', expected a dict"),
    ((*HUB, 'log_scalars'), ..., 'message_hub.log_scalars is None, expected a dict'),
    ((*HUB, 'log_scalars', 'train/loss'), 3.0, 'message_hub.log_scalars.train/loss is 3.0, expected a HistoryBuffer'),
    ((*HUB, 'log_scalars', 'train/loss'), HistoryBuffer(), 'train/loss is an empty HistoryBuffer'),
    ((*HUB, 'log_scalars', f'train/{ESCAPE}'), HistoryBuffer([1.], [1]), r"log_scalars is 'train/\\x1b\[2J', expected"),
    ((*HUB, 'resumed_keys', 'train/loss'), 'yes', 'message_hub.resumed_keys.train/loss is'),
    ((*INFO, 'last_ckpt'), f'a\n{ESCAPE}', r"message_hub.runtime_info.last_ckpt is 'a\\n\\x1b\[2J', expected a path"),
    (('optimizer', ), [1], 'optimizer is a list of length 1, expected a dict'),
    (('optimizer', 'param_groups'), ..., 'optimizer.param_groups is None, expected a list of 1 groups'),
    (('optimizer', 'param_groups'), [{}, {}], 'optimizer.param_groups is a list of length 2'),
    (GROUP, 'lr', "optimizer.param_groups.0 is 'lr', expected a dict"),
    ((*GROUP, 'lr'), ..., 'optimizer.param_groups.0 has no lr'),
    ((*GROUP, 'lr'), float('nan'), 'optimizer.param_groups.0.lr is nan, expected a finite number'),
    ((*GROUP, 'lr'), -0.1, 'optimizer.param_groups.0.lr is -0.1, expected a number of at least 0'),
    ((*GROUP, 'lr'), '0.1', "optimizer.param_groups.0.lr is '0.1', expected a finite number"),
    ((*GROUP, 'betas'), (0.9, ), 'optimizer.param_groups.0.betas is a tuple of length 1, expected a list of length 2'),
    ((*GROUP, 'maximize'), True, 'optimizer.param_groups.0.maximize is True, expected False, as in the config'),
    ((*GROUP, 'params'), [0], 'optimizer.param_groups.0.params is a list of length 1, expected the numbers of 2'),
    ((*GROUP, 'params'), [0, 0], 'optimizer.param_groups is a list of length 1, expected each parameter once'),
    ((*GROUP, 'params'), [[], {}], 'optimizer.param_groups.0.params is'),
    (('optimizer', 'state'), None, 'optimizer.state is None, expected a dict'),
    (('optimizer', 'state'), {}, 'optimizer.state is {}, expected the state of parameters after 2 iterations'),
    (('optimizer', 'state', 7), {}, 'a key of optimizer.state is 7, expected a number of optimizer.param_groups'),
    ((*STATE, 'exp_avg'), ..., 'optimizer.state.0 is a dict of length 2, expected a dict with exp_avg, exp_avg_sq,'),
    ((*STATE, 'exp_avg'), torch.zeros(3), r'optimizer.state.0.exp_avg is .*, expected a tensor of shape \(2, 3\)'),
    ((*STATE, 'exp_avg'), torch.full((2, 3), torch.nan), 'optimizer.state.0.exp_avg is .* with NaN or infinite values'),
    ((*STATE, 'step'), 'two', "optimizer.state.0.step is 'two', expected a tensor or a finite number"),
    (('param_schedulers', ), [{}], 'param_schedulers is a list of length 1, expected a list of length 2'),
    (POLY, None, 'param_schedulers.0 is None, expected a dict'),
    ((*POLY, 'last_step'), 'x', "param_schedulers.0.last_step is 'x', expected a finite number"),
    ((*POLY, 'last_step'), float('inf'), 'param_schedulers.0.last_step is inf, expected a finite number'),
    ((*POLY, 'power'), 10**400, 'param_schedulers.0.power is an integer of more than 30 digits'),
    ((*POLY, 'power'), np.float64('nan'), 'param_schedulers.0.power is'),
    ((*POLY, '_last_value'), [], r'param_schedulers.0._last_value is \[\], expected a list of length 1'),
    ((*POLY, 'param_name'), 'params', "param_schedulers.0.param_name is 'params', expected 'lr', as in the config"),
    ((*POLY, 'base_values'), ..., 'param_schedulers.0 has no base_values'),
    ((*POLY, 'step'), 1, "a key of param_schedulers.0 is 'step', expected one of"),
    (('param_schedulers', 1, 'milestones'), {2: 'x'}, 'param_schedulers.1.milestones is .*, expected a dict of whole'),
    (('ema_state_dict', ), ..., r'iter_2.pth: cannot be resumed with EMAHook, it lacks .* \(ema_state_dict\)'),
    (('ema_state_dict', ), 3, 'ema_state_dict is 3, expected a dict of tensors'),
    (('ema_state_dict', 'steps'), 3, r"ema_state_dict\['steps'\] is 3, expected a tensor"),
    (('ema_state_dict', f'a{ESCAPE}'), torch.zeros(1), r"ema_state_dict\['a\\x1b\[2J'\] is"),
    (('ema_state_dict', 'module.head.bias'), ..., 'iter_2.pth, ema_state_dict: the checkpoint does not fit'),
    (('ema_state_dict', 'module.head.bias'), torch.zeros(9), r'other shapes: module.head.bias is \(9,\)'),
]


@pytest.mark.parametrize('path,value,message', MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_state_is_an_error_that_names_file_and_key(trained, path, value, message):
    runner, checkpoint = trained
    checkpoint = copy.deepcopy(checkpoint)
    put(checkpoint, path, value)
    with pytest.raises(ValueError, match=message) as error:
        ResumedStateHook().after_load_checkpoint(runner, checkpoint)
    assert str(error.value).startswith('iter_2.pth') and ESCAPE not in str(error.value)


def test_averages_that_the_training_does_not_continue_are_an_error(tmp_path, trained):
    runner = build(tmp_path, custom_hooks=[ResumedStateHook()], load_from=trained[0].work_dir + '/iter_2.pth',
                   resume=True)
    with pytest.raises(ValueError, match=r"iter_2.pth: holds averaged weights.* dict\(type='EMAHook'\)"):
        runner.train()


def test_a_state_that_fits_is_resumed_and_an_error_leaves_all_files(tmp_path, trained):
    expected = trained[0]
    work_dir = Path(shutil.copytree(expected.work_dir, tmp_path / 'run'))
    (work_dir / 'iter_4.pth').unlink()
    path = work_dir / 'iter_2.pth'
    (work_dir / 'last_checkpoint').write_text(str(path))
    whole = path.read_bytes()
    damaged = read_checkpoint(path)
    damaged['optimizer']['param_groups'][0]['lr'] = float('nan')
    torch.save(damaged, path)
    before = {x: x.read_bytes() for x in work_dir.glob('*') if x.is_file()}
    with pytest.raises(ValueError, match='optimizer.param_groups.0.lr is nan'):
        build(work_dir, resume=True).train()
    assert all(x.read_bytes() == content for x, content in before.items())
    assert not (work_dir / 'iter_4.pth').exists()
    path.write_bytes(whole)
    runner = build(work_dir, resume=True)
    runner.train()
    assert runner.optim_wrapper.get_lr() == expected.optim_wrapper.get_lr()
    assert torch.equal(runner.model.head.weight, expected.model.head.weight)


@pytest.mark.parametrize('content,message', [
    (dict(state_dict={f'head.{ESCAPE}weight': torch.zeros(2)}), r"the weight 'head.\\x1b\[2Jweight' has control"),
    (dict(state_dict={'head\nerror: other': torch.zeros(2)}), r"the weight 'head\\nerror: other' has control"),
    (dict(state_dict=dict(x=torch.zeros(2)), meta=dict(dataset_meta=dict(classes=['dog', f'{ESCAPE}cat']))),
     r"meta.dataset_meta.classes.1 is '\\x1b\[2Jcat', expected a text without control characters"),
    (dict(state_dict=dict(x=torch.zeros(2)), meta=dict(trained_for=dict(config='a\nb'))),
     r"meta.trained_for.config is 'a\\nb'"),
])
def test_names_with_control_characters_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / 'model.pth')
    with pytest.raises(ValueError, match=f'^{tmp_path}/model.pth: {message}'):
        load_from_local(str(tmp_path / 'model.pth'))


def test_the_command_line_prints_control_characters_of_a_message_escaped(tmp_path):
    with pytest.raises(SystemExit) as error, cli_errors():
        read_checkpoint(tmp_path / f'{ESCAPE}\r.pth')
    assert str(error.value).startswith(f'error: {tmp_path}/\\x1b[2J\\r.pth: no such checkpoint')
