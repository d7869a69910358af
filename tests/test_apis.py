"""Tests of init_model and inference_clip."""
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmavs.apis import inference_clip, init_model
from mmavs.utils.config import ConfigError

CONFIG = """
default_scope = 'mmavs'
backbone = dict(type='mmseg.SwinTransformer', embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1), window_size=2)
model = dict(
    type='AudioVisualSegmentor',
    independent_frames=True,
    outputs=('pred_sem_seg', 'foreground_prob', 'seg_logits'),
    backbone=backbone,
    audio_backbone=dict(type='VGGish', output='conv', channels=(2, 2, 4, 4, 6, 6)),
    decode_head=dict(
        type='VCTHead',
        num_classes=2,
        input_size=(64, 64),
        audio_channels=6,
        pixel_decoder=dict(
            type='MSDeformAttnPixelDecoder', in_channels=(8, 16, 32, 64), embed_dims=32, num_layers=1, ffn_dims=48),
        criterion=dict(type='SetCriterion'),
        audio_hidden_dims=16,
        num_queries=5,
        num_layers=5))
test_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadMaskPrior'),
    dict(type='LoadAudio', source='log_mel'),
    dict(type='ClipBroadcaster', keys=('frames', 'mask_prior'), transforms=[dict(type='Resize', scale=(64, 64))]),
    dict(type='GenerateEventLabels', num_events=2, source='masks'),
    dict(type='PackClipInputs'),
]
test_dataloader = dict(
    dataset=dict(type='AVSBenchMS3Dataset', data_root='absent', split='test', pipeline=test_pipeline))
"""
PRIOR = "model['mask_prior'] = dict(type='MaskPriorBranch', backbone=backbone, channels=(8, 16, 32, 64), reduction=4)"


@pytest.fixture(scope='module')
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('configs') / 'tiny.py'
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope='module')
def model(config_file):
    torch.manual_seed(0)
    return init_model(config_file)


def clip(num_frames=3, height=40, width=72):
    return np.random.default_rng(0).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def audio(seconds=3, rate=16000):
    return np.random.default_rng(1).uniform(-0.5, 0.5, int(seconds * rate)).astype(np.float32)


def test_predictions_have_the_size_of_the_frames(model):
    sample = inference_clip(model, clip(), audio(), 16000)
    assert sample.pred_sem_seg.shape == (3, 40, 72) and sample.pred_sem_seg.dtype == torch.uint8
    assert sample.seg_logits.shape == (3, 2, 40, 72) and sample.foreground_prob.shape == (3, 40, 72)
    assert 0 <= sample.foreground_prob.min() and sample.foreground_prob.max() <= 1
    assert sample.img_shape == (64, 64) and not sample.seg_logits.requires_grad


def test_all_types_of_the_same_clip_give_the_same_prediction(model):
    frames, waveform = clip(), (audio() * 32768).astype(np.int16)
    expected = inference_clip(model, frames, waveform.astype(np.float32) / 32768, 16000).seg_logits
    for same_frames in (list(frames), torch.from_numpy(frames)):
        for same_audio in (waveform, torch.from_numpy(waveform), np.stack([waveform, waveform], 1)):
            logits = inference_clip(model, same_frames, same_audio, 16000).seg_logits
            torch.testing.assert_close(logits, expected)


def test_audio_is_cut_or_padded_to_the_duration_of_the_frames(model):
    long, short = audio(5), audio(5)[:32000]
    expected = inference_clip(model, clip(), long[:48000], 16000).seg_logits
    torch.testing.assert_close(inference_clip(model, clip(), long, 16000).seg_logits, expected)
    padded = inference_clip(model, clip(), np.pad(short, (0, 16000)), 16000).seg_logits
    torch.testing.assert_close(inference_clip(model, clip(), short, 16000).seg_logits, padded)


def test_missing_audio_is_marked_if_the_pipeline_does_so(config_file, model):
    config = Config.fromfile(config_file)
    config.test_pipeline[3] = config.test_dataloader.dataset.pipeline[3] = dict(type='LoadAudio', mark_end=True)
    marking = init_model(config)
    marking.load_state_dict(model.state_dict())
    short = audio(5)[:32000]  # two examples, and 0.08 s of the third
    marked, silent = (inference_clip(x, clip(), short, 16000).seg_logits for x in (marking, model))
    torch.testing.assert_close(marked[:2], silent[:2])
    assert not torch.allclose(marked[2], silent[2])
    complete = inference_clip(marking, clip(), audio(), 16000).seg_logits
    torch.testing.assert_close(complete, inference_clip(model, clip(), audio(), 16000).seg_logits)


def test_other_rates_are_resampled(model):
    time = np.arange(3 * 48000) / 48000
    tone = 0.5 * np.sin(2 * np.pi * 300 * time)
    expected = inference_clip(model, clip(), tone[::3], 16000).foreground_prob
    torch.testing.assert_close(inference_clip(model, clip(), tone, 48000).foreground_prob, expected, atol=1e-3, rtol=0)


def test_silence_and_a_single_frame_are_legal(model):
    sample = inference_clip(model, clip(1), np.zeros(16000), 16000)
    assert sample.pred_sem_seg.shape == (1, 40, 72) and sample.seg_logits.isfinite().all()


def test_a_model_in_training_stays_in_training(model):
    expected = inference_clip(model, clip(), audio(), 16000).seg_logits
    model.train()
    try:
        torch.testing.assert_close(inference_clip(model, clip(), audio(), 16000).seg_logits, expected)
        assert model.training and not model.audio_backbone.training
    finally:
        model.eval()


@pytest.mark.parametrize(('frames', 'error', 'message'), [
    (clip(0), ValueError, 'frames is empty'),
    (clip() / 255, TypeError, r'frames\[0\] is of type float64, expected uint8'),
    (clip().transpose(0, 3, 1, 2), ValueError, r'has the shape \(3, 40, 72\), expected \(H, W, 3\)'),
    (clip()[..., 0], ValueError, r'expected \(H, W, 3\)'),
    ([clip()[0], clip()[1, 1:]], ValueError, r'frames\[1\] has the shape \(39, 72, 3\)'),
])
def test_invalid_frames_are_refused(model, frames, error, message):
    with pytest.raises(error, match=message):
        inference_clip(model, frames, audio(), 16000)


@pytest.mark.parametrize(('waveform', 'rate', 'error', 'message'), [
    (np.full(16000, np.nan), 16000, ValueError, 'waveform: 16000 of 16000 samples are NaN'),
    (audio() * 32768, 16000, ValueError, 'waveform: the largest sample is'),
    (np.zeros(0), 16000, ValueError, 'waveform is empty'),
    (np.zeros((2, 16000)), 16000, ValueError, r'shape \(2, 16000\), expected \(L,\) or \(L, channels\)'),
    (np.zeros(16000, np.uint8), 16000, TypeError, 'of type uint8'),
    (audio(), 0, ValueError, 'rate is 0'),
])
def test_invalid_waveforms_are_refused(model, waveform, rate, error, message):
    with pytest.raises(error, match=message):
        inference_clip(model, clip(), waveform, rate)


def test_mask_priors_are_required_exactly_by_models_with_that_branch(model, tmp_path):
    path = tmp_path / 'mask_prior.py'
    path.write_text(CONFIG + PRIOR)
    with_prior = init_model(path)
    priors = clip()[::-1]
    sample = inference_clip(with_prior, clip(), audio(), 16000, mask_prior=priors)
    assert sample.pred_sem_seg.shape == (3, 40, 72)
    other = inference_clip(with_prior, clip(), audio(), 16000, mask_prior=clip())
    assert not torch.equal(sample.seg_logits, other.seg_logits)
    with pytest.raises(ValueError, match='mask_prior is missing'):
        inference_clip(with_prior, clip(), audio(), 16000)
    with pytest.raises(ValueError, match='mask_prior has 2 images'):
        inference_clip(with_prior, clip(), audio(), 16000, mask_prior=priors[:2])
    with pytest.raises(ValueError, match='the model has no mask-prior branch'):
        inference_clip(model, clip(), audio(), 16000, mask_prior=priors)


def test_a_checkpoint_is_loaded(model, config_file, tmp_path):
    torch.save(dict(state_dict=model.state_dict(), meta=dict(iter=3)), tmp_path / 'x.pth')
    loaded = init_model(Config.fromfile(config_file), tmp_path / 'x.pth')
    assert not loaded.training
    torch.testing.assert_close(loaded.state_dict(), model.state_dict())


def test_a_checkpoint_of_other_classes_is_refused(model, tmp_path):
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'x.pth')
    config = Config.fromstring(CONFIG.replace('num_classes=2', 'num_classes=71'), '.py')
    with pytest.raises(ValueError, match='class_embed.weight has 3 rows = 2 classes, the config says 71'):
        init_model(config, tmp_path / 'x.pth')


@pytest.mark.parametrize(('typo', 'message'), [
    (('VCTHead', 'VTCHead'), "'VTCHead', which no registry holds: did you mean VCTHead"),
    (('num_classes=2', 'num_clases=2'), 'VCTHead takes no such argument: did you mean num_classes'),
    (("output='conv'", "ouput='conv'"), 'VGGish takes no such argument: did you mean output'),
])
def test_a_typo_in_the_config_lists_close_matches(tmp_path, typo, message):
    path = tmp_path / 'typo.py'
    path.write_text(CONFIG.replace(*typo))
    with pytest.raises(ConfigError, match=message) as error:
        init_model(path)
    assert str(path) in str(error.value)


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(ConfigError, match='absent.py'):
        init_model(tmp_path / 'absent.py')
