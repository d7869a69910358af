"""Batch norms and weights of CNNs of timm that stay as pretrained."""
import logging

import pytest
import torch
from mmengine.logging import MMLogger
from torch import nn

from mmavs.apis.model import build_model
from mmavs.models.backbones import TimmCNN, as_staged

pytest.importorskip('timm', reason='the optional library timm is not installed')


def build(**options):
    return TimmCNN(model_name='test_efficientnet', features_only=True, **options).train()


def running_means(model):
    return [m.running_mean.clone() for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize('options, changes', [
    ({}, True), (dict(norm_eval=True), False), (dict(frozen_stages=5), False)])
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


@pytest.mark.parametrize('frozen', [1, 3, 5])
def test_frozen_stages_have_no_trained_weight_and_pass_gradients(frozen):
    model, frames = build(frozen_stages=frozen), torch.randn(1, 3, 64, 64, requires_grad=True)
    before = running_means(model)
    model(frames)[-1].sum().backward()
    assert frames.grad.any()
    stages = as_staged(model).stages
    for index, stage in enumerate(stages):
        weights = [weight for module in stage for weight in module.parameters()]
        assert weights and all(weight.requires_grad == (index >= frozen) for weight in weights)
        assert not any(module.training for module in stage) if index < frozen else all(m.training for m in stage)
    changed = [not torch.equal(*pair) for pair in zip(before, running_means(model))]
    assert changed == sorted(changed) and any(changed) == (frozen < len(stages))


def test_more_frozen_stages_than_the_backbone_has_are_an_error():
    with pytest.raises(ValueError, match='frozen_stages=6: expected 0 to 5'):
        build(frozen_stages=6)


def test_a_model_for_inference_does_not_report_the_layout_of_its_backbone(monkeypatch):
    logger, messages = MMLogger('layout'), []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger.addHandler(handler)
    monkeypatch.setattr(MMLogger, 'get_current_instance', lambda: logger)
    build()
    assert [message.split(':')[0] for message in messages] == [
        'backbone out_indices', 'backbone out_channels', 'backbone out_strides']
    messages.clear()
    build_model('configs/tpavi/tpavi_efficientnet-lite0-96_stamps-ms3.py')
    assert not [message for message in messages if message.startswith('backbone')]
