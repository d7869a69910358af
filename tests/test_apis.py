"""Tests of init_model and inference_clip."""
import copy
import warnings
from fractions import Fraction
from pathlib import Path
from threading import Event, Thread, current_thread

import numpy as np
import pytest
import torch
from mmengine.config import Config
from small_models import audio_sensitive_model
from torch import nn

from mmavs.apis import inference_clip, init_model, window_prediction
from mmavs.apis.clip_windows import cut_into_windows
from mmavs.apis.evaluation_mode import evaluation_mode
from mmavs.audio.resampling import resample
from mmavs.models.audio_backbones import VGGish
from mmavs.utils.config import ConfigError, dataset_metainfo

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


pytestmark = pytest.mark.filterwarnings('ignore:the model has no checkpoint')


@pytest.fixture(scope='module')
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('configs') / 'tiny.py'
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope='module')
def model(config_file):
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match='no checkpoint: its weights are random'):
        return init_model(config_file, device='cpu')


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


def test_nan_scores_are_an_error_and_not_an_empty_mask(model):
    damaged = copy.deepcopy(model)
    with torch.no_grad():
        next(damaged.backbone.parameters()).fill_(float('nan'))
    with pytest.raises(ValueError, match='the scores of frame 0 of clip .* are NaN'):
        inference_clip(damaged, clip(), audio(), 16000)


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
    (np.full(48000, np.nan), 16000, ValueError, 'waveform: 48000 of 48000 samples are NaN'),
    (audio() * 32768, 16000, ValueError, 'waveform: the largest sample is'),
    (np.zeros(0), 16000, ValueError, 'waveform is empty'),
    (np.zeros((2, 16000)), 16000, ValueError, r'shape \(2, 16000\), expected \(L,\) or \(L, channels\)'),
    (np.zeros(16000, np.uint8), 16000, TypeError, 'of type uint8'),
    (audio(), 0, ValueError, 'rate is 0'),
    (audio(), 44100.5, ValueError, 'rate is 44100.5, expected a positive whole number'),
    (audio(), '44k', ValueError, "rate is '44k', expected a positive whole number"),
])
def test_invalid_waveforms_are_refused(model, waveform, rate, error, message):
    with pytest.raises(error, match=message):
        inference_clip(model, clip(), waveform, rate)


def spans(num_frames, fps, clip_length, **options):
    return [window.frames.tolist() for window in cut_into_windows(num_frames, fps, clip_length, **options)]


def test_windows_take_frames_one_second_apart():
    assert spans(5, 1, 5) == [[0, 1, 2, 3, 4]]
    assert spans(4, 2, 5) == [[0, 2], [1, 3]]
    assert spans(10, 1, 5) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    interleaved = cut_into_windows(125, 25, 5)
    assert [window.frames.tolist() for window in interleaved] == [list(range(k, 125, 25)) for k in range(25)]
    assert [window.start for window in interleaved] == [Fraction(k, 25) for k in range(25)]
    # Less than one frame per second: no clip of the training looks like this.
    assert spans(3, 0.5, 5) == [[0], [1], [2]]


def test_the_last_window_has_the_length_of_training_unless_frames_are_independent():
    *_, last = cut_into_windows(12, 1, 5)
    assert last.frames.tolist() == [7, 8, 9, 10, 11] and last.start == 7
    assert last.new.tolist() == [False, False, False, True, True]
    assert spans(12, 1, 5, independent_frames=True)[-1] == [10, 11]
    assert spans(14, 2, 5)[2:] == [[4, 6, 8, 10, 12], [5, 7, 9, 11, 13]]


@pytest.mark.parametrize('fps', [1, 1.5, 2.5, 24, 29.97, Fraction(30000, 1001), np.float32(12.5), 0.7])
@pytest.mark.parametrize('independent_frames', [True, False])
def test_every_frame_is_new_in_one_window_and_near_its_second(fps, independent_frames):
    count = np.zeros(173, int)
    for window in cut_into_windows(173, fps, 5, independent_frames):
        count[window.frames] += window.new
        seconds = window.frames / float(fps) - float(window.start)
        assert len(seconds) <= 5
        assert np.abs(seconds - np.arange(len(seconds))).max() <= 0.5 / float(fps) + 1e-9
    assert (count == 1).all()


class AudioProbe(nn.Module):
    """Model that predicts 1 in the frames whose audio tokens are not those of silence, with a real audio backbone."""

    def __init__(self, clip_length, independent_frames=False):
        super().__init__()
        self.cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=[dict(type='PackClipInputs')]))))
        self.dataset_meta = dict(clip_length=clip_length)
        self.independent_frames = independent_frames
        self.audio_backbone = VGGish('conv', channels=(4, 4, 4, 4, 4, 8))
        self.clips = []

    def data_preprocessor(self, data):
        return data

    def forward(self, inputs, data_samples, **options):
        self.clips += [clip['waveform'] for clip in inputs]
        for sample, clip in zip(data_samples, inputs):
            length = len(clip['frames'])
            silence, tokens = (self.audio_backbone(x[None], length) for x in (0 * clip['waveform'], clip['waveform']))
            sample.pred_sem_seg = (tokens - silence).abs().flatten(2).amax(2)[0].gt(1e-4).byte()
        return data_samples


def bursts(seconds, num_seconds, rate=16000):
    """Audio with 20 ms of noise at the given times."""
    waveform = np.zeros(num_seconds * rate, np.float32)
    for second in seconds:
        start = int(second * rate)
        waveform[start:start + rate // 50] = np.random.default_rng(0).uniform(-0.5, 0.5, rate // 50)
    return waveform


@pytest.mark.parametrize('independent_frames', [True, False])
@pytest.mark.parametrize(('clip_length', 'fps', 'num_seconds'), [
    (5, 1, 121), (10, 1, 121), (1, 1, 13), (30, 1, 121), (5, 2, 33), (5, 25, 9), (5, 29.97, 9)])
def test_each_frame_gets_the_audio_of_its_own_time(clip_length, fps, num_seconds, independent_frames):
    model = AudioProbe(clip_length, independent_frames)
    num_frames = int(num_seconds * fps)
    waveform = bursts(np.arange(0, num_seconds, 4) + 0.7, num_seconds)
    found = inference_clip(model, np.zeros((num_frames, 4, 4, 3), np.uint8), waveform, 16000, fps=fps).pred_sem_seg
    # Examples of 0.975 s begin up to 0.04 s early for each frame of a window, as in training.
    early = 0.04 * (min(clip_length, 10) - 1)
    within = np.arange(num_frames) / fps % 4  # seconds since the last multiple of 4
    sure = within <= 0.7 - early * (fps > 2)
    assert found.bool().numpy()[sure & (within + 0.975 - early > 0.72)].all()
    never = (within > 0.72 + early) & (within + 0.975 < 4.7)
    assert never.any() and not found.numpy()[never].any()


def test_a_published_clip_is_passed_to_the_model_unchanged():
    model, waveform = AudioProbe(10), audio(10)
    inference_clip(model, clip(10, 4, 4), waveform, 16000)
    assert len(model.clips) == 1
    np.testing.assert_array_equal(model.clips[0].numpy(), waveform)


def test_windows_are_predicted_as_clips_of_their_own(model):
    assert model.dataset_meta['clip_length'] == 5
    frames, waveform = clip(12), audio(12)
    sample = inference_clip(model, frames, waveform, 16000)
    parts = [inference_clip(model, frames[k:k + 5], waveform[k * 16000:][:80000], 16000) for k in (0, 5, 10)]
    for key in ('pred_sem_seg', 'seg_logits', 'foreground_prob'):
        torch.testing.assert_close(sample.get(key), torch.cat([part.get(key) for part in parts]))
    assert sample.pred_sem_seg.dtype == torch.uint8 and len(sample.valid) == 12


def test_audio_that_does_not_fit_the_frames_is_reported():
    model, frames = AudioProbe(5), np.zeros((125, 4, 4, 3), np.uint8)
    message = r'125 frames at 1 fps ask for 125 s of audio, the waveform has 5\.0 s: pass one frame per second, or '
    with pytest.raises(ValueError, match=message + 'fps=25;'):
        inference_clip(model, frames, audio(5), 16000)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        inference_clip(model, frames[:10], audio(6), 16000)
        inference_clip(model, frames[:5], audio(10), 16000)
    with pytest.warns(UserWarning, match=r'5 frames at 1 fps take 5 s of audio, the waveform has 60\.0 s'):
        inference_clip(model, frames[:5], audio(60), 16000)
    for fps in (0, -1, float('nan'), '25'):
        with pytest.raises(ValueError, match='expected a positive number of frames per second'):
            inference_clip(model, frames, audio(5), 16000, fps=fps)


@pytest.mark.parametrize('rate', [44100, 48000])
def test_only_the_audio_of_the_frames_is_resampled(rate):
    model, waveform = AudioProbe(5), audio(10, rate)
    inference_clip(model, clip(5, 4, 4), waveform, rate)
    np.testing.assert_array_equal(model.clips[0].numpy(), resample(waveform, rate, 16000)[:80000])
    spoiled = waveform.copy()
    spoiled[rate * 6:] = np.nan
    inference_clip(model, clip(5, 4, 4), spoiled, rate)
    np.testing.assert_array_equal(model.clips[0].numpy(), model.clips[1].numpy())


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


def test_a_model_knows_its_dataset_from_the_checkpoint_or_else_from_the_config(model, config_file, tmp_path):
    assert model.dataset_meta['classes'] == ('background', 'sounding object')
    assert model.dataset_meta['palette'] == [[0, 0, 0], [255, 255, 255]]
    meta = dict(dataset_meta=dict(classes=['background', 'frog'], clip_length=8))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'x.pth')
    loaded = init_model(config_file, tmp_path / 'x.pth')
    assert loaded.dataset_meta['classes'] == ['background', 'frog'] and loaded.dataset_meta['clip_length'] == 8
    assert loaded.dataset_meta['palette'] == model.dataset_meta['palette']


def test_the_dataset_of_a_model_is_that_of_its_training():
    config = Config.fromfile(Path(__file__).parents[1] / 'configs/vct/vct_tiny_synthetic.py')
    trained, tested = (dataset_metainfo(config, split) for split in ('train', 'test'))
    assert len(trained['classes']) == 9 and trained['clip_length'] == 10
    assert len(tested['classes']) == 2 and tested['clip_length'] == 5


def test_a_model_is_put_on_the_gpu_if_there_is_one(config_file):
    expected = 'cuda' if torch.cuda.is_available() else 'cpu'
    assert next(init_model(config_file).parameters()).device.type == expected


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


# ---- Several threads ----


def test_a_model_stays_in_evaluation_mode_until_the_last_prediction_has_ended():
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(1), nn.Dropout()).train()
    model[1].eval()  # as a frozen part
    first, second = evaluation_mode(model), evaluation_mode(model)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not any(module.training for module in model.modules())
    second.__exit__(None, None, None)
    assert [module.training for module in model.modules()] == [True, True, False, True]


def test_predictions_of_two_threads_with_a_model_in_training_mode_are_those_of_one():
    model = audio_sensitive_model()
    frames, waveform = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8), np.zeros(48000, np.float32)
    alone = inference_clip(model, frames, waveform, 16000).foreground_prob
    found = []

    def predict():
        found.append(inference_clip(model, frames, waveform, 16000).foreground_prob)

    def predict_in_another_thread(module, args):
        hook.remove()
        thread = Thread(target=predict)
        thread.start()
        thread.join()

    # The second prediction begins and ends within the first.
    hook = model.audio_backbone.register_forward_pre_hook(predict_in_another_thread)
    model.train()
    predict()
    assert len(found) == 2 and all(torch.equal(prob, alone) for prob in found)
    assert model.training and model.decode_head.training


def test_a_second_thread_waits_while_the_first_switches_the_model():
    began = Event()

    class Model(nn.Dropout):

        def modules(self):
            if current_thread() is not second:
                second.start()
                assert not began.wait(0.1)
            return super().modules()

    def predict():
        with evaluation_mode(model):
            began.set()

    model, second = Model(), Thread(target=predict)
    with evaluation_mode(model):
        second.join()
        assert began.is_set() and not model.training
    assert model.training


def test_a_second_thread_waits_while_the_first_builds_the_transforms(model, monkeypatch):
    began, build = Event(), window_prediction.TRANSFORMS.build

    def build_beside_another_thread(config):
        if current_thread() is second:
            began.set()
        elif second.ident is None:
            second.start()
            assert not began.wait(0.1)
        return build(config)

    second = Thread(target=window_prediction._test_transforms, args=(model, ))
    monkeypatch.setattr(window_prediction.TRANSFORMS, 'build', build_beside_another_thread)
    window_prediction._test_transforms(model)
    second.join()
    assert began.is_set()
