"""The head of COMBO: bilateral fusion, audio queries, losses and scores."""
import pytest
import torch
from mmengine.registry import init_default_scope

from mmavs.models import COMBOHead
from mmavs.models.decode_heads.combo import BilateralFusion
from mmavs.models.layers import AudioQueryGenerator, sine_positional_encoding
from mmavs.structures import FrameTargets

NUM_CLASSES, NUM_QUERIES, SIZE = 3, 6, (64, 96)
CHANNELS = (4, 8, 12, 16)
VALID = torch.ones(1, 2, dtype=torch.bool)


@pytest.fixture(autouse=True)
def _scope_and_seed():
    init_default_scope('mmavs')
    torch.manual_seed(0)


def build_head(**options):
    head = COMBOHead(**dict(
        num_classes=NUM_CLASSES,
        audio_channels=8,
        pixel_decoder=dict(
            type='MSDeformAttnPixelDecoder', in_channels=CHANNELS, embed_dims=32, num_layers=1, num_heads=4,
            ffn_dims=16),
        criterion=dict(type='SetCriterion', num_points=64),
        consistency_loss=dict(type='TemporalConsistencyLoss', weight=2.),
        audio_hidden_dims=16,
        num_queries=NUM_QUERIES,
        num_heads=4,
        num_layers=3,
        ffn_dims=16) | options)
    for scale in (head.fusion.visual_scale, head.fusion.audio_scale):
        torch.nn.init.ones_(scale)  # as initialized, the fusion changes its input by 1e-4
    return head


def make_inputs(num=2, size=SIZE):
    features = tuple(torch.randn(num, c, size[0] // s, size[1] // s) for c, s in zip(CHANNELS, (4, 8, 16, 32)))
    return features, torch.randn(num, 1, 8)


@torch.no_grad()
@pytest.mark.parametrize('tokens', [1, 3])
def test_fusion_is_that_of_the_formula(tokens):
    fusion = BilateralFusion(16, 8, num_heads=2, dropout=0.1).eval()
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter)
    features, audio = torch.randn(2, 16, 3, 5), torch.randn(2, tokens, 8)

    def split(x):
        return x.view(2, -1, 2, 8).transpose(1, 2)  # (N, heads, length, d)

    v = fusion.visual_norm(features.flatten(2).transpose(1, 2) + fusion.level_embed.weight)
    a = fusion.audio_norm(audio)
    q = split(fusion.visual_query(v + sine_positional_encoding(3, 5, 16)) * 8**-0.5)
    k = split(fusion.audio_key(a + fusion.audio_pos.weight))
    attention = (q @ k.transpose(2, 3)).softmax(2)  # over the pixels
    to_pixels = (attention @ split(fusion.audio_value(a))).transpose(1, 2).flatten(2)
    to_audio = (attention.transpose(2, 3) @ split(fusion.visual_value(v))).transpose(1, 2).flatten(2)
    expected = v + fusion.visual_scale * fusion.visual_out(to_pixels)
    found, fused_audio = fusion(features, audio)
    torch.testing.assert_close(found, expected.transpose(1, 2).view(2, 16, 3, 5), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        fused_audio, a + fusion.audio_scale * fusion.audio_out(to_audio), rtol=1e-4, atol=1e-4)


def test_released_layout_is_the_reshape_of_the_released_code_within_each_clip():
    audio = torch.randn(2, 5, 1, 3)
    found = AudioQueryGenerator(100, 'released')(audio.flatten(0, 1), torch.ones(2, 5, dtype=torch.bool))
    expected = [clip.repeat(1, 100, 1).reshape(100, 5, 3).transpose(0, 1) for clip in audio]
    assert torch.equal(found, torch.cat(expected))
    # Of a clip of 3 frames in a batch of longer ones, padding is no frame.
    valid = torch.tensor([[True] * 5, [True, True, True, False, False]])
    found = AudioQueryGenerator(100, 'released')(audio.flatten(0, 1), valid)
    assert torch.equal(found[5:8], audio[1, :3].repeat(1, 100, 1).reshape(100, 3, 3).transpose(0, 1))


@torch.no_grad()
@pytest.mark.parametrize('layout, changed', [('frame', [False, True]), ('released', [True, True])])
def test_layout_decides_whether_a_frame_gets_the_audio_of_another(layout, changed):
    head = build_head(query_layout=layout).eval()
    features, audio = make_inputs()
    scores = head.predict(features, audio, VALID, SIZE)
    other = head.predict(features, torch.stack((audio[0], -audio[1])), VALID, SIZE)
    assert [not torch.allclose(x, y, atol=1e-6) for x, y in zip(scores, other)] == changed


def test_unknown_layout_is_an_error():
    with pytest.raises(ValueError, match="layout is 'clip', expected 'frame' or 'released'"):
        build_head(query_layout='clip')


@torch.no_grad()
@pytest.mark.parametrize('layout', ['frame', 'released'])
def test_prediction_of_a_clip_does_not_depend_on_its_batch(layout):
    head = build_head(query_layout=layout).eval()
    features, audio = make_inputs(num=4)
    together = head.predict(features, audio, torch.ones(2, 2, dtype=torch.bool), SIZE)
    alone = head.predict([x[2:] for x in features], audio[2:], VALID, SIZE)
    torch.testing.assert_close(together[2:], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('size', [(64, 96), (96, 32)])
def test_any_input_size_is_predicted(size):
    outputs = build_head().eval()(*make_inputs(size=size), VALID)
    assert outputs['mask_logits'].shape == (2, NUM_QUERIES, size[0] // 4, size[1] // 4)
    assert 'aux' not in outputs


def test_losses_are_those_of_all_predictions_and_frames():
    head = build_head()
    masks = torch.zeros(2, *SIZE, dtype=torch.uint8)
    masks[:, 10:40, 20:50] = 2
    losses = head.loss(*make_inputs(), VALID, FrameTargets(masks=masks, labelled=torch.tensor([True, False])))
    terms = {f'd{i}.{term}' for i in range(3) for term in ('loss_cls', 'loss_mask', 'loss_dice', 'loss_consistency')}
    assert set(losses) == terms | {'loss_cls', 'loss_mask', 'loss_dice'}
    sum(losses.values()).backward()
    assert [name for name, x in head.named_parameters() if x.grad is None] == []
