"""The data preprocessor and the segmentor: from a list of clips to losses and masks."""
import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from small_models import FRAME, loss_of, make_clip, predict, preprocess, small_config
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmavs.models import AVSDataPreprocessor
from mmavs.models.segmentors import audio_visual_segmentor, clip_prediction
from mmavs.models.segmentors.clip_prediction import ClipPrediction
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


def shape_clip(clip, height, width, seconds=None):
    """Cut frames, masks and mask priors to a size, and the audio to a number of seconds."""
    inputs, sample = copy.deepcopy(clip)
    for key in inputs.keys() & {'frames', 'mask_prior'}:
        inputs[key] = inputs[key].repeat(1, 1, 2, 2)[..., :height, :width].clone()
    sample.gt_sem_seg = sample.gt_sem_seg.repeat(1, 2, 2)[..., :height, :width].clone()
    if seconds:
        inputs['waveform'] = inputs['waveform'][..., :int(seconds * 16000)]
    sample.set_metainfo(dict(img_shape=(height, width), out_shape=(height, width)))
    return inputs, sample


# VCT takes one size.
@pytest.mark.parametrize(('config', 'width'), [
    ('tpavi/tpavi_r50_ms3.py', 100), ('avsegformer/avsegformer_pvt-v2-b5_avss_beats.py', 100),
    ('ravs/ravs_pvt-v2-b5_vpo-msmi_stereo.py', 100), ('vct/vct_r50-224_ms3_mask-prior.py', 50)])
def test_clips_of_a_test_batch_are_predicted_as_each_alone(config, width):
    model = build_model(CONFIGS / config).eval()
    clips = [make_clip(model, 2), make_clip(model, 2), make_clip(model, 3), make_clip(model, 2)]
    clips[1], clips[3] = shape_clip(clips[1], 40, width), shape_clip(clips[3], FRAME, FRAME, seconds=1.3)
    with torch.no_grad():
        batch = [dict(inputs=inputs, data_samples=sample) for inputs, sample in copy.deepcopy(clips)]
        together = model.val_step(pseudo_collate(batch))
    alone = [predict(model, clip)[0] for clip in clips]
    for found, expected in zip(together, alone):
        torch.testing.assert_close(found.foreground_prob, expected.foreground_prob, rtol=1e-4, atol=1e-5)


def test_a_test_batch_of_several_sizes_is_not_padded_to_one():
    model = build_model(FULL)
    clips = [make_clip(model, 1), shape_clip(make_clip(model, 1), 40, 100)]
    with pytest.raises(ValueError, match=r'clips of the padded sizes \(64, 64\), \(64, 128\).*model.test_step'):
        preprocess(model, clips)
    assert preprocess(model, clips, training=True)['inputs']['frames'].shape[-2:] == (64, 128)


@pytest.mark.parametrize('part, dtype', [
    ('', torch.float16), ('', torch.bfloat16), ('', torch.float64), ('backbone', torch.float16),
    ('mask_prior', torch.float16), ('audio_backbone', torch.float16), ('decode_head', torch.float16)])
def test_weights_of_another_type_are_one_error(part, dtype):
    model = build_model(FULL)
    model.get_submodule(part).to(dtype)
    with pytest.raises(ValueError, match=rf'weights of the model are {dtype}, its inputs torch.float32: .*model.float'):
        predict(model, make_clip(model, 1))
    with pytest.raises(ValueError, match='weights of the model are'):
        loss_of(model, [make_clip(model, 1)])


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


def whole_clip_predictions(scores, img_shape, input_shape, out_shape):
    """Masks and probabilities of all frames from scores (T, K, h, w) at once, as the earlier segmentor made them."""
    resize = partial(nn.functional.interpolate, mode='bilinear', align_corners=False)
    if img_shape != input_shape:
        scores = resize(scores, input_shape)[..., :img_shape[0], :img_shape[1]]
    scores = resize(scores, out_shape)
    if scores.shape[1] == 1:
        margin, labels = scores[:, 0], scores[:, 0] > 0
    else:
        best, classes = scores[:, 1:].max(1)
        margin = best - scores[:, 0]
        labels = torch.where(margin > 0, classes + 1, 0)
    return labels.to(torch.uint8), margin.sigmoid(), scores


@pytest.mark.parametrize('num_classes', [1, 2, 5, 71])
@pytest.mark.parametrize('img_shape', [(64, 64), (40, 50)])
@pytest.mark.parametrize('max_scores', [0, 2**22])  # one class after the other, or all at once
def test_frame_by_frame_predictions_are_those_of_the_whole_clip(num_classes, img_shape, max_scores, monkeypatch):
    monkeypatch.setattr(clip_prediction, 'MAX_RESIZED_SCORES', max_scores)
    scores = torch.randn(2, num_classes, 64, 64)
    samples = []
    for fields in (('pred_sem_seg', 'foreground_prob', 'pred_frame_seg'), ('foreground_prob', 'seg_logits')):
        sample = AVSDataSample(metainfo=dict(img_shape=img_shape, out_shape=(90, 120), ori_shape=(50, 70)))
        prediction = ClipPrediction(sample, 2, num_classes, (64, 64), fields, torch.float32, torch.device('cpu'))
        for index, frame in enumerate(scores):
            prediction.add_frame(index, frame)
        assert sorted(sample.keys()) == sorted(fields)
        samples.append(sample)
    masks, prob, logits = whole_clip_predictions(scores, img_shape, (64, 64), (90, 120))
    assert torch.equal(samples[0].pred_sem_seg, masks)
    assert torch.equal(samples[0].pred_frame_seg, whole_clip_predictions(scores, img_shape, (64, 64), (50, 70))[0])
    assert torch.equal(samples[1].seg_logits, logits)
    for sample in samples:
        torch.testing.assert_close(sample.foreground_prob, prob, rtol=0, atol=2e-7)  # the sigmoid of a vector or a rest


@pytest.mark.parametrize('foreground', [0, 1, 4])
def test_classes_below_the_background_everywhere_do_not_change_the_mask(foreground, monkeypatch):
    monkeypatch.setattr(clip_prediction, 'MAX_RESIZED_SCORES', 0)
    scores, resized = torch.randn(9, 16, 16), []
    scores[1 + foreground:] = torch.minimum(scores[1 + foreground:], scores[0])
    sample = AVSDataSample(metainfo=dict(img_shape=(64, 64), out_shape=(90, 120)))
    prediction = ClipPrediction(sample, 1, 9, (64, 64), ('pred_sem_seg', ), torch.float32, torch.device('cpu'))
    resize = prediction._resize
    monkeypatch.setattr(prediction, '_resize', lambda *inputs: resized.append(1) or resize(*inputs))
    prediction.add_frame(0, scores)
    masks, _, _ = whole_clip_predictions(scores[None], (64, 64), (64, 64), (90, 120))
    assert torch.equal(sample.pred_sem_seg, masks) and masks.any() == bool(foreground)
    assert len(resized) == 1 + max(1, foreground)


def test_scores_at_frame_size_exist_for_a_single_class_and_frame():
    """Bound of the memory: no tensor is larger than a field of the data sample, or one class of one frame in float."""
    sizes = []

    class Recorder(TorchDispatchMode):

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            sizes.append(result.untyped_storage().nbytes() if isinstance(result, torch.Tensor) else 0)
            return result

    height, width, frames, classes = 270, 480, 3, 71
    sample = AVSDataSample(metainfo=dict(img_shape=(8, 8), out_shape=(height, width)))
    with Recorder():
        prediction = ClipPrediction(sample, frames, classes, (8, 8), ('pred_sem_seg', ), torch.float32,
                                    torch.device('cpu'))
        prediction.add_frame(0, torch.randn(classes, 8, 8))
    assert max(sizes) == max(frames * height * width, 4 * height * width)


def test_long_clips_of_independent_frames_are_computed_in_parts():
    model = build_model(FULL).eval()
    clip = make_clip(model, 5, valid=[True, True, True, False, True])
    whole, = predict(model, clip)
    sizes = []
    model.backbone.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio_visual_segmentor, 'MAX_FRAMES', 2)
        parts, = predict(model, clip)
    assert sizes == [2, 2]
    torch.testing.assert_close(parts.seg_logits, whole.seg_logits, rtol=1e-4, atol=1e-5)
    assert not parts.pred_sem_seg[3].any() and whole.seg_logits[4].any()


@pytest.mark.parametrize(('dtype', 'values'), [
    (torch.float32, [0, 0.5, 0.50049996, 1]), (torch.float16, [0, 0.5, 0.5005, 1]), (torch.uint8, [0, 127, 128, 255])])
def test_probabilities_of_fewer_bytes_keep_the_side_of_one_half(dtype, values):
    scores = torch.tensor([-99, 0, 2e-3, 99]).view(1, 1, 4)
    sample = AVSDataSample(metainfo=dict(img_shape=(1, 4), out_shape=(1, 4)))
    ClipPrediction(sample, 1, 1, (1, 4), ('foreground_prob', ), dtype, torch.device('cpu')).add_frame(0, scores)
    assert sample.foreground_prob.dtype == dtype
    assert sample.foreground_prob.flatten().tolist() == pytest.approx(values, abs=1e-4)


def test_predictions_that_were_not_requested_are_named():
    model = build_model(FULL).eval()
    batch = preprocess(model, [make_clip(model, 1)])
    with torch.no_grad():
        sample, = model(**batch, mode='predict')
    assert 'seg_logits' not in sample and sample.get('seg_logits') is None
    with pytest.raises(AttributeError, match='seg_logits is not in the data sample: request it by model.outputs'):
        _ = sample.seg_logits
    with pytest.raises(KeyError, match='request it by model.outputs'):
        sample.to_dict()['seg_logits']
    assert 'seg_logits' not in copy.deepcopy(sample)
    with pytest.raises(ValueError, match="outputs are \\['logits'\\], expected a list of pred_sem_seg, "):
        model(**batch, mode='predict', outputs=['logits'])
