"""Trainings that end early, and those that are resumed."""
import pathlib

import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmavs.checkpoint.reading import read_checkpoint
from mmavs.engine.hooks.atomic_checkpoint import AtomicLocalBackend

# Steps -> score; the first and the third validation find the best so far.
SCORES = {2: 0.3, 4: 0.2, 6: 0.8, 8: 0.7}


class Toy(BaseModel):
    """Knows how many steps it was trained."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 1)
        self.register_buffer('steps', torch.zeros((), dtype=torch.long))

    def forward(self, x, mode='tensor'):
        if mode == 'predict':
            return [dict(steps=self.steps.item())]
        self.steps += 1
        return dict(loss=self.head(x).square().mean())


class Score(BaseMetric):
    default_prefix = None

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(score=SCORES[results[0]['steps']])


@pytest.fixture(autouse=True)
def without_sync(monkeypatch):
    """Simulated kills lose nothing that the system has taken."""
    monkeypatch.setattr('os.fsync', lambda descriptor: None)


class Killed(BaseException):
    pass


class Moments:
    """Counts the moments of a training at which a kill makes a difference, and kills it at one of them."""

    def __init__(self, kill_at=None):
        self.count, self.kill_at = 0, kill_at

    def __call__(self):
        self.count += 1
        if self.count == self.kill_at:
            raise Killed

    def before(self, function):

        def call(*args, **kwargs):
            self()
            return function(*args, **kwargs)

        return call


class ValidationMoments(Hook):

    def __init__(self, moments):
        self.moments = moments

    def after_val_epoch(self, runner, **kwargs):
        self.moments()


def collate(samples):
    return dict(x=torch.stack(samples))


def build(work_dir, by_epoch=False, resume=False, hooks=(), steps=8, **options):
    torch.manual_seed(0)
    data = list(torch.randn(4 if by_epoch else 16, 3))
    loop = dict(by_epoch=False, max_iters=steps, val_interval=2)
    if by_epoch:
        loop = dict(by_epoch=True, max_epochs=steps // 2)
    config = dict(
        train_dataloader=DataLoader(data, batch_size=2, collate_fn=collate),
        train_cfg=loop,
        val_dataloader=DataLoader(data, batch_size=2, collate_fn=collate),
        val_cfg={},
        val_evaluator=Evaluator([Score()]),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        param_scheduler=dict(type='PolyLR', by_epoch=by_epoch, end=9),
        default_hooks=dict(logger=None, timer=None, checkpoint=dict(
            type='AtomicCheckpointHook', interval=1 if by_epoch else 2, by_epoch=by_epoch, max_keep_ckpts=1,
            save_best='score', rule='greater')),
        log_level='WARNING',
        default_scope='mmavs')
    return Runner(Toy(), str(work_dir), custom_hooks=list(hooks), resume=resume,
                  experiment_name=f'{work_dir.name}_{id(loop)}', **(config | options))


def train(work_dir, by_epoch, moments):
    """Train, or resume if there is a checkpoint; return the runner, None if it was killed."""
    resume = (work_dir / 'last_checkpoint').exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AtomicLocalBackend, 'put', moments.before(AtomicLocalBackend.put))
        patch.setattr(pathlib.Path, 'unlink', moments.before(pathlib.Path.unlink))
        try:
            runner = build(work_dir, by_epoch, resume, [ValidationMoments(moments)], steps=6)
            runner.train()
            return runner
        except Killed:
            return None


def outcome(work_dir, runner):
    """Checkpoints, and state of the last: best score, steps, weights."""
    names = sorted(path.name for path in work_dir.glob('*.pth'))
    best, last = (read_checkpoint(work_dir / name) for name in names)
    weights = [x['state_dict'][key].tolist() for x in (best, last) for key in ('steps', 'head.weight')]
    return names, weights, runner.message_hub.get_info('best_score'), last['message_hub']['runtime_info']['best_score']


@pytest.mark.parametrize('by_epoch', [False, True])
def test_a_kill_at_any_moment_changes_neither_the_best_checkpoint_nor_its_score(tmp_path, monkeypatch, by_epoch):
    moments = Moments()
    expected = outcome(tmp_path / 'unbroken', train(tmp_path / 'unbroken', by_epoch, moments))
    assert expected[0] == (['best_score_epoch_3.pth', 'epoch_3.pth'] if by_epoch
                           else ['best_score_iter_6.pth', 'iter_6.pth'])
    for kill_at in range(1, moments.count + 1):
        work_dir = tmp_path / f'killed_{kill_at}'
        assert train(work_dir, by_epoch, Moments(kill_at)) is None
        runner = train(work_dir, by_epoch, Moments())
        assert outcome(work_dir, runner) == expected, kill_at


@pytest.mark.parametrize('by_epoch', [False, True])
def test_a_kill_before_the_best_score_is_saved_does_not_forget_it(tmp_path, by_epoch):
    # The checkpoint of step 6 is written, its validation runs.
    class KilledInValidation(Hook):

        def before_val_epoch(self, runner):
            if runner.iter == 6:
                raise Killed

    with pytest.raises(Killed):
        build(tmp_path, by_epoch, hooks=[KilledInValidation()]).train()
    stated = read_checkpoint((tmp_path / 'last_checkpoint').read_text())
    assert stated['state_dict']['steps'] == 6 and stated['message_hub']['runtime_info']['best_score'] == 0.3
    validated = []

    class Validations(Hook):

        def after_val_epoch(self, runner, metrics):
            validated.append((runner.iter, metrics['score']))

    build(tmp_path, by_epoch, True, [Validations()]).train()
    assert validated == [(6, 0.8), (8, 0.7)]


def test_a_checkpoint_whose_score_is_saved_is_not_validated_again(tmp_path):
    build(tmp_path, steps=6).train()
    validated = []

    class Validations(Hook):

        def after_val_epoch(self, runner, metrics):
            validated.append(runner.iter)

    build(tmp_path, resume=True, hooks=[Validations()]).train()
    assert validated == [8]
