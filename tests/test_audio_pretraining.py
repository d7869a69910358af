"""Pretraining of the small audio backbone: training data, scaling, and weights for both kinds of output."""
import numpy as np
import pytest
import torch

from mmavs.models.audio_backbones import VGGish
from mmavs.synthesis.audio_pretraining import (
    average_precision,
    pretrain_audio_backbone,
    sample_seconds,
    scale_outputs,
)

SMALL = dict(channels=(4, 4, 8, 8, 8, 16), hidden_dims=16)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    file = tmp_path_factory.mktemp('pretrained') / 'audio.pth'
    scores = pretrain_audio_backbone(dict(type='VGGish', **SMALL), file, steps=12, batch_size=16)
    assert 0.5 < scores.accuracy <= 1 and 0 < scores.average_precision <= 1 and scores.held_out is None
    return file


def test_seconds_are_labelled_with_their_categories():
    waveforms, present = sample_seconds(np.random.default_rng(0), 64)
    assert waveforms.shape == (64, 16000) and waveforms.dtype == torch.float32 and waveforms.abs().max() <= 1
    assert present.shape == (64, 8) and set(present.sum(1).tolist()) == {0, 1, 2}
    level = waveforms.square().mean(1).sqrt()
    assert level[present.sum(1) == 0].max() < 10**(-50 / 20) < 10**(-27 / 20) < level[present.sum(1) > 0].min()


def test_each_pitch_of_a_category_is_a_class():
    alone = sample_seconds(np.random.default_rng(0), 64)[1]
    waveforms, present = sample_seconds(np.random.default_rng(0), 64, pitches=(1., 0.5))
    assert waveforms.shape == (64, 16000)
    assert present.shape == (64, 16)
    by_pitch = present.view(64, 8, 2)
    assert set(by_pitch.sum(2).flatten().tolist()) == {0, 1}
    assert 0.3 < by_pitch[..., 0].sum() / present.sum() < 0.7
    assert set(alone.sum(1).tolist()) == set(present.sum(1).tolist())


def test_same_seed_gives_the_same_seconds():
    for first, second in zip(sample_seconds(np.random.default_rng(3), 2), sample_seconds(np.random.default_rng(3), 2)):
        assert torch.equal(first, second)


def test_scaling_gives_both_outputs_a_root_mean_square_of_one_and_changes_nothing_else():
    torch.manual_seed(0)
    backbone = VGGish(output='embedding', frozen=False, **SMALL)
    waveforms, _ = sample_seconds(np.random.default_rng(0), 8)
    examples = backbone.log_mel_examples(waveforms).flatten(0, 1)
    with torch.no_grad():
        before = backbone.features(examples), backbone(waveforms, 1)
        scale_outputs(backbone, waveforms)
        after = backbone.features(examples), backbone(waveforms, 1)
    for old, new in zip(before, after):
        torch.testing.assert_close(new, old / old.square().mean().sqrt(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('output', ['embedding', 'conv'])
def test_the_file_initializes_both_kinds_of_output(weights, output):
    backbone = VGGish(output=output, init_cfg=dict(type='Pretrained', checkpoint=str(weights)), **SMALL)
    backbone.init_weights()
    expected = torch.load(weights, weights_only=True)['state_dict']
    found = backbone.state_dict()
    assert found and all(torch.equal(value, expected[key]) for key, value in found.items())


def test_the_same_seed_gives_the_same_weights(weights, tmp_path):
    pretrain_audio_backbone(dict(type='VGGish', **SMALL), tmp_path / 'again.pth', steps=12, batch_size=16)
    first, second = (torch.load(file, weights_only=True)['state_dict'] for file in (weights, tmp_path / 'again.pth'))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_average_precision_by_hand():
    scores = torch.tensor([[.9, .1, .5], [.8, .7, .5], [.3, .6, .5]])
    present = torch.tensor([[1., 0, 0], [0, 1, 0], [1, 0, 0]])
    # First class: hits at ranks 1 and 3; second: at rank 1; the third does not occur.
    assert average_precision(scores, present) == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
