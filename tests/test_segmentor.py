"""The data preprocessor and the segmentor: from a list of clips to losses and masks."""
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from small_models import FRAME, loss_of, make_clip, predict, preprocess, small_config
from torch import nn

from mmavs.models import AVSDataPreprocessor
from mmavs.registry import MODELS
from mmavs.structures import AVSDataSample

CONFIGS = Path(__file__).parents[1] / 'configs'
# With every part: both image branches, prototypes, many classes.
FULL = CONFIGS / 'vct/vct_swin-b_avss_mask-prior.py'


@pytest.fixture(autouse=True)
def _scope_and_seed():
    init_default_scope('mmavs')
    torch.manual_seed(0)


def build_model(path):
    return MODELS.build(small_config(path))


def test_clips_of_different_length_are_independent():
    model = build_model(FULL)
    short, long = make_clip(model, 2), make_clip(model, 4)
    together, alone = predict(model, short, long), [*predict(model, short), *predict(model, long)]
    for found, expected in zip(together, alone):
        assert found.pred_sem_seg.shape == expected.pred_sem_seg.shape
        torch.testing.assert_close(found.seg_logits, expected.seg_logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('audio', ['waveform', 'log_mel'])
def test_frames_without_ground_truth_need_not_be_computed(audio, monkeypatch):
    # Random points that do not depend on how many frames there are; no Gumbel noise.
    rand = torch.rand
    monkeypatch.setattr(torch, 'rand', lambda *shape, device: rand(1, *shape[1:]).expand(shape).clone())
    model = build_model(FULL).train()
    model.decode_head.query_generator.eval()
    clips = [make_clip(model, 3, [True, False, True], audio=audio), make_clip(model, 2, audio=audio)]
    losses = []
    for model.independent_frames in (True, False):
        torch.manual_seed(0)
        losses.append(model(**preprocess(model, clips, training=True), mode='loss'))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('independent_frames', [True, False])
def test_padding_frames_are_background(independent_frames):
    model = build_model(FULL)
    model.independent_frames = independent_frames
    nn.init.constant_(model.decode_head.decoder.class_embed.bias[5:6].data, 50)  # all the rest is class 5
    sample, = predict(model, make_clip(model, 4, valid=[True, True, False, False]))
    assert (sample.pred_sem_seg[:2] == 5).all()
    assert not sample.pred_sem_seg[2:].any() and not (sample.foreground_prob[2:] > 0.5).any()


@pytest.mark.parametrize('independent_frames', [True, False])
def test_a_batch_without_ground_truth_has_no_loss_and_reaches_every_parameter(independent_frames):
    model = build_model(FULL).train()
    model.independent_frames = independent_frames
    loss = loss_of(model, [make_clip(model, 2, labelled=[False, False])])
    loss.backward()
    assert loss == 0
    # A distributed training step waits for the gradient of every parameter.
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters() if p.requires_grad)


def test_raw_outputs_are_those_of_the_existing_frames():
    model = build_model(FULL).eval()
    batch = preprocess(model, [make_clip(model, 3, valid=[True, False, True]), make_clip(model, 2)])
    outputs = model(**batch, mode='tensor')
    assert set(outputs) == {'class_logits', 'mask_logits', 'queries', 'mask_features', 'audio_tokens'}
    assert all(len(value) == 4 for value in outputs.values())


def test_silence_is_legal_input():
    model = build_model(FULL)
    clip = make_clip(model, 2)
    clip[0]['waveform'].zero_()
    assert predict(model, clip)[0].seg_logits.isfinite().all()
    assert loss_of(model.train(), [clip]).isfinite()


def test_mask_prior_is_gated_into_each_level():
    branch = build_model(FULL).mask_prior.eval()
    prior = torch.randn(2, 3, FRAME, FRAME)
    features = [torch.randn(2, c, FRAME // s, FRAME // s) for c, s in zip((32, 64, 128, 256), (4, 8, 16, 32))]
    for level, (found, feature, extra) in enumerate(zip(branch(prior, features), features, branch.backbone(prior))):
        gate = branch.gates[level]
        weight = torch.sigmoid(gate.fc2(torch.relu(gate.fc1(extra.mean((2, 3))))))
        torch.testing.assert_close(found, feature + weight[:, :, None, None] * extra)


def test_missing_mask_prior_is_refused():
    model = build_model(FULL)
    clip = make_clip(model, 1)
    del clip[0]['mask_prior']
    with pytest.raises(ValueError, match='inputs hold no mask_prior'):
        predict(model, clip)


def test_preprocessor_normalizes_and_pads_clips():
    preprocessor = AVSDataPreprocessor(mean=(1, 2, 3), std=(2, 2, 2))
    clips = [dict(frames=torch.full((t, 3, 33, 64), 5, dtype=torch.uint8), waveform=torch.ones(length))
             for t, length in ((1, 10), (2, 4))]
    samples = [AVSDataSample(gt_sem_seg=torch.zeros(t, 33, 64, dtype=torch.uint8)) for t in (1, 2)]
    batch = preprocessor(dict(inputs=clips, data_samples=samples), training=True)
    inputs = batch['inputs']
    assert inputs['frames'].shape == (2, 2, 3, 64, 64)
    assert inputs['frames'][1, 1, :, 0, 0].tolist() == [2, 1.5, 1]
    assert not inputs['frames'][0, 1].any() and not inputs['frames'][:, :, :, 33:].any()
    assert inputs['valid'].tolist() == [[True, False], [True, True]]
    assert inputs['waveform'].sum(1).tolist() == [10, 4]
    assert all((s.gt_sem_seg[:, 33:] == 255).all() and not s.gt_sem_seg[:, :33].any() for s in batch['data_samples'])


def test_flags_stay_on_the_cpu():
    preprocessor = AVSDataPreprocessor().to('meta')
    flags = torch.tensor([True, False])
    sample = AVSDataSample(gt_sem_seg=torch.zeros(2, 32, 32, dtype=torch.uint8), valid=flags, labelled=flags)
    clip = dict(frames=torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    batch = preprocessor(dict(inputs=[clip], data_samples=[sample]))
    moved = batch['data_samples'][0]
    assert [moved.get(key).device.type for key in ('valid', 'labelled', 'gt_sem_seg')] == ['cpu', 'cpu', 'meta']
    assert batch['inputs']['valid'].device.type == 'cpu' and batch['inputs']['frames'].device.type == 'meta'


def test_batch_padding_is_cut_off_before_the_scores_are_resized():
    model = build_model(FULL)
    small, large = make_clip(model, 1), make_clip(model, 1)
    for key in ('frames', 'mask_prior'):
        small[0][key] = small[0][key][..., :40, :50]
    small[1].set_metainfo(dict(img_shape=(40, 50), out_shape=(80, 100)))
    sample, _ = predict(model, small, large)
    assert sample.pred_sem_seg.shape == (1, 80, 100)
    model.data_preprocessor.pad_size_divisor = FRAME
    scores = model.decode_head.predict(*model.extract_features(preprocess(model, [small])['inputs'], None),
                                       (FRAME, FRAME))
    expected = nn.functional.interpolate(scores[..., :40, :50], (80, 100), mode='bilinear', align_corners=False)
    torch.testing.assert_close(sample.seg_logits, expected, rtol=1e-4, atol=1e-5)
