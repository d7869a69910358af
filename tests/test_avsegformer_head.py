"""The head of AVSegFormer beside written-out computations, its losses and its recipe."""
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import nn

from mmavs.models.decode_heads import avsegformer
from mmavs.models.decode_heads.avsegformer import (
    AVSegFormerHead,
    ChannelAttentionEquation,
    ChannelAttentionMixer,
    CrossAttentionMixer,
)
from mmavs.models.layers import MLP
from mmavs.models.losses import frame_binary_cross_entropy, frame_cross_entropy, frame_dice_loss, mean_of_frames
from mmavs.structures import FrameTargets
from mmavs.utils.config import load_config

CONFIGS = Path(__file__).parents[1] / 'configs/avsegformer'
CHANNELS, AUDIO, DIMS, QUERIES, SIZE = (4, 6, 8, 10), 12, 64, 5, 64
SHAPES = [(8, 8), (4, 4), (2, 2)]
MASK_LOSS = dict(
    type='MaskLoss', foreground=dict(type='FrameDiceLoss'), classes=dict(type='FrameCrossEntropyLoss'))
FIRST_VERSION = dict(
    num_query_layers=0, mix_loss=None, intermediate_masks='query', intermediate_loss=dict(type='IntermediateMaskLoss'))
OPTIONS = [
    dict(), FIRST_VERSION,
    dict(FIRST_VERSION, intermediate_masks='attention'),
    dict(learnable_queries=False),
    dict(num_queries=1),
    dict(mixer=None),
    dict(mixer='channel-equation'),
    dict(mixer='cross'),
    dict(mix_loss=None)
]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def make_head(num_classes=1, **options):
    """A head with random deformable attention; its initial state does not depend on the queries."""
    config = dict(
        in_channels=CHANNELS, audio_channels=AUDIO, embed_dims=DIMS, num_queries=QUERIES, num_heads=4,
        num_encoder_layers=1, num_query_layers=2, num_decoder_layers=2, ffn_dims=16, query_ffn_dims=16, mask_dims=24,
        dropout=0., mask_loss=MASK_LOSS, mix_loss=dict(type='MixLoss'))
    head = AVSegFormerHead(num_classes, **{**config, **options})
    for layer in head.encoder:
        nn.init.normal_(layer.self_attn.sampling_offsets.weight, std=0.1)
        nn.init.normal_(layer.self_attn.attention_weights.weight, std=0.1)
    return head


def make_inputs(num, tokens=1, size=SIZE):
    features = [torch.randn(num, c, size // s, size // s) for c, s in zip(CHANNELS, (4, 8, 16, 32))]
    return features, torch.randn(num, tokens, AUDIO), torch.ones(num, 1, dtype=torch.bool)


def make_targets(labelled, num_classes=1):
    masks = torch.randint(0, max(2, num_classes), (len(labelled), SIZE, SIZE), dtype=torch.uint8)
    masks[:, :5] = 255
    masks[~torch.tensor(labelled)] = 255
    return FrameTargets(masks=masks, labelled=torch.tensor(labelled))


# ---- parts ----


def attend(query, key, value):
    """Attention of one query (N, C) to all pixels (N, P, C), head by head of 4."""
    found = []
    for head in range(4):
        part = slice(16 * head, 16 * head + 16)
        score = (key[..., part] @ query[:, part, None])[..., 0] / math.sqrt(16)
        found.append((score.softmax(1)[:, None] @ value[..., part])[:, 0])
    return torch.cat(found, 1)


@pytest.mark.parametrize('num', [1, 3])
def test_channel_mixer_is_one_query_that_attends_to_all_pixels(num):
    mixer = ChannelAttentionMixer(DIMS, 4)
    mask_feature, audio = torch.randn(num, DIMS, 3, 5), torch.randn(num, 1, DIMS)
    w = {name: x.detach() for name, x in mixer.named_parameters()}
    pixels = mask_feature.flatten(2).transpose(1, 2)
    key, value = (pixels @ w['kv_proj.weight'].T).split(DIMS, dim=2)
    context = attend(audio[:, 0] @ w['q_proj.weight'].T, key, value)
    weight = torch.sigmoid(context @ w['proj.weight'].T + w['proj.bias'])[..., None, None]
    torch.testing.assert_close(mixer(mask_feature, audio), mask_feature * weight)


@pytest.mark.parametrize('tokens', [1, 3])
def test_channel_mixer_of_the_equation_has_neither_projections_nor_sigmoid(tokens):
    mixer = ChannelAttentionEquation(4)
    assert not list(mixer.parameters())
    mask_feature, audio = torch.randn(2, DIMS, 3, 5), torch.randn(2, tokens, DIMS)
    pixels = mask_feature.flatten(2).transpose(1, 2)
    weight = attend(audio.mean(1), pixels, pixels)[..., None, None]
    torch.testing.assert_close(mixer(mask_feature, audio), mask_feature + mask_feature * weight)


def test_cross_mixer_lets_pixels_attend_to_the_audio():
    mixer = CrossAttentionMixer(DIMS, 4)
    mask_feature, audio = torch.randn(2, DIMS, 3, 5), torch.randn(2, 7, DIMS)
    pixels = mask_feature.flatten(2).transpose(1, 2)
    found, _ = nn.MultiheadAttention.forward(mixer.attn, pixels, audio, audio)
    torch.testing.assert_close(mixer(mask_feature, audio), mask_feature + found.transpose(1, 2).view(2, DIMS, 3, 5))


def test_perceptron_runs_over_the_similarity_of_queries_and_pixels():
    head = make_head()
    queries, mixed = torch.randn(2, QUERIES, DIMS), torch.randn(2, DIMS, 3, 5)
    similarity = torch.einsum('nqc,nchw->nhwq', queries, mixed)
    expected = MLP.forward(head.mask_mlp, similarity).permute(0, 3, 1, 2)
    torch.testing.assert_close(head._similarity(queries, mixed), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('tokens', [1, 3])
@pytest.mark.parametrize('kind', ['query', 'attention'])
def test_intermediate_masks_come_from_the_mean_attention_of_each_layer(kind, tokens):
    head = make_head(**{**FIRST_VERSION, 'intermediate_masks': kind})
    features, audio, _ = make_inputs(2, tokens)
    outputs = head._segment(features, audio, with_intermediate=True)
    assert len(outputs['intermediate_logits']) == len(head.decoder)

    part, memory = head.intermediate_head, outputs['encoded']
    queries = head.audio_proj(audio).mean(1, keepdim=True) + head.learnable_query.weight
    for layer, logits in zip(head.decoder, outputs['intermediate_logits']):
        x = layer.norm1(queries + nn.MultiheadAttention.forward(layer.self_attn, queries, queries, queries)[0])
        _, weights = nn.MultiheadAttention.forward(layer.cross_attn, x, memory, memory, need_weights=True)
        queries, _ = layer(queries, memory)
        if kind == 'query':
            tokens_of_map = torch.einsum('nqs,nqc->nsc', weights, queries)
        else:
            tokens_of_map = part.attention_proj(weights.transpose(1, 2))
        fine, middle, coarse = (x.transpose(1, 2).reshape(2, DIMS, *shape)
                                for x, shape in zip(tokens_of_map.split([64, 16, 4], dim=1), SHAPES))

        def up(x):
            return F.interpolate(x, scale_factor=2, mode='bilinear')

        x = part.convs[0](up(coarse)) + middle
        x = part.convs[1](up(x)) + fine
        torch.testing.assert_close(logits, part.mask_head(part.convs[2](up(x))), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(queries, outputs['queries'])


def test_learned_queries_are_added_to_audio_queries():
    features, audio, valid = make_inputs(2)
    plain = make_head(num_query_layers=0, num_decoder_layers=0, learnable_queries=False)
    repeated = plain(features, audio, valid)['queries']
    torch.testing.assert_close(repeated, plain.audio_proj(audio).expand(-1, QUERIES, -1))
    head = make_head(num_decoder_layers=0)
    generated = head.query_generator(head.audio_proj(audio))
    torch.testing.assert_close(head(features, audio, valid)['queries'], generated + head.learnable_query.weight)
    assert not torch.allclose(generated[0], generated[1])


def test_initial_weights_are_distributed_as_in_the_released_code():
    head = AVSegFormerHead(
        1, CHANNELS, MASK_LOSS, audio_channels=AUDIO, embed_dims=DIMS, num_queries=QUERIES, num_heads=4)
    attention = head.encoder[0].self_attn
    assert not attention.sampling_offsets.weight.any() and not attention.attention_weights.weight.any()
    assert head.level_embed.std() > 0.5
    for weight, fan in ((head.decoder[0].self_attn.in_proj_weight, 4 * DIMS),
                        (head.learnable_query.weight, QUERIES + DIMS), (head.out_conv[0].weight, 2 * 9 * DIMS)):
        bound = math.sqrt(6 / fan)
        assert 0.9 * bound < weight.abs().max() <= bound


# ---- forward ----


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_frames_do_not_depend_on_each_other_in_evaluation(options):
    head = make_head(3, **options).eval()
    features, audio, valid = make_inputs(3)
    together = head.predict(features, audio, valid, (SIZE, SIZE))
    assert together.shape == (3, 3, SIZE, SIZE)
    for i in range(3):
        alone = head.predict([x[i:i + 1] for x in features], audio[i:i + 1], valid[i:i + 1], (SIZE, SIZE))
        torch.testing.assert_close(together[i:i + 1], alone, atol=1e-5, rtol=1e-4)


def test_padding_frames_get_no_scores_and_do_not_influence_others():
    head = make_head().eval()
    features, audio, _ = make_inputs(4)
    valid = torch.tensor([[True, True], [True, False]])
    scores = head.predict(features, audio, valid, (SIZE, SIZE))
    assert not scores[3].any()
    torch.testing.assert_close(scores[:3], head(features, audio, valid)['logits'][:3], atol=1e-5, rtol=1e-4)


def test_inference_in_chunks_equals_inference_at_once(monkeypatch):
    head = make_head(3).eval()
    inputs = make_inputs(5)
    whole = head.predict(*inputs, (SIZE, SIZE))
    calls, segment = [], head._segment
    monkeypatch.setattr(head, '_segment', lambda features, audio: calls.append(len(audio)) or segment(features, audio))
    monkeypatch.setattr(avsegformer, 'MAX_HIDDEN_PER_CHUNK', 2 * 24 * (SIZE // 4)**2)
    torch.testing.assert_close(head.predict(*inputs, (SIZE, SIZE)), whole, atol=1e-5, rtol=1e-4)
    assert calls == [2, 2, 1]


def test_scores_of_frames_that_strides_do_not_divide_have_the_size_of_the_input():
    head = make_head().eval()
    features = [torch.randn(1, c, h, w) for c, (h, w) in zip(CHANNELS, [(17, 13), (9, 7), (5, 4), (3, 2)])]
    assert head.predict(features, torch.randn(1, 1, AUDIO), torch.ones(1, 1, dtype=torch.bool),
                        (66, 50)).shape == (1, 1, 66, 50)


# ---- losses ----


def test_dice_by_hand():
    logits = torch.tensor([[[[0., math.log(3)], [-math.log(3), 5]]]])  # 1/2, 3/4, 1/4 and an unlabelled pixel
    masks = torch.tensor([[[0, 1], [7, 255]]], dtype=torch.uint8)
    expected = 1 - 2 * (3 / 4 + 1 / 4) / (1 / 4 + 9 / 16 + 1 / 16 + 2 + 0.002)
    assert frame_dice_loss(logits, masks).item() == pytest.approx(expected)


def test_dice_of_an_empty_frame_is_one_without_gradient():
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    masks = torch.zeros(2, 4, 4, dtype=torch.uint8)
    masks[1, 0] = 255
    losses = frame_dice_loss(logits, masks)
    losses.sum().backward()
    assert losses.tolist() == [1, 1] and not logits.grad.any()


@pytest.mark.parametrize('loss', [frame_dice_loss, frame_binary_cross_entropy, frame_cross_entropy])
def test_losses_have_float32_at_least(loss):
    logits = torch.randn(2, 2 if loss is frame_cross_entropy else 1, 8, 8, dtype=torch.float64) * 3
    masks = torch.randint(0, 2, (2, 8, 8), dtype=torch.uint8)
    exact = loss(logits, masks)
    assert exact.dtype == torch.float64 and loss(logits.float(), masks).dtype == torch.float32
    torch.testing.assert_close(loss(logits.bfloat16(), masks), loss(logits.bfloat16().float(), masks))


def test_mean_of_frames_is_that_of_the_labelled():
    losses = torch.tensor([1., 10, 100])
    assert mean_of_frames(losses, torch.tensor([True, False, True])) == 50.5
    assert mean_of_frames(losses, torch.zeros(3, dtype=torch.bool)) == 0


@pytest.mark.parametrize('num_classes', [1, 3])
@pytest.mark.parametrize('labelled', [[True] * 3, [True, False, True]])
def test_losses_are_means_over_the_labelled_frames(num_classes, labelled):
    head = make_head(num_classes, mix_loss=dict(type='MixLoss', loss_weight=0.3))
    inputs, targets = make_inputs(3), make_targets(labelled, num_classes)
    outputs = head(*inputs)
    frames = targets.labelled
    masks, logits = targets.masks[frames], outputs['logits'][frames]
    known = masks != 255

    def dice(logits, foreground):
        p, y = logits[:, 0].sigmoid() * known, (foreground & known).float()
        overlap, area = (p * y).sum((1, 2)), (p**2).sum((1, 2)) + (y**2).sum((1, 2))
        return (1 - 2 * overlap / (area + 0.002)).mean()

    if num_classes == 1:
        expected = dice(logits, masks == 1)
    else:
        expected = torch.stack([F.cross_entropy(x[None], y[None].long(), ignore_index=255)
                                for x, y in zip(logits, masks)]).mean()
    mixed = outputs['mixed_feature'].mean(1, keepdim=True)[frames]
    mixed = F.interpolate(mixed, (SIZE, SIZE), mode='bilinear')
    losses = head.loss(*inputs, targets)
    assert losses.keys() == {'loss_mask', 'loss_mix'}
    torch.testing.assert_close(losses['loss_mask'], expected)
    torch.testing.assert_close(losses['loss_mix'], 0.3 * dice(mixed, masks > 0))


def test_the_first_version_has_a_loss_for_every_decoder_layer():
    head = make_head(**{**FIRST_VERSION, 'intermediate_loss': dict(type='IntermediateMaskLoss', loss_weight=0.2)})
    inputs, targets = make_inputs(2), make_targets([True, True])
    losses = head.loss(*inputs, targets)
    assert losses.keys() == {'loss_mask', 'd0.loss_mask', 'd1.loss_mask'}
    logits = head._segment(*inputs[:2], with_intermediate=True)['intermediate_logits'][1]
    torch.testing.assert_close(losses['d1.loss_mask'], 0.2 * frame_dice_loss(logits, targets.masks).mean())


def test_losses_are_those_that_the_config_names():
    head = make_head(**FIRST_VERSION, mask_loss=dict(type='FrameBinaryCrossEntropyLoss'))
    inputs, targets = make_inputs(2), make_targets([True, True])
    losses = head.loss(*inputs, targets)
    outputs = head._segment(*inputs[:2], with_intermediate=True)
    expected = frame_binary_cross_entropy(outputs['logits'], targets.masks).mean()
    torch.testing.assert_close(losses['loss_mask'], expected)
    of_layer = 0.1 * frame_binary_cross_entropy(outputs['intermediate_logits'][0], targets.masks).mean()
    torch.testing.assert_close(losses['d0.loss_mask'], of_layer)


@pytest.mark.parametrize('options', OPTIONS, ids=str)
@pytest.mark.parametrize('num_classes', [1, 3])
def test_gradients_reach_every_parameter(options, num_classes):
    head = make_head(num_classes, **options)
    losses = head.loss(*make_inputs(2), make_targets([True, False], num_classes))
    sum(losses.values()).backward()
    assert [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize('options', OPTIONS, ids=str)
@pytest.mark.parametrize('num_classes', [1, 3])
def test_batch_without_ground_truth_has_no_loss_and_reaches_every_parameter(options, num_classes):
    head = make_head(num_classes, **options)
    losses = head.loss(*make_inputs(2), make_targets([False, False], num_classes))
    sum(losses.values()).backward()
    assert all(loss == 0 for loss in losses.values())
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())


def test_mixed_precision_trains():
    head = make_head(3, **FIRST_VERSION)
    with torch.autocast('cpu', torch.bfloat16):
        losses = head.loss(*make_inputs(2), make_targets([True, True], 3))
    sum(losses.values()).backward()
    assert all(x.dtype == torch.float32 and x.isfinite() for x in losses.values())
    assert all(p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize('options', [dict(mixer='CHA'), dict(intermediate_masks='AR')], ids=str)
def test_unknown_options_are_refused_with_the_valid_ones(options):
    with pytest.raises(ValueError, match=f'{next(iter(options))} is .*expected .* or None'):
        make_head(**options)


@pytest.mark.parametrize('option', ['intermediate_masks', 'intermediate_loss'])
def test_intermediate_masks_and_their_loss_need_each_other(option):
    with pytest.raises(ValueError, match='intermediate_masks is .* and intermediate_loss is .* expected both or neit'):
        make_head(**{**FIRST_VERSION, option: None})


# ---- configs ----


@pytest.mark.parametrize('backbone', ['r50', 'pvt-v2-b5'])
@pytest.mark.parametrize('version, subset, size', [
    ('', 's4', 224), ('', 'ms3', 224), ('', 'avss', 224), ('', 's4', 512), ('', 'ms3', 512),
    ('-v1', 's4', 224), ('-v1', 'ms3', 224), ('-v1', 'avss', 224)])
def test_configs_hold_the_published_recipe(backbone, version, subset, size):
    path = CONFIGS / f'avsegformer{version}_{backbone}{"-512" if size == 512 else ""}_{subset}.py'
    config = load_config(str(path))
    head, clips = config.model.decode_head, 2 if size == 512 else 4
    assert config.optim_wrapper.optimizer == dict(type='AdamW', lr=2e-5, weight_decay=0.01)
    assert config.param_scheduler == [] and 'clip_grad' not in config.optim_wrapper
    assert config.train_cfg.max_epochs == dict(s4=30, ms3=60, avss=30)[subset]
    assert config.train_dataloader.batch_size == clips
    steps = {step.type: step for step in config.test_dataloader.dataset.pipeline}
    assert tuple(steps['ClipBroadcaster'].transforms[0].scale) == (size, size)
    assert head.num_classes == (71 if subset == 'avss' else 1)
    assert head.get('num_query_layers', 6) == (0 if version else 6)
    assert head.get('intermediate_masks') == ('query' if version else None)
    # Batch norms of a ResNet see all frames.
    assert config.model.independent_frames == (backbone == 'pvt-v2-b5')
    freezing = [hook.epochs for hook in config.custom_hooks if hook.type == 'FreezeBackboneHook']
    assert freezing == dict(s4=[5], ms3=[10], avss=[])[subset]
    assert config.get('find_unused_parameters', False) == (subset != 'avss')
    assert len(config.custom_hooks) > 1 or subset == 'avss'
    if subset == 'avss':
        assert config.test_evaluator.count_padded_frames and config.test_dataloader.dataset.num_frames == 10
        assert config.train_cfg.val_begin == 11 and config.train_cfg.val_interval == 2
    else:
        assert config.test_evaluator.batch_size == clips


@pytest.mark.parametrize('subset', ['s4', 'ms3'])
def test_every_row_of_the_ablation_table_changes_one_part_of_the_first_version(subset):
    base = Config.fromfile(CONFIGS / f'avsegformer-v1_pvt-v2-b5_{subset}.py').to_dict()
    rows = {
        'queries-1': dict(num_queries=1), 'queries-100': dict(num_queries=100), 'queries-200': dict(num_queries=200),
        'no-learnable-queries': dict(learnable_queries=False), 'no-mixer': dict(mixer=None),
        'mixer-cra': dict(mixer='cross'), 'mixer-cha-equation': dict(mixer='channel-equation'),
        'no-reformer': dict(intermediate_masks=None, intermediate_loss=None),
        'reformer-ar': dict(intermediate_masks='attention')}
    for row, change in rows.items():
        path = CONFIGS / f'ablation/avsegformer-v1_pvt-v2-b5_{subset}_{row}.py'
        base_head = base['model']['decode_head']
        expected = {**base, 'model': {**base['model'], 'decode_head': {**base_head, **change}}}
        assert Config.fromfile(path).to_dict() == expected, row
