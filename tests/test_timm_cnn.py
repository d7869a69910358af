"""Batch norms and weights of CNNs of timm that stay as pretrained."""
import pytest
import torch
from torch import nn

from mmavs.models.backbones import TimmCNN

pytest.importorskip('timm', reason='the optional library timm is not installed')


def build(**options):
    return TimmCNN(model_name='test_efficientnet', features_only=True, **options).train()


def running_means(model):
    return [m.running_mean.clone() for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize('options, changes', [({}, True), (dict(norm_eval=True), False), (dict(frozen=True), False)])
def test_statistics_change_in_training_unless_they_are_kept(options, changes):
    model = build(**options)
    before = running_means(model)
    model(torch.randn(2, 3, 64, 64) + 1)
    assert before and any(not torch.equal(*pair) for pair in zip(before, running_means(model))) == changes


def test_kept_statistics_make_training_equal_to_prediction():
    model, frames = build(norm_eval=True), torch.randn(2, 3, 64, 64)
    for trained, predicted in zip(model(frames), model.eval()(frames)):
        torch.testing.assert_close(trained, predicted)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_frozen_backbone_has_no_trained_weight_and_passes_gradients():
    model, frames = build(frozen=True), torch.randn(1, 3, 64, 64, requires_grad=True)
    model(frames)[-1].sum().backward()
    assert not any(parameter.requires_grad for parameter in model.parameters()) and frames.grad.any()
    assert not model.train().training
