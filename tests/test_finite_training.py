"""Training stops at the first loss or gradient that is not finite; NaN is neither saved nor scored."""
import math

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmavs.checkpoint.reading import read_checkpoint
from mmavs.engine import FiniteTrainingHook
from mmavs.evaluation import AVSSMetric
from mmavs.utils.errors import DivergedError

BAD_STEP = 5


class BadGradient(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * math.inf


class Toy(BaseModel):
    """Its loss, the gradient of its first layer, or a buffer is not finite from the fifth step on."""

    def __init__(self, fault):
        super().__init__()
        self.fault, self.steps = fault, 0
        self.backbone, self.head = nn.Linear(3, 4), nn.Linear(4, 1)
        self.register_buffer('statistics', torch.zeros(2))

    def forward(self, x, mode='tensor'):
        self.steps += 1
        bad = self.steps >= BAD_STEP
        features = self.backbone(x)
        if bad and self.fault == 'gradient':
            features = BadGradient.apply(features)
        if bad and self.fault == 'buffer':
            self.statistics[1] = math.inf
        loss = self.head(features).square().mean()
        return dict(loss_mask=loss, loss_dice=loss * (math.nan if bad and self.fault == 'loss' else 1))


@OPTIM_WRAPPERS.register_module()
class SkippingOptimWrapper(OptimWrapper):
    """Leaves steps out whose gradients are not finite, as the gradient scaler of AmpOptimWrapper does on a GPU."""
    loss_scaler = object()

    def step(self, **kwargs):
        gradients = [x.grad for group in self.optimizer.param_groups for x in group['params']]
        finite = all(x.isfinite().all() for x in gradients)
        if self.clip_grad_kwargs:
            self._clip_grad()
        if finite:
            self.optimizer.step(**kwargs)


def train(work_dir, fault, hook=None, **wrapper):
    """Train for 8 steps with a checkpoint every second one, of which the last is kept."""
    torch.manual_seed(0)
    data = DataLoader(list(torch.randn(16, 3)), batch_size=2, collate_fn=lambda samples: dict(x=torch.stack(samples)))
    runner = Runner(
        Toy(fault),
        str(work_dir),
        train_dataloader=data,
        train_cfg=dict(by_epoch=False, max_iters=8),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)) | wrapper,
        default_hooks=dict(logger=None, timer=None, checkpoint=dict(
            type='AtomicCheckpointHook', interval=2, by_epoch=False, max_keep_ckpts=1)),
        custom_hooks=[hook or FiniteTrainingHook()],
        experiment_name=f'{work_dir.name}_{id(data)}',
        default_scope='mmavs')
    runner.train()
    return runner


CLIP = dict(clip_grad=dict(max_norm=1.0))


@pytest.mark.parametrize('fault,wrapper,message', [
    ('loss', CLIP, r'iteration 5: loss is nan, loss_dice is nan; gradients .*: backbone.weight, backbone.bias, '
                   'head.weight and 1 more'),
    ('gradient', CLIP, r'iteration 5: gradients are NaN or infinite: backbone.weight, backbone.bias\.'),
    ('gradient', {}, r'iteration 5: gradient norm is (inf|nan); gradients .*: backbone.weight, backbone.bias\.'),
    ('gradient', dict(clip_grad=dict(type='norm', max_norm=1.0), accumulative_counts=2), 'iteration 6: gradients are'),
])
def test_first_bad_step_stops_the_training_and_the_last_good_checkpoint_is_kept(tmp_path, fault, wrapper, message):
    with pytest.raises(DivergedError, match=f'{message}.*the last checkpoint, .*iter_4.pth, is from before'):
        train(tmp_path, fault, **wrapper)
    # That of iteration 4 may already hold the weights that gave the bad loss.
    kept = {'iter_2.pth', 'iter_4.pth'} if 'iteration 5' in message else {'iter_4.pth'}
    assert {path.name for path in tmp_path.glob('*.pth')} == kept
    weights = read_checkpoint(tmp_path / 'iter_4.pth')['state_dict']
    assert all(x.isfinite().all() for x in weights.values())


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    with pytest.raises(ValueError, match='iteration 6, no checkpoint written: statistics holds 1 NaN or infinite'):
        train(tmp_path, 'buffer')
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_4.pth']


def test_clipping_is_that_of_pytorch():
    parameters = [[nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, 2))] for _ in range(2)]
    for own, theirs in zip(*parameters):
        own.grad = torch.randn_like(own)
        theirs.grad = own.grad.clone()
    norm = FiniteTrainingHook()._clip_grad_norm(parameters[0], max_norm=0.1, norm_type=2)
    assert norm == torch.nn.utils.clip_grad_norm_(parameters[1], max_norm=0.1, norm_type=2)
    assert all(torch.equal(own.grad, theirs.grad) for own, theirs in zip(*parameters))


@pytest.mark.parametrize('wrapper', [{}, CLIP, dict(accumulative_counts=2)])
def test_scaler_may_skip_steps(tmp_path, wrapper):
    runner = train(tmp_path, 'gradient', type='SkippingOptimWrapper', **wrapper)
    assert runner.iter == 8 and all(x.isfinite().all() for x in runner.model.state_dict().values())


def test_too_many_skipped_steps_stop_the_training(tmp_path):
    with pytest.raises(DivergedError, match='iteration 7: the gradient scaler has skipped 3 steps'):
        train(tmp_path, 'gradient', FiniteTrainingHook(max_skipped_steps=2), type='SkippingOptimWrapper')


def test_scaler_skips_bad_losses_on_request(tmp_path):
    with pytest.raises(DivergedError, match='iteration 5: loss is nan'):
        train(tmp_path, 'loss', type='SkippingOptimWrapper')
    assert train(tmp_path, 'loss', FiniteTrainingHook(skip_losses=True), type='SkippingOptimWrapper').iter == 8


@pytest.mark.parametrize('field', ['seg_logits', 'foreground_prob'])
def test_labels_of_nan_scores_are_not_scored(field):
    metric = AVSSMetric()
    metric.dataset_meta = dict(classes=('background', 'bell'))
    labels, scores = torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(1, 2, 4, 4)
    sample = dict(clip_id='a', subset='avss', pred_sem_seg=labels, gt_sem_seg=labels)
    metric.process(None, [sample | {field: scores}])
    scores[0, 1, 2, 3] = math.nan
    with pytest.raises(ValueError, match=f"clip 'a': {field} holds NaN"):
        metric.process(None, [sample | {field: scores}])
