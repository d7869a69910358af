"""Predictions in half precision and compiled predictions, see AudioVisualSegmentor.accelerate."""
import os
from pathlib import Path

import pytest
import torch
from small_models import FRAME, TINY, make_clip, predict, preprocess, randomize_constant_init, small_config
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.utils._python_dispatch import TorchDispatchMode

from mmavs.apis import AVSInferencer, init_model
from mmavs.cli import arguments
from mmavs.evaluation.functional.avsbench import binary_scores
from mmavs.models.layers import deformable_attention, masked_attention_decoder
from mmavs.registry import MODELS
from mmavs.structures import BlockFeatures
from mmavs.utils.exporting import for_onnx, is_exporting, is_for_onnx, is_recording
from mmavs.utils.precision import MAX_METRIC_DIFFERENCE, MIN_SAME_LABELS, PRECISIONS, keep_norms_in_float32

CONFIGS = Path(__file__).parents[1] / 'configs'
VCT, AVSEGFORMER = CONFIGS / 'vct/vct_swin-b_s4.py', CONFIGS / 'avsegformer/avsegformer_pvt-v2-b5_s4.py'
# A config of each method; VCT has a Swin, AVSegFormer a PVTv2, COMBO the queries that depend on the clip.
METHODS = ('vct/vct_swin-b_s4.py', 'avsegformer/avsegformer_pvt-v2-b5_s4.py', 'combo/combo_r50_s4_as-released.py',
           'tpavi/tpavi_r50_s4.py', 'ravs/ravs_pvt-v2-b5_s4.py', 'ease/ease_tiny_synthetic.py')


def build_model(config):
    model = MODELS.build(small_config(config))
    randomize_constant_init(model)
    return model.eval()


def rectangle_clip(model, seed):
    """A clip of 2 frames, each with a bright rectangle at a random place, which is the object, on noise."""
    generator = torch.Generator().manual_seed(seed)
    inputs, sample = make_clip(model, 2)
    inputs['frames'] = torch.randint(0, 120, inputs['frames'].shape, generator=generator, dtype=torch.uint8)
    sample.gt_sem_seg = torch.zeros(2, FRAME, FRAME, dtype=torch.uint8)
    for t in range(2):
        y, x = torch.randint(0, 28, (2, ), generator=generator).tolist()
        inputs['frames'][t, :, y:y + 32, x:x + 32] += 120
        sample.gt_sem_seg[t, y:y + 32, x:x + 32] = 1
    return inputs, sample


def train_briefly(model, steps=20):
    """Train on rectangles: the logits of random weights are near 0, where any rounding flips labels."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for step in range(steps):
        model.train()
        clips = [rectangle_clip(model, step)]
        loss, _ = model.parse_losses(model(**preprocess(model, clips, training=True), mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.)
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize('config', [VCT, AVSEGFORMER], ids=['vct', 'avsegformer'])
def test_half_precision_keeps_the_labels_of_a_trained_model(config):
    model = train_briefly(build_model(config))
    clips = [rectangle_clip(model, 1000 + i) for i in range(4)]
    truth = torch.cat([sample.gt_sem_seg for _, sample in clips])

    def results():
        samples = predict(model, *clips)
        iou = binary_scores(torch.cat([sample.foreground_prob for sample in samples]), truth).iou.mean().item()
        return torch.cat([sample.pred_sem_seg for sample in samples]), iou

    expected, expected_iou = results()
    assert expected_iou > 0.5  # the training has made a model that segments
    for precision in ('bf16', 'fp16'):
        model.accelerate(precision)
        labels, iou = results()
        assert (labels == expected).float().mean() >= MIN_SAME_LABELS
        assert abs(iou - expected_iou) < MAX_METRIC_DIFFERENCE


def test_what_decides_about_pixels_stays_float32(monkeypatch):
    model, types = build_model(VCT), {}

    def record(module, name, positions):
        function = getattr(module, name)

        def call(*args):
            types.setdefault(name, set()).update(args[i].dtype for i in positions)
            return function(*args)

        monkeypatch.setattr(module, name, call)

    record(masked_attention_decoder, 'inside_masks', [0])
    record(deformable_attention, 'deformable_sampling', [0, 2, 3])
    head, layer = model.decode_head, model.decode_head.decoder.layers[0]
    record(head.query_generator.grouping, '_assign', [0])
    outputs = {}
    parts = dict(linear=layer.linear1, norm=layer.norm1, attention=layer.cross_attn,
                 audio=model.audio_backbone.features[0])
    for name, part in parts.items():
        part.register_forward_hook(lambda module, args, out, name=name: outputs.update({name: out.dtype}))
    model.accelerate('bf16')
    sample, = predict(model, make_clip(model, 2))
    assert types == dict.fromkeys(('inside_masks', 'deformable_sampling', '_assign'), {torch.float32})
    half = torch.bfloat16
    assert outputs == dict(linear=half, norm=torch.float32, attention=half, audio=half)
    assert sample.seg_logits.dtype == sample.foreground_prob.dtype == torch.float32
    outputs.clear()
    model.accelerate()
    predict(model, make_clip(model, 2))
    assert set(outputs.values()) == {torch.float32}


# To record a model takes 20 s of CPU time: MMAVS_ALL_GRAPHS=1 does it for all methods.
@pytest.mark.parametrize('config', METHODS if os.environ.get('MMAVS_ALL_GRAPHS') else METHODS[:1])
def test_a_method_is_one_graph_for_any_number_of_frames(config):
    torch._dynamo.reset()
    model = build_model(CONFIGS / config)
    clips = [make_clip(model, num_frames) for num_frames in (3, 2)]
    expected = [predict(model, clip)[0].seg_logits for clip in clips]
    graphs = CompileCounter()
    with pytest.MonkeyPatch.context() as patch:
        compile_ = torch.compile
        patch.setattr(torch, 'compile', lambda function, **options: compile_(function, backend=graphs, **options))
        model.accelerate(compile=True)
    for clip, scores in zip(clips, expected):
        torch.testing.assert_close(predict(model, clip)[0].seg_logits, scores, rtol=1e-4, atol=1e-5)
    assert graphs.frame_count == 1


def test_a_compiled_model_is_not_taken_for_an_exported_one():
    recorded = torch.compile(lambda x: x + 4 * is_exporting() + 2 * is_recording() + is_for_onnx(), backend='eager',
                             fullgraph=True)
    with for_onnx():  # of another thread, for example
        assert recorded(torch.zeros(1)).item() == 2


class AttentionCounter(TorchDispatchMode):
    """Count the calls of fused attention and of the softmax of stored attention matrices."""

    def __init__(self):
        super().__init__()
        self.fused = self.stored = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.fused += '_scaled_dot_product' in str(function)
        self.stored += '_softmax' in str(function)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize('config', ['vct/vct_swin-b_s4.py', 'vct/vct_dinov2-b_avss.py', 'vct/vct_eva02-b_avss.py',
                                    'avsegformer/avsegformer_pvt-v2-b5_s4.py', 'ease/ease_dinov3-b_s4.py',
                                    'ease/ease_dinov2-b_avss.py', 'ease/ease_tiny_synthetic.py'])
def test_attention_of_every_backbone_is_fused(config):
    backbone = build_model(CONFIGS / config).backbone
    with torch.no_grad(), AttentionCounter() as counter:
        features = backbone(torch.randn(1, 3, FRAME, FRAME))
        if isinstance(features, BlockFeatures):
            features.run_block(features.num_blocks - 1, features.tokens, None)
    assert counter.fused > 0 and counter.stored == 0


@pytest.mark.parametrize('config', METHODS)
def test_no_flags_mean_that_all_frames_exist(config):
    model = build_model(CONFIGS / config)
    inputs = preprocess(model, [make_clip(model, 3)])['inputs']
    with torch.no_grad():
        features, audio, _ = model.extract_features(inputs, None)
        given, none = (
            model.decode_head.predict(features, audio, valid, (FRAME, FRAME))
            for valid in (torch.ones(1, 3, dtype=torch.bool), None))
    assert torch.equal(given, none)


@pytest.mark.parametrize('config', METHODS)
def test_every_method_predicts_in_half_precision(config):
    model = build_model(CONFIGS / config)
    clip = make_clip(model, 2)
    expected, = predict(model, clip)
    model.accelerate('bf16')
    found, = predict(model, clip)
    assert found.seg_logits.dtype == torch.float32 and not torch.equal(found.seg_logits, expected.seg_logits)
    assert (found.foreground_prob - expected.foreground_prob).abs().mean() < 0.02


def test_norms_of_a_training_are_those_of_its_own_autocast():
    norm = torch.nn.LayerNorm(4)
    keep_norms_in_float32(norm)
    x = torch.ones(2, 4, dtype=torch.bfloat16)
    with torch.autocast('cpu', torch.bfloat16):
        assert norm.train()(x).dtype == torch.bfloat16 and norm.eval()(x).dtype == torch.float32


def test_the_precision_of_a_model_is_checked_and_set():
    assert tuple(PRECISIONS) == arguments.PRECISIONS
    with pytest.raises(ValueError, match="precision is 'fp8', expected one of fp32, bf16, fp16"):
        init_model(TINY, precision='fp8')
    with pytest.warns(UserWarning, match='no checkpoint'):
        model = init_model(TINY, device='cpu', precision='bf16')
    assert model.precision == torch.bfloat16
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    with pytest.raises(ValueError, match='accelerate'):
        AVSInferencer(model, precision='fp16')
