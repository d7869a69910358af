"""Losses that no parity case covers, computed a second time from their published formulas, in NumPy and float64.

VCT: total of the head and its weights, the PAC loss with its projections, Gumbel grouping in training. TPAVI: its three
losses. The models are small versions of the published configs.
"""
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import make_clip, preprocess, small_config

from mmavs.models.decode_heads.vct import PixelGrouping
from mmavs.models.losses.matching import Segments
from mmavs.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def array(x):
    return x.detach().double().numpy()


def features_of(model, clips):
    """What the head gets, with the targets of all frames."""
    batch = preprocess(model, clips, training=True)
    inputs, samples = batch['inputs'], batch['data_samples']
    labelled = torch.stack([sample.labelled for sample in samples])
    targets = model._frame_targets(inputs, samples, labelled, None)
    return model.extract_features(inputs, None), targets


@pytest.mark.parametrize('config, pac_weight', [('vct_swin-b_s4', 1), ('vct_swin-b_avss', 1), ('vct_swin-b_ms3', None)])
def test_total_of_vct_has_the_published_weights_and_its_contrast(config, pac_weight, monkeypatch):
    model = MODELS.build(small_config(CONFIGS / f'vct/{config}.py'))
    head = model.decode_head
    clips = [make_clip(model, 2, labelled=[True, False]), make_clip(model, 2)]
    with torch.no_grad():
        features, targets = features_of(model, clips)
        points = torch.rand(10**5, 2)
        monkeypatch.setattr(torch, 'rand', lambda *shape, **_: points[:shape[-2]].expand(shape))
        monkeypatch.setattr(torch, 'rand_like', lambda x: torch.full_like(x, 0.5))
        losses = head.loss(*features, targets)
        outputs = head(*features)

    frames = targets.labelled_frames
    assert frames.tolist() == [0, 2, 3]
    predictions = [*outputs['aux'], (outputs['class_logits'], outputs['mask_logits'])]
    segments = Segments.from_label_maps(targets.masks[frames], head.num_classes)
    terms = head.criterion.compare(predictions, segments, frames)
    published = dict(loss_cls=2, loss_mask=5, loss_dice=5)
    expected = {}
    for layer in range(len(predictions)):
        prefix = '' if layer == len(predictions) - 1 else f'd{layer}.'
        expected |= {f'{prefix}{name}': weight * terms[name][layer].item() for name, weight in published.items()}

    if pac_weight is not None:
        audio = array(outputs['audio_tokens']).mean(1)[frames] @ array(head.pac_loss.audio_proj.weight).T
        prototypes = array(head.query_generator.prototypes.weight) @ array(head.pac_loss.proto_proj.weight).T
        audio /= np.linalg.norm(audio, axis=1, keepdims=True)
        prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
        # exp(logit_scale) begins at 1 / 0.07.
        p, y = sigmoid(audio @ prototypes.T / 0.07), array(targets.events)[frames]
        expected['loss_pac'] = pac_weight * -(y * np.log(p) + (1 - y) * np.log1p(-p)).mean()
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-4)


def test_gumbel_grouping_in_training_is_hard_forward_and_soft_backward(monkeypatch):
    grouping = PixelGrouping(8, 'hard').double().train()
    queries, pixels = torch.randn(2, 3, 8).double().requires_grad_(), torch.randn(2, 8, 10).double()
    u = torch.rand(2, 3, 10).double()
    monkeypatch.setattr(torch, 'rand_like', lambda x: u)
    found = grouping(queries, pixels)
    gradient = torch.randn_like(found)
    found.backward(gradient)

    # S = softmax over queries of L - ln(-ln u); A = one-hot of its best; pixels are averaged with A / (sum of A + 1).
    w = {name: array(p) for name, p in grouping.named_parameters()}
    x, p = array(queries), array(pixels).transpose(0, 2, 1)
    keys, values = (p @ w[f'{name}.weight'].T + w[f'{name}.bias'] for name in ('k_proj', 'v_proj'))
    logits = (x @ w['q_proj.weight'].T + w['q_proj.bias']) @ keys.transpose(0, 2, 1) / 8**0.5
    soft = softmax(logits - np.log(-np.log(array(u))), 1)
    hard = (soft == soft.max(1, keepdims=True)).astype(float)
    count = hard.sum(2, keepdims=True) + 1
    output = (hard / count) @ values @ w['out_proj.weight'].T + w['out_proj.bias']
    np.testing.assert_allclose(array(found), output, rtol=1e-9)

    # Straight-through: the gradient with respect to A goes to S. With m = A v / c, dm/dA = (v - m) / c.
    to_mean = array(gradient) @ w['out_proj.weight']
    mean = (hard / count) @ values
    to_assignment = (to_mean @ values.transpose(0, 2, 1) - (to_mean * mean).sum(2, keepdims=True)) / count
    to_logits = soft * (to_assignment - (soft * to_assignment).sum(1, keepdims=True))
    to_queries = to_logits @ keys / 8**0.5 @ w['q_proj.weight']
    np.testing.assert_allclose(array(queries.grad), to_queries, rtol=1e-7, atol=1e-12)


def foreground(logits, size):
    """Foreground of TPAVI's matching loss at the size of a map: pooled first, then the sigmoid; of classes, hard."""
    if logits.shape[1] == 1:
        return sigmoid(pooled(logits[:, 0], size))
    return pooled((logits.argmax(1) != 0).astype(float), size)


def pooled(x, size):
    return x.reshape(len(x), size, x.shape[1] // size, size, x.shape[2] // size).mean((2, 4))


@pytest.mark.parametrize('config', ['tpavi_r50_s4', 'tpavi_r50_ms3', 'tpavi_r50_avss'])
def test_losses_of_tpavi_follow_the_released_code(config):
    model = MODELS.build(small_config(CONFIGS / f'tpavi/{config}.py')).eval()
    head = model.decode_head
    subset = config.rpartition('_')[2]
    labelled = [True, False, False, False, False] if subset == 's4' else [True] * 5
    clips = [make_clip(model, 5, labelled=labelled), make_clip(model, 5, labelled=labelled)]
    with torch.no_grad():
        features, targets = features_of(model, clips)
        losses, outputs = head.loss(*features, targets), head(*features)
    frames = targets.labelled_frames.numpy()
    assert len(frames) == (2 if subset == 's4' else 10)
    logits, masks = array(outputs['logits'])[frames], targets.masks.numpy()[frames]

    if subset == 'avss':
        best = np.take_along_axis(softmax(logits, 1), masks[:, None].astype(int), 1)
        expected = dict(loss_mask=-np.log(best).mean())
    else:
        p = sigmoid(logits[:, 0])
        expected = dict(loss_mask=-(masks * np.log(p) + (1 - masks) * np.log1p(-p)).mean())
    if subset != 's4':
        stages = []
        for visual, audio in zip(outputs['visual_maps'], outputs['projected_audio'], strict=True):
            visual, audio = array(visual)[frames], array(audio)[frames]
            v = (visual * foreground(logits, visual.shape[-1])[:, None]).mean((2, 3))
            p, q = softmax(audio, 1), softmax(v, 1)
            divergences = (p * (np.log(p) - np.log(q))).sum(1)
            # Sum over the frames on MS3, mean on AVSS.
            stages.append(divergences.sum() if subset == 'ms3' else divergences.mean())
        assert len(stages) == 4
        expected['loss_avm'] = 0.5 * np.mean(stages)
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-4)
