"""TPAVI: audio-visual interaction, padding, decoder and losses, compared with literal references."""
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import nn

from mmavs.apis import convert_checkpoint, init_model
from mmavs.checkpoint.converters.tpavi import convert_tpavi, target_config
from mmavs.models.decode_heads.tpavi import TPAVI, FrameGroups, ResidualConvUnit, TPAVIHead
from mmavs.models.losses import (
    AudioVisualMatchingLoss,
    foreground_features,
    frame_binary_cross_entropy,
    frame_cross_entropy,
)
from mmavs.structures import FrameTargets
from mmavs.utils.config import load_config

CONFIGS = Path(__file__).parents[1] / 'configs/tpavi'
CHANNELS, AUDIO, DIMS = (4, 6, 8, 10), 12, 16
SIZE = 64
MASK_LOSS = dict(
    type='MaskLoss',
    foreground=dict(type='FrameBinaryCrossEntropyLoss'),
    classes=dict(type='FrameCrossEntropyLoss'))


def make_head(num_classes=1, **kwargs):
    """A head with random TPAVI blocks; initial ones only normalize the map."""
    torch.manual_seed(0)
    head = TPAVIHead(num_classes, CHANNELS, MASK_LOSS, audio_channels=AUDIO, embed_dims=DIMS, **kwargs)
    for block in head.tpavi.values():
        for x in (block.batch_norm.running_mean, block.batch_norm.weight.data, block.batch_norm.bias.data):
            x.normal_()
        block.batch_norm.running_var.uniform_(0.5, 2)
    return head


def make_inputs(valid, seed=1):
    """Features, audio and valid of clips whose frames exist as ``valid`` (B, T) says."""
    generator = torch.Generator().manual_seed(seed)
    valid = torch.as_tensor(valid)
    num = valid.numel()
    features = [
        torch.randn(num, c, SIZE // s, SIZE // s, generator=generator) for c, s in zip(CHANNELS, (4, 8, 16, 32))]
    return features, torch.rand(num, 1, AUDIO, generator=generator), valid


def written_out(block, visual, audio, groups):
    """TPAVI with the full attention matrix of each group of frames, by the paper's equation."""
    projected = block.align_channel(audio)
    update = torch.empty_like(visual)
    for frames in groups:
        positions = visual[frames].permute(0, 2, 3, 1).flatten(0, 2)
        repeated = projected[frames].repeat_interleave(visual[0, 0].numel(), dim=0)
        alpha = block.theta(positions) @ block.phi(repeated).t() / len(positions)
        y = block.mu(alpha @ block.g(positions))
        update[frames] = y.view(len(frames), *visual.shape[2:], -1).permute(0, 3, 1, 2)
    norm = block.batch_norm
    if block.training:
        mean, var = update.mean((0, 2, 3), keepdim=True), update.var((0, 2, 3), keepdim=True, unbiased=False)
    else:
        mean, var = norm.running_mean[:, None, None], norm.running_var[:, None, None]
    z = (update - mean) / (var + 1e-5).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None] + visual
    return F.layer_norm(z.permute(0, 2, 3, 1), (z.shape[1], ), block.norm.weight, block.norm.bias).permute(0, 3, 1, 2)


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('valid, groups', [
    ([[True] * 5, [True] * 5], [range(5), range(5, 10)]),
    ([[True] * 10], [range(5), range(5, 10)]),
    ([[True] * 7], [range(5), range(5, 7)]),
    ([[True] * 3], [range(3)]),
    # What the released code computes where the second group is padding; it enters the statistics of training.
    ([[True] * 5 + [False] * 5], [range(5), range(5, 10)]),
])
def test_interaction_equals_the_full_attention_matrix(valid, groups, training):
    head = make_head().train(training)
    block, valid = head.tpavi['1'], torch.tensor(valid)
    torch.manual_seed(2)
    visual, audio = torch.randn(valid.numel(), DIMS, 3, 4), torch.rand(valid.numel(), AUDIO)
    expected = written_out(block, visual, audio, [list(frames) for frames in groups])
    found, projected = block(visual, audio, FrameGroups(valid, 5, visual.device))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(projected, block.align_channel(audio))


def test_padding_inside_a_group_counts_neither_as_audio_nor_as_position():
    block = make_head().tpavi['0'].eval()
    visual, audio = torch.randn(5, DIMS, 2, 2), torch.rand(5, AUDIO)
    valid = torch.tensor([[True, False, True, True, False]])
    found, _ = block(visual, audio, FrameGroups(valid, 5, visual.device))
    expected = written_out(block, visual, audio, [[0, 2, 3]])
    torch.testing.assert_close(found[[0, 2, 3]], expected[[0, 2, 3]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('existing', [3, 5, 7, 10])
def test_padding_frames_change_nothing(existing):
    head = make_head(num_classes=3).eval()
    clip = make_inputs([[True] * existing])
    noise = make_inputs([[True] * 10], seed=3)
    features = [torch.cat([x, y[existing:]]) for x, y in zip(clip[0], noise[0])]
    audio = torch.cat([clip[1], 5 * noise[1][existing:]])
    valid = torch.arange(10)[None] < existing
    padded, alone = head(features, audio, valid), head(*clip)
    torch.testing.assert_close(padded['logits'][:existing], alone['logits'], rtol=1e-4, atol=1e-5)
    for name in ('visual_maps', 'projected_audio'):
        for x, y in zip(padded[name], alone[name]):
            torch.testing.assert_close(x[:existing], y, rtol=1e-4, atol=1e-5)


def test_groups_of_five_frames_are_independent():
    head = make_head().eval()
    features, audio, valid = make_inputs([[True] * 7])
    before = head(features, audio, valid)['logits']
    audio[6] += 1
    change = (head(features, audio, valid)['logits'] - before).abs().amax((1, 2, 3))
    assert (change[:5] == 0).all() and (change[5:] > 0).all()


def test_frames_of_different_clips_are_independent():
    head = make_head().eval()
    features, audio, valid = make_inputs([[True] * 3, [True] * 3])
    together = head(features, audio, valid)['logits']
    for at in (slice(0, 3), slice(3, 6)):
        alone = head([x[at] for x in features], audio[at], valid[:1])['logits']
        torch.testing.assert_close(together[at], alone, rtol=1e-4, atol=1e-5)


def test_initial_interaction_normalizes_the_map():
    block = TPAVI(DIMS, AUDIO, audio_bias=True)
    x, valid = torch.randn(4, DIMS, 3, 3), torch.ones(1, 4, dtype=torch.bool)
    z, _ = block(x, torch.rand(4, AUDIO), FrameGroups(valid, 5, x.device))
    torch.testing.assert_close(z, F.layer_norm(x.permute(0, 2, 3, 1), (DIMS, )).permute(0, 3, 1, 2))


def test_only_chosen_stages_get_the_audio():
    head = make_head(stages=(2, 3))
    assert set(head.tpavi) == {'2', '3'} and len(head(*make_inputs([[True] * 2]))['projected_audio']) == 2
    visual_only = make_head(stages=()).eval()
    features, audio, valid = make_inputs([[True] * 2])
    assert torch.equal(visual_only.predict(features, audio, valid, (SIZE, SIZE)),
                       visual_only.predict(features, 0 * audio, valid, (SIZE, SIZE)))


def test_silence_has_an_effect_only_through_the_bias():
    for audio_bias in (True, False):
        head = make_head(audio_bias=audio_bias).eval()
        features, audio, valid = make_inputs([[True] * 5])
        outputs = head(features, 0 * audio, valid)
        assert outputs['logits'].isfinite().all()
        assert all(x.any() == audio_bias for x in outputs['projected_audio'])


def test_skip_of_a_residual_unit_is_rectified():
    unit = ResidualConvUnit(2)
    nn.init.zeros_(unit.conv2.weight)
    nn.init.zeros_(unit.conv2.bias)
    x = torch.randn(1, 2, 4, 4)
    before = x.clone()
    assert torch.equal(unit(x), x.relu()) and torch.equal(x, before)


def test_maps_are_upsampled_with_aligned_corners():
    decoder = make_head().decoder
    maps = [torch.zeros(1, DIMS, SIZE // s, SIZE // s) for s in (4, 8, 16, 32)]
    for module in decoder.modules():
        if isinstance(module, ResidualConvUnit):
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
    maps[3][0, 0] = torch.tensor([[1., 2], [3, 4]])
    captured = []
    decoder.output_conv[0].register_forward_pre_hook(lambda module, args: captured.append(args[0]))
    assert decoder(maps).shape == (1, 1, SIZE, SIZE)
    expected = maps[3][:1, :1]
    for _ in range(4):
        expected = F.interpolate(expected, scale_factor=2, mode='bilinear', align_corners=True)
    torch.testing.assert_close(captured[0][:, :1], expected)
    assert captured[0][0, 0, -1, -1] == 4


def targets_of(num, labelled, num_classes=2, seed=4):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(0, num_classes, (num, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    masks[~torch.tensor(labelled)] = 255
    return FrameTargets(masks, torch.tensor(labelled))


@pytest.mark.parametrize('num_classes', [1, 3])
def test_loss_is_that_of_the_labelled_frames_of_the_whole_output(num_classes):
    avm_loss = dict(type='AudioVisualMatchingLoss', reduction='mean')
    head = make_head(num_classes, avm_loss=avm_loss)
    inputs = make_inputs([[True] * 5, [True] * 5])
    targets = targets_of(10, [True] + [False] * 5 + [True] * 2 + [False] * 2, max(2, num_classes))
    losses, outputs = head.loss(*inputs, targets), head(*inputs)
    frames = [0, 6, 7]
    logits, masks = outputs['logits'][frames], targets.masks[frames]
    if num_classes == 1:
        expected = nn.BCELoss()(logits.sigmoid(), masks[:, None].float())
    else:
        expected = nn.CrossEntropyLoss(reduction='none')(logits, masks.long()).mean((1, 2)).mean()
    torch.testing.assert_close(losses['loss_mask'], expected)
    terms = []
    for visual_map, projected in zip(outputs['visual_maps'], outputs['projected_audio']):
        v = foreground_features(logits, visual_map[frames], masks).softmax(1).log()
        a = projected[frames].softmax(1)
        terms.append((a * (a.log() - v)).sum(1).mean())
    torch.testing.assert_close(losses['loss_avm'], 0.5 * sum(terms) / 4)


def test_unlabelled_pixels_do_not_count():
    masks = torch.tensor([[[1, 0], [255, 255]], [[1, 255], [1, 0]]], dtype=torch.uint8)
    binary = torch.tensor([[[[2., 3], [100, -100]]], [[[0, 9], [-1, 0]]]])

    def bce(x, y):
        return math.log1p(math.exp(-x if y else x))

    frames = [(bce(2, 1) + bce(3, 0)) / 2, (bce(0, 1) + bce(-1, 1) + bce(0, 0)) / 3]
    assert frame_binary_cross_entropy(binary, masks).tolist() == pytest.approx(frames)
    # Of two classes, with the background's score 0, the cross-entropy is the same.
    classes = torch.cat([torch.zeros_like(binary), binary], 1)
    assert frame_cross_entropy(classes, masks).tolist() == pytest.approx(frames)


def test_foreground_features_are_the_mean_of_the_map_times_the_foreground():
    visual_map = torch.tensor([[[[1., 2], [3, 4]], [[0, 0], [8, 0]]]])
    masks = torch.zeros(1, 4, 4, dtype=torch.uint8)
    logits = torch.zeros(1, 1, 4, 4)
    logits[..., :2, :2] = torch.tensor([[2., 4], [6, 8]])
    m = 1 / (1 + math.exp(-5))  # pooled first
    found = foreground_features(logits, visual_map, masks)
    torch.testing.assert_close(found, torch.tensor([[(m * 1 + 0.5 * 9) / 4, 0.5 * 8 / 4]]))

    classes = torch.zeros(1, 3, 4, 4)
    classes[:, 0] = 1
    classes[:, 2, :2, 0] = 2  # half of the first cell
    torch.testing.assert_close(foreground_features(classes, visual_map, masks), torch.tensor([[0.5 / 4, 0.]]))

    masks[..., 2:, :] = 255  # batch padding
    found = foreground_features(logits, visual_map, masks)
    torch.testing.assert_close(found, torch.tensor([[(m * 1 + 0.5 * 2) / 2, 0.]]))


# Two frames with foreground features (1, 0) and (0, 2), and a third with (3, 3).
VISUAL = torch.tensor([[1., 0], [0, 2], [3, 3]])
AUDIO_FEATURES = torch.tensor([[0., 1], [0, 0], [100, 2]])


def matching_loss(**kwargs):
    loss = AudioVisualMatchingLoss(loss_weight=2.0, **kwargs)
    # An infinite logit makes the map its own foreground.
    maps = [VISUAL[..., None, None], VISUAL[..., None, None]]
    masks = torch.zeros(3, 2, 2, dtype=torch.uint8)
    return loss(torch.full((3, 1, 2, 2), torch.inf), maps, [AUDIO_FEATURES, AUDIO_FEATURES], masks)


def divergence(p, q):
    p, q = (torch.tensor(x, dtype=torch.float64).softmax(0) for x in (p, q))
    return float((p * (p / q).log()).sum())


def test_matching_loss_is_the_divergence_of_visual_from_audio_features():
    terms = [divergence(a, v) for a, v in zip(AUDIO_FEATURES.tolist(), VISUAL.tolist())]
    assert matching_loss().item() == pytest.approx(2 * sum(terms), rel=1e-5)
    assert matching_loss(reduction='mean').item() == pytest.approx(2 * sum(terms) / 3, rel=1e-5)


def test_euclidean_matching_loss():
    distances = [math.sqrt(2), 2, math.hypot(97, 1)]
    assert matching_loss(distance='euclidean').item() == pytest.approx(2 * sum(distances), rel=1e-5)


def test_nearest_audio_is_that_of_another_frame_at_any_distance():
    v = VISUAL.tolist()
    # Frames 0 and 1 are nearest to each other; the third, 100 away from all, is nearest to the first.
    terms = [divergence(v[1], v[0]), divergence(v[0], v[1]), divergence(v[0], v[2])]
    assert matching_loss(nearest_audio=True).item() == pytest.approx(2 * sum(terms), rel=1e-5)


def test_single_frame_has_no_nearest_audio():
    loss = AudioVisualMatchingLoss(nearest_audio=True)
    found = loss(torch.zeros(1, 1, 4, 4), [torch.rand(1, 3, 2, 2)], [torch.rand(1, 3)],
                 torch.zeros(1, 4, 4, dtype=torch.uint8))
    assert found == 0


@pytest.mark.parametrize('num_classes, learns', [(1, True), (3, False)])
def test_matching_loss_trains_the_mask_of_a_single_channel_only(num_classes, learns):
    logits = torch.randn(2, num_classes, 8, 8, requires_grad=True)
    visual_map = torch.rand(2, 4, 4, 4, requires_grad=True)
    loss = AudioVisualMatchingLoss()(logits, [visual_map], [torch.rand(2, 4)], torch.zeros(2, 8, 8, dtype=torch.uint8))
    loss.backward()
    assert (logits.grad is not None and bool(logits.grad.any())) == learns and visual_map.grad.any()


@pytest.mark.parametrize('avm_loss', [
    dict(type='AudioVisualMatchingLoss'),
    dict(type='AudioVisualMatchingLoss', reduction='mean', distance='euclidean'),
    dict(type='AudioVisualMatchingLoss', nearest_audio=True),
])
@pytest.mark.parametrize('num_classes', [1, 3])
def test_batch_without_ground_truth_has_no_loss_and_reaches_every_parameter(num_classes, avm_loss):
    head = make_head(num_classes, avm_loss=avm_loss)
    losses = head.loss(*make_inputs([[True] * 2]), targets_of(2, [False, False]))
    sum(losses.values()).backward()
    assert all(loss == 0 for loss in losses.values())
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())


def test_gradients_reach_every_parameter():
    head = make_head(3, avm_loss=dict(type='AudioVisualMatchingLoss'))
    losses = head.loss(*make_inputs([[True] * 5]), targets_of(5, [True] * 5, 3))
    sum(losses.values()).backward()
    assert [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize('arguments, message', [
    (dict(in_channels=(1, 2)), 'in_channels is'),
    (dict(in_channels=CHANNELS, stages=(1, 4)), r'stages is \(1, 4\)'),
    (dict(in_channels=CHANNELS, stages=(), avm_loss=dict(type='AudioVisualMatchingLoss')), 'stages is empty'),
])
def test_invalid_options_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TPAVIHead(1, mask_loss=MASK_LOSS, **arguments)


def published_weights(head, backbone):
    """State dict of a model of AVSBench, in its names, that holds the weights of a head and a backbone."""
    weights = {f'encoder_backbone.{name}': x for name, x in backbone.state_dict().items()}
    cubes = ('theta.weight', 'phi.weight', 'g.weight', 'mu.weight')
    names = {'mu.': 'W_z.0.', 'batch_norm.': 'W_z.1.', 'norm.': 'norm_layer.'}
    for i, fusion in enumerate(head.fusion, start=1):
        weights |= {f'conv{i}.conv2d_list.{name}': x for name, x in fusion.state_dict().items()}
    for stage, block in head.tpavi.items():
        for name, x in block.state_dict().items():
            theirs = next((new + name.removeprefix(old) for old, new in names.items() if name.startswith(old)), name)
            weights[f'tpavi_b{int(stage) + 1}.{theirs}'] = x[..., None, None, None] if name in cubes else x
    for unit, modules in enumerate((head.decoder.lateral, head.decoder.refine), start=1):
        for i, module in enumerate(modules, start=1):
            weights |= {f'path{i}.resConfUnit{unit}.{name}': x for name, x in module.state_dict().items()}
    unused = {f'path4.resConfUnit1.{name}': x for name, x in ResidualConvUnit(DIMS).state_dict().items()}
    return weights | unused | {f'output_conv.{name}': x for name, x in head.decoder.output_conv.state_dict().items()}


@pytest.fixture()
def small(tmp_path):
    """A small model, its config with a file of VGGish, and its weights in the names of AVSBench."""
    audio_backbone = dict(type='VGGish', output='embedding', channels=(2, ) * 6, hidden_dims=8)
    arch = dict(embed_dims=CHANNELS, depths=(1, ) * 4, mlp_ratios=(1, ) * 4, num_heads=(1, 1, 1, 1))
    config = Config(dict(default_scope='mmavs', model=dict(
        type='AudioVisualSegmentor',
        backbone=dict(type='PVTv2', arch=arch),
        audio_backbone=audio_backbone,
        decode_head=dict(
            type='TPAVIHead', num_classes=1, in_channels=CHANNELS, embed_dims=DIMS, mask_loss=MASK_LOSS))))
    model = init_model(config)
    config.model.audio_backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'vggish.pth'))
    config.dump(str(tmp_path / 'config.py'))
    torch.save(published_weights(model.decode_head, model.backbone), tmp_path / 'avsbench.pth')
    return model, tmp_path


def test_published_weights_are_converted_and_completed_by_vggish(small):
    model, directory = small
    torch.save(model.audio_backbone.state_dict(), directory / 'vggish.pth')
    paths = directory / 'avsbench.pth', directory / 'ours.pth', directory / 'config.py'
    conversion = convert_checkpoint('tpavi', *paths)
    found = init_model(directory / 'config.py', directory / 'ours.pth').state_dict()
    assert all(torch.equal(found[name], x) for name, x in model.state_dict().items())
    assert set(conversion.added.values()) == {str(directory / 'vggish.pth')}
    assert {name.rpartition('.')[0] for name in conversion.dropped} == {
        'path4.resConfUnit1.conv1', 'path4.resConfUnit1.conv2'}


def test_missing_vggish_is_refused(small):
    _, directory = small
    with pytest.raises(FileNotFoundError, match='avsbench.pth holds no audio_backbone.*vggish.pth: no such'):
        convert_checkpoint('tpavi', directory / 'avsbench.pth', directory / 'ours.pth', directory / 'config.py')


def test_unknown_key_of_a_published_file_is_an_error(small):
    model, _ = small
    weights = published_weights(model.decode_head, model.backbone) | {'tpavi_b1.other.weight': torch.zeros(1)}
    with pytest.raises(ValueError, match='1 of .* keys are not known .tpavi_b1.other.weight'):
        convert_tpavi(weights)


@pytest.mark.parametrize('backbone', ['r50', 'pvt-v2-b5'])
@pytest.mark.parametrize('subset, epochs, num_classes', [('s4', 15, 1), ('ms3', 30, 1), ('avss', 60, 71)])
def test_configs_hold_the_published_recipe(backbone, subset, epochs, num_classes):
    config = load_config(str(CONFIGS / f'tpavi_{backbone}_{subset}.py'))
    head = config.model.decode_head
    assert config.optim_wrapper.optimizer == dict(type='Adam', lr=1e-4) and config.param_scheduler == []
    assert config.train_cfg.max_epochs == epochs and config.train_dataloader.batch_size == 4
    assert head.num_classes == num_classes and head.get('audio_bias', True) == (subset != 'avss')
    assert not config.model.get('independent_frames')
    reduction = {'s4': None, 'ms3': 'sum', 'avss': 'mean'}[subset]
    assert (head.avm_loss.get('reduction', 'sum') if head.get('avm_loss') else None) == reduction
    if subset == 'avss':
        assert config.test_evaluator.count_padded_frames and config.test_dataloader.dataset.num_frames == 10
        assert config.train_cfg.val_begin == 15
    else:
        assert config.test_evaluator.batch_size == 4


def test_one_output_channel_needs_the_name_of_a_config():
    weights = {'decode_head.decoder.output_conv.4.weight': torch.zeros(1, 32, 1, 1)}
    with pytest.raises(ValueError, match=r'--config configs/tpavi/tpavi_pvt-v2-b5_s4.py or .*_ms3.py'):
        target_config(weights)
    weights['decode_head.decoder.output_conv.4.weight'] = torch.zeros(71, 32, 1, 1)
    assert target_config(weights) == 'tpavi/tpavi_pvt-v2-b5_avss.py'
