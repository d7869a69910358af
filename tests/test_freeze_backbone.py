"""Training with a backbone that is frozen for the first epochs."""
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmavs.engine import FreezeBackboneHook
from mmavs.utils.model import unwrap_model

FROZEN, EPOCHS = 2, 4


class Toy(BaseModel):

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
        self.backbone[2].requires_grad_(False)
        self.head = nn.Linear(4, 1)

    def forward(self, x, mode='tensor'):
        return dict(loss=self.head(self.backbone(x)).square().mean())


class Snapshots(Hook):
    """Keeps the state of the model and the optimizer after each epoch."""

    def __init__(self):
        self.weights, self.trained, self.with_momentum = [], [], []

    def after_train_epoch(self, runner):
        model = unwrap_model(runner.model)
        self.weights.append({name: x.clone() for name, x in model.state_dict().items()})
        self.trained.append({name for name, p in model.named_parameters() if p.requires_grad})
        state = runner.optim_wrapper.optimizer.state
        self.with_momentum.append({name for name, p in model.named_parameters() if p in state})


def train(work_dir, wrap=None, **options):
    torch.manual_seed(0)
    model, snapshots = Toy(), Snapshots()
    data = DataLoader(list(torch.randn(4, 3)), batch_size=2, collate_fn=lambda samples: dict(x=torch.stack(samples)))
    rules = dict(lr_mult={'backbone': 0.5}, norm_decay_mult=0.0)
    config = dict(
        train_dataloader=data,
        train_cfg=dict(by_epoch=True, max_epochs=EPOCHS),
        optim_wrapper=dict(
            optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.1),
            constructor='ParamRulesOptimWrapperConstructor',
            paramwise_cfg=rules),
        default_hooks=dict(logger=None, timer=None, checkpoint=dict(type='AtomicCheckpointHook', interval=1)),
        experiment_name=f'{work_dir.name}_{id(model)}',
        default_scope='mmavs')
    runner = Runner(
        wrap(model) if wrap else model,
        str(work_dir),
        custom_hooks=[FreezeBackboneHook(FROZEN), snapshots],
        **(config | options))
    runner.train()
    return snapshots


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
    return train(tmp_path_factory.mktemp('unbroken'))


def changed(snapshots, first, last):
    """Names of the state that differs between the ends of epochs ``first`` and ``last``."""
    before, after = snapshots.weights[first], snapshots.weights[last]
    return {name for name in before if not torch.equal(before[name], after[name])}


HEAD = {'head.weight', 'head.bias'}
BACKBONE = {f'backbone.{i}.{name}' for i in (0, 1) for name in ('weight', 'bias')}
STATISTICS = {f'backbone.1.{name}' for name in ('running_mean', 'running_var', 'num_batches_tracked')}


def test_frozen_backbone_updates_its_statistics_only(unbroken):
    torch.manual_seed(0)
    initial = Toy().state_dict()
    assert all(torch.equal(unbroken.weights[FROZEN - 1][name], initial[name]) for name in BACKBONE)
    assert changed(unbroken, 0, FROZEN - 1) == HEAD | STATISTICS
    assert changed(unbroken, FROZEN - 1, FROZEN) >= HEAD | STATISTICS | {'backbone.1.weight', 'backbone.1.bias'}


def test_parameters_frozen_by_the_model_stay_frozen(unbroken):
    assert unbroken.trained == [HEAD] * FROZEN + [HEAD | BACKBONE] * (EPOCHS - FROZEN)
    assert not any(name.startswith('backbone.2') for name in changed(unbroken, 0, EPOCHS - 1))


def test_frozen_weights_have_no_momentum(unbroken):
    assert unbroken.with_momentum == [HEAD] * FROZEN + [HEAD | BACKBONE] * (EPOCHS - FROZEN)


@pytest.mark.parametrize('epoch', range(1, EPOCHS))
def test_resumed_training_continues_in_the_state_of_its_epoch(tmp_path, unbroken, epoch):
    train(tmp_path, train_cfg=dict(by_epoch=True, max_epochs=epoch))
    resumed = train(tmp_path, resume=True)
    assert resumed.trained == unbroken.trained[epoch:]
    for found, expected in zip(resumed.weights, unbroken.weights[epoch:], strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.fixture
def process_group(tmp_path_factory):
    store = tmp_path_factory.mktemp('group') / 'store'
    torch.distributed.init_process_group('gloo', f'file://{store}', rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_distributed_training_takes_the_same_steps(tmp_path, process_group, unbroken):
    found = train(tmp_path, lambda model: MMDistributedDataParallel(model, find_unused_parameters=True))
    assert found.trained == unbroken.trained and found.with_momentum == unbroken.with_momentum
    for weights, expected in zip(found.weights, unbroken.weights, strict=True):
        torch.testing.assert_close(weights, expected)


def test_distributed_training_that_would_wait_for_gradients_is_refused(tmp_path, process_group):
    with pytest.raises(ValueError, match='set find_unused_parameters=True at the top level of the config'):
        train(tmp_path, MMDistributedDataParallel)


def test_training_without_epochs_is_refused(tmp_path):
    with pytest.raises(ValueError, match='train_cfg.type is IterBasedTrainLoop, expected EpochBasedTrainLoop'):
        train(tmp_path, train_cfg=dict(by_epoch=False, max_iters=2))
