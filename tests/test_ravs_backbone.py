"""The encoder of RAVS: grouping by density peaks, attention within groups, merging and update of compact tokens."""
import math

import pytest
import torch
from mmengine.registry import init_default_scope
from torch.utils._python_dispatch import TorchDispatchMode

from mmavs.models import AudioGuidedBackbone, PVTv2, StagedBackbone
from mmavs.models.backbones import as_staged
from mmavs.models.backbones.audio_guided import ModalityAlignment, update_compact_tokens
from mmavs.models.layers import (
    empty_groups,
    group_by_density_peaks,
    softmax_within_groups,
    spread_groups,
    sum_groups,
)
from mmavs.registry import MODELS

TINY_PVT = dict(
    type='PVTv2',
    arch=dict(embed_dims=(8, 16, 16, 24), depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), mlp_ratios=(1, 1, 1, 1)),
    drop_path_rate=0.)
TINY_RESNET = dict(type='mmseg.ResNet', depth=18, stem_channels=8, base_channels=8)
BACKBONES = {
    'PVTv2': TINY_PVT,
    'ResNet of mmseg': TINY_RESNET,
    'ResNet of mmpretrain': TINY_RESNET | dict(type='mmpretrain.ResNet', out_indices=(0, 1, 2, 3)),
    'ResNet of mmpretrain with a deep stem': dict(
        type='mmpretrain.ResNetV1c', depth=50, stem_channels=8, base_channels=4, out_indices=(0, 1, 2, 3)),
}
SWITCHES = {
    'grouping and merging': dict(),
    'grouping': dict(merging=False),
    'merging of the whole frame': dict(num_groups=None),
    'neither': dict(num_groups=None, merging=False),
    'formula': dict(compact_update='formula'),
    'gate': dict(gate=True),
    'gate without grouping and merging': dict(gate=True, num_groups=None, merging=False),
    'adaptive number of groups': dict(min_prominence=0.5),
    'formula with an adaptive number of groups': dict(compact_update='formula', min_prominence=0.5),
}


@pytest.fixture(autouse=True)
def _scope_and_seed():
    init_default_scope('mmavs')
    torch.manual_seed(0)


def build_alignment(**options):
    config = dict(
        channels=8, audio_channels=6, num_groups=5, merging=True, num_heads=2, num_neighbors=3, num_updates=2,
        compact_update='decoder', gate=False, min_prominence=0.)
    return ModalityAlignment(**config | options)


def build_backbone(backbone=TINY_PVT, **options):
    config = dict(backbone=backbone, audio_channels=6, num_groups=(9, 6, 4, 2), num_heads=2)
    return AudioGuidedBackbone(**config | options)


def density_peaks_by_loops(tokens, num_groups, num_neighbors, min_prominence=0.):
    """DPC-KNN of one frame (L, C), with loops."""
    x, channels = tokens.double().tolist(), tokens.shape[1]
    length = len(x)
    distance = [[math.dist(a, b) / math.sqrt(channels) for b in x] for a in x]
    density = []
    for row in distance:
        nearest = sorted(row)[:num_neighbors]
        density.append(math.exp(-sum(d * d for d in nearest) / len(nearest)))
    gap = []
    for i in range(length):
        denser = [j for j in range(length) if density[j] > density[i] or (density[j] == density[i] and j < i)]
        gap.append(min(distance[i][j] for j in denser) if denser else max(map(max, distance)))
    prominence = [density[i] * gap[i] for i in range(length)]
    centers = sorted(range(length), key=lambda i: -prominence[i])[:num_groups]
    centers = [i for i in centers if prominence[i] >= min_prominence * max(prominence)]
    groups = [min(range(len(centers)), key=lambda c: distance[i][centers[c]]) for i in range(length)]
    for group, i in enumerate(centers):
        groups[i] = group
    return groups


@pytest.mark.parametrize(('length', 'channels', 'num_groups', 'num_neighbors'), [
    (30, 6, 6, 5), (40, 2, 9, 3), (12, 16, 12, 5), (7, 3, 1, 5), (3, 4, 2, 5), (1, 4, 3, 5)])
def test_grouping_equals_loops(length, channels, num_groups, num_neighbors):
    tokens = torch.randn(4, length, channels)
    expected = [density_peaks_by_loops(frame, num_groups, num_neighbors) for frame in tokens]
    assert group_by_density_peaks(tokens, num_groups, num_neighbors).tolist() == expected


@pytest.mark.parametrize('min_prominence', [0.2, 0.5, 1.])
def test_grouping_with_an_adaptive_number_equals_loops(min_prominence):
    tokens = torch.randn(4, 30, 6)
    expected = [density_peaks_by_loops(frame, 9, 5, min_prominence) for frame in tokens]
    assert group_by_density_peaks(tokens, 9, 5, min_prominence).tolist() == expected


def test_adaptive_number_of_groups_is_the_number_of_clusters():
    # Tight clusters 20 apart: a center of each is prominent, no other token is.
    centers = torch.tensor([[0., 0.], [20., 0.], [0., 20.], [20., 20.]])
    few, many = torch.arange(40) % 2, torch.arange(40) % 4
    tokens = centers[torch.stack((few, many))] + 0.1 * torch.randn(2, 40, 2)
    groups = group_by_density_peaks(tokens, 9, min_prominence=0.3)
    assert [len(set(frame.tolist())) for frame in groups] == [2, 4]
    assert empty_groups(groups, 9).tolist() == [[False] * 2 + [True] * 7, [False] * 4 + [True] * 5]
    # The number that is given is the most.
    assert group_by_density_peaks(tokens, 3, min_prominence=0.3).amax(1).tolist() == [1, 2]


def test_equal_tokens_are_grouped_in_their_order():
    # Two blocks of equal tokens: the first of each is a center, all others are as prominent as each other.
    tokens = torch.tensor([0., 0., 0., 0., 5., 5., 5., 5.])[None, :, None]
    assert group_by_density_peaks(tokens, 2, 3).tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    assert group_by_density_peaks(tokens, 4, 3).tolist() == [density_peaks_by_loops(tokens[0], 4, 3)]


@pytest.mark.parametrize('max_chunk', [1, 100, 333, 2000])
def test_grouping_by_blocks_equals_grouping_at_once(max_chunk):
    tokens = torch.randn(3, 37, 5)
    torch.testing.assert_close(group_by_density_peaks(tokens, 6, max_chunk=max_chunk),
                               group_by_density_peaks(tokens, 6))


def test_grouping_keeps_clusters_together():
    centers = torch.tensor([[0., 0.], [20., 0.], [0., 20.], [20., 20.]])
    member = torch.arange(40) % 4
    groups = group_by_density_peaks(centers[member][None] + torch.randn(1, 40, 2), 4)[0]
    assert len(set(groups.tolist())) == 4
    assert all(len(set(groups[member == cluster].tolist())) == 1 for cluster in range(4))


class LargestTensor(TorchDispatchMode):
    """Record the number of values of the largest tensor that an operation creates."""
    values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        for x in result if isinstance(result, tuple | list) else (result, ):
            if isinstance(x, torch.Tensor):
                self.values = max(self.values, x.untyped_storage().nbytes() // x.element_size())
        return result


def test_grouping_a_frame_of_512x512_at_stride_4_does_not_store_all_distances():
    tokens = torch.randn(1, 128 * 128, 4)
    with LargestTensor() as largest:
        groups = group_by_density_peaks(tokens, 49)
    assert largest.values <= 2**24 < tokens.shape[1]**2 // 15
    assert sorted(set(groups.flatten().tolist())) == list(range(49))


def test_alignment_at_512x512_does_not_store_all_distances():
    align = build_alignment(num_groups=49)
    with LargestTensor() as largest:
        aligned, _ = align(torch.randn(1, 8, 128, 128), torch.randn(1, 1, 6))
        aligned.sum().backward()
    assert largest.values <= 2**24


def test_softmax_within_groups_is_that_of_each_group():
    logits, groups = torch.randn(2, 9, 3) * 50, torch.tensor([[0, 1, 2, 0, 1, 2, 0, 0, 0], [3, 3, 1, 1, 3, 1, 0, 2, 3]])
    weights = softmax_within_groups(logits, groups, 4)
    for n in range(2):
        for group in groups[n].unique():
            members = groups[n] == group
            torch.testing.assert_close(weights[n, members], logits[n, members].softmax(0))


def test_softmax_within_groups_survives_groups_far_below_others():
    weights = softmax_within_groups(torch.tensor([[[500.], [-500.], [-500.]]]), torch.tensor([[0, 1, 1]]), 2)
    assert weights.flatten().tolist() == [1, 0.5, 0.5]


def test_groups_are_summed_and_their_sums_spread_to_the_members():
    x, groups = torch.randn(2, 5, 3), torch.tensor([[0, 1, 1, 0, 1], [2, 2, 2, 0, 2]])
    sums = sum_groups(x, groups, 3)
    torch.testing.assert_close(sums[0], torch.stack((x[0, [0, 3]].sum(0), x[0, [1, 2, 4]].sum(0), torch.zeros(3))))
    torch.testing.assert_close(sums[1], torch.stack((x[1, 3], torch.zeros(3), x[1, [0, 1, 2, 4]].sum(0))))
    back = spread_groups(sums, groups)
    torch.testing.assert_close(back[0], sums[0][groups[0]])
    torch.testing.assert_close(back[1], sums[1][groups[1]])


def test_softmax_and_sums_of_groups_have_the_gradients_of_their_definition():
    groups = torch.tensor([[0, 1, 1, 0, 2], [2, 2, 0, 1, 2]])
    logits, x = (torch.randn(2, 5, c, dtype=torch.double, requires_grad=True) for c in (1, 3))

    def merge(logits, x):
        return spread_groups(sum_groups(softmax_within_groups(logits, groups, 3) * x, groups, 3), groups)

    assert torch.autograd.gradcheck(merge, (logits, x))


def test_update_of_compact_tokens_is_the_formula():
    compact, visual, response = torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5)
    updated = update_compact_tokens(compact, visual, response)
    for n in range(2):
        for p in range(3):
            logits = [float(compact[n, p] @ visual[n, i]) / math.sqrt(4) + float(response[n, i]) for i in range(5)]
            weights = [math.exp(logit) for logit in logits]
            expected = compact[n, p] + sum(w * v for w, v in zip(weights, visual[n])) / sum(weights)
            torch.testing.assert_close(updated[n, p], expected)


def test_update_has_the_gradients_of_the_formula():
    inputs = [torch.randn(*shape, dtype=torch.double, requires_grad=True) for shape in ((2, 3, 4), (2, 5, 4), (2, 5))]
    assert torch.autograd.gradcheck(update_compact_tokens, inputs)


def decoder_layer_by_hand(layer, compact, visual, response):
    """Pre-norm transformer decoder layer of one frame with a bias S on the attention to f_v, by its definition."""

    def attend(attention, query, key, bias):
        width = query.shape[1] // attention.num_heads
        weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        q, k, v = (x @ w.T + b for x, w, b in zip((query, key, key), weights, biases))
        heads = [slice(h * width, (h + 1) * width) for h in range(attention.num_heads)]
        outputs = [(q[:, h] @ k[:, h].T / width**0.5 + bias).softmax(1) @ v[:, h] for h in heads]
        return torch.cat(outputs, 1) @ attention.out_proj.weight.T + attention.out_proj.bias

    normed = layer.norm1(compact)
    compact = compact + attend(layer.self_attn, normed, normed, 0.)
    compact = compact + attend(layer.multihead_attn, layer.norm2(compact), visual, response)
    return compact + layer.linear2(torch.nn.functional.gelu(layer.linear1(layer.norm3(compact))))


@pytest.mark.parametrize('training', [True, False])
def test_decoder_adds_the_response_to_its_attention(training):
    align = build_alignment().train(training)
    compact, visual, response = torch.randn(2, 5, 8), torch.randn(2, 12, 8), torch.randn(2, 12) * 3
    groups = torch.arange(12).remainder(5).expand(2, -1)
    updated = align.update_compact(compact, visual, response, groups)
    for n in range(2):
        expected = compact[n]
        for layer in align.decoder:
            expected = decoder_layer_by_hand(layer, expected, visual[n], response[n])
        torch.testing.assert_close(updated[n], expected, rtol=1e-4, atol=1e-5)


def test_response_decides_what_the_decoder_attends_to():
    # With a response far above all others, the compact tokens take nothing from the other pixels.
    align, response = build_alignment(), torch.zeros(1, 12)
    response[0, 7] = 100.
    compact, visual = torch.randn(1, 5, 8), torch.randn(1, 12, 8)
    groups = torch.arange(12).remainder(5).unsqueeze(0)
    before = align.update_compact(compact, visual, response, groups)
    others = visual.clone()
    others[0, torch.arange(12) != 7] += 1
    torch.testing.assert_close(align.update_compact(compact, others, response, groups), before)
    visual[0, 7, :4] += 1
    assert not torch.allclose(align.update_compact(compact, visual, response, groups), before, atol=1e-3)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('update', ['decoder', 'formula'])
def test_empty_groups_influence_no_other(training, update):
    align = build_alignment(min_prominence=0.5, compact_update=update).train(training)
    compact, visual, response = torch.randn(2, 5, 8), torch.randn(2, 12, 8), torch.randn(2, 12)
    groups = torch.arange(12).remainder(2).expand(2, -1)  # three of five groups are empty
    with torch.no_grad():
        before = align.update_compact(compact, visual, response, groups)[:, :2]
        compact[:, 2:] = torch.randn(2, 3, 8) * 9
        after = align.update_compact(compact, visual, response, groups)[:, :2]
        alone = build_alignment(min_prominence=0., compact_update=update).train(training)
        alone.load_state_dict(align.state_dict())
        alone = alone.update_compact(compact[:, :2], visual, response, groups)
    torch.testing.assert_close(after, before)
    torch.testing.assert_close(alone, before)


@pytest.mark.parametrize('options', SWITCHES.values(), ids=SWITCHES)
def test_alignment_equals_its_steps(options):
    """Step by step, with a loop over frames, groups and heads."""
    align = build_alignment(**options)
    for parameter in align.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    visual_map, audio = torch.randn(2, 8, 3, 4), torch.randn(2, 3, 6)
    found, response = align(visual_map, audio)
    for n in range(2):
        tokens = visual_map[n].flatten(1).T
        f = align.norm(tokens)
        a = align.audio_norm(align.audio_proj(audio[n]).mean(0))
        groups = torch.zeros(12, dtype=torch.long)
        if align.num_groups is not None:
            groups = torch.tensor(density_peaks_by_loops(f.detach(), 5, 3, align.min_prominence))
        q, k, v = align.q_proj(a), align.k_proj(f), align.v_proj(f)
        halves = slice(0, 4), slice(4, 8)
        logits = torch.stack([k[:, half] @ q[half] / 2 for half in halves], 1)
        torch.testing.assert_close(response[n].flatten(), logits.mean(1))
        update = torch.empty(12, 8)
        for p in groups.unique():
            i = groups == p
            context = torch.cat([logits[i, h].softmax(0) @ v[i][:, half] for h, half in enumerate(halves)])
            group_audio = a + align.sound_proj(context)
            for h, half in enumerate(halves):
                update[i, half] = group_audio[half] * (logits[i, h].sigmoid()[:, None] if align.gate else 1)
        added = align.token_proj(update)
        if align.merging:
            f = f + added
            s = logits.mean(1)
            compact = torch.stack([s[groups == p].softmax(0) @ f[groups == p] for p in range(groups.max() + 1)])
            for step in range(2):
                if align.decoder is None:
                    compact = update_compact_tokens(compact[None], f[None], s[None])[0]
                else:
                    compact = decoder_layer_by_hand(align.decoder[step], compact, f, s)
            added = added + align.compact_proj(align.compact_norm(compact))[groups]
        torch.testing.assert_close(found[n].flatten(1).T, tokens + added, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('options', SWITCHES.values(), ids=SWITCHES)
def test_gradients_reach_pixels_audio_and_every_parameter(options):
    align = build_alignment(**options)
    visual_map, audio = torch.randn(2, 8, 4, 5, requires_grad=True), torch.randn(2, 3, 6, requires_grad=True)
    aligned, _ = align(visual_map, audio)
    (aligned * torch.randn_like(aligned)).sum().backward()
    assert (visual_map.grad != 0).all() and (audio.grad != 0).all()
    assert [name for name, p in align.named_parameters() if not (p.grad != 0).any()] == []


def test_groups_are_independent_without_merging():
    # A change of one object does not influence others, unless compact tokens attend to the whole frame.
    align = build_alignment(num_groups=2, merging=False).eval()
    visual_map, audio = torch.randn(1, 8, 1, 8) * 0.05, torch.randn(1, 1, 6)
    visual_map[..., 4:] += torch.tensor([3., -3.] * 4)[:, None, None]
    visual_map[..., :4] += torch.tensor([-3.] * 4 + [3.] * 4)[:, None, None]
    before = align(visual_map, audio)[0]
    visual_map[:, :, 0, 7] += 0.05 * torch.randn(8)
    after = align(visual_map, audio)[0]
    torch.testing.assert_close(after[..., :4], before[..., :4], rtol=0, atol=0)
    assert (after[..., 4:7] != before[..., 4:7]).any()


@pytest.mark.parametrize('backbone', BACKBONES.values(), ids=BACKBONES)
def test_backbone_without_ama_updates_is_the_plain_backbone(backbone):
    guided = build_backbone(backbone).eval()
    for align in guided.ama:
        for proj in (align.token_proj, align.compact_proj):
            torch.nn.init.zeros_(proj.weight)
    frames, audio = torch.randn(2, 3, 64, 96), torch.randn(2, 1, 6)
    pyramid = guided(frames, audio)
    for found, expected in zip(pyramid, guided.backbone(frames), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('backbone', BACKBONES.values(), ids=BACKBONES)
def test_every_stage_gets_the_audio(backbone):
    guided = build_backbone(backbone).eval()
    frames, audio = torch.randn(2, 3, 64, 96), torch.randn(2, 1, 6)
    pyramid = guided(frames, audio)
    assert [x.shape for x in pyramid] == [
        (2, c, 64 // s, 96 // s) for c, s in zip(guided.embed_dims, (4, 8, 16, 32), strict=True)]
    assert [r.shape for r in pyramid.responses] == [x[:, 0].shape for x in pyramid]
    other = guided(frames, torch.cat((audio[:1], torch.randn(1, 1, 6))))
    for x, y in zip((*pyramid, *pyramid.responses), (*other, *other.responses)):
        torch.testing.assert_close(x[0], y[0])  # each frame has its own audio
        assert not torch.allclose(x[1], y[1], rtol=1e-6, atol=1e-7)


def test_grouping_is_deterministic():
    guided = build_backbone()
    frames, audio = torch.randn(1, 3, 64, 64), torch.randn(1, 1, 6)
    state = torch.get_rng_state()
    first, second = guided.train()(frames, audio), guided.eval()(frames, audio)
    assert torch.equal(torch.get_rng_state(), state)
    for x, y in zip(first, second):
        torch.testing.assert_close(x, y, rtol=0, atol=0)


def test_stages_run_one_at_a_time_equal_the_backbone():
    backbone = PVTv2(**{key: value for key, value in TINY_PVT.items() if key != 'type'}).eval()
    x = frames = torch.randn(1, 3, 64, 64)
    for i, expected in enumerate(backbone(frames)):
        x = backbone.run_stage(i, x)
        torch.testing.assert_close(x, expected, rtol=0, atol=0)


@pytest.mark.parametrize('name, out_indices', [
    ('tf_efficientnet_lite0', (1, 2, 3, 4)),  # a class of its own in timm
    ('tf_efficientnet_lite0', (0, 2, 4)),
    ('resnet18', (1, 2, 3, 4)),
    ('test_convnext', (0, 1, 2, 3)),
])
def test_stages_of_a_cnn_of_timm_run_one_at_a_time_equal_the_backbone(name, out_indices):
    pytest.importorskip('timm', reason='the optional library timm is not installed')
    backbone = MODELS.build(
        dict(type='mmpretrain.TIMMBackbone', model_name=name, features_only=True, out_indices=out_indices))
    backbone.eval()
    stages = as_staged(backbone)
    x = frames = torch.randn(1, 3, 64, 64)
    for i, (channels, expected) in enumerate(zip(stages.embed_dims, backbone(frames), strict=True)):
        x = stages.run_stage(i, x)
        assert x.shape[1] == channels
        torch.testing.assert_close(x, expected, rtol=0, atol=0)


def test_custom_backbone_offers_its_stages_by_two_members():
    class Pooling(torch.nn.Module):
        embed_dims = (3, 3)

        def run_stage(self, index, x):
            return torch.nn.functional.avg_pool2d(x, 4 if index == 0 else 2)

    assert isinstance(Pooling(), StagedBackbone) and not isinstance(torch.nn.Identity(), StagedBackbone)
    MODELS.register_module(module=Pooling)
    try:
        guided = build_backbone(dict(type='Pooling'), num_groups=(3, 2), num_heads=1)
    finally:
        MODELS.module_dict.pop('Pooling')
    pyramid = guided(torch.rand(2, 3, 64, 64), torch.rand(2, 1, 6))
    assert [x.shape for x in pyramid] == [(2, 3, 16, 16), (2, 3, 8, 8)]


def test_unsuitable_backbones_and_groups_are_refused():
    with pytest.raises(ValueError, match='backbone is a SwinTransformer, whose stages cannot be run one at a time'):
        build_backbone(dict(type='SwinTransformer', embed_dims=32, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)))
    with pytest.raises(ValueError, match=r'num_groups is \(9, 6\), expected the groups of 4 stages'):
        build_backbone(num_groups=(9, 6))
    with pytest.raises(ValueError, match=r'ResNet with out_indices=\(3,\): set out_indices=\(0, 1, 2, 3\)'):
        build_backbone(dict(type='mmpretrain.ResNet', depth=18))
    with pytest.raises(ValueError, match="compact_update is 'layers', expected 'decoder' or 'formula'"):
        build_backbone(compact_update='layers')
    with pytest.raises(ValueError, match=r'min_prominence is 30, expected a fraction in \[0, 1\]'):
        build_backbone(min_prominence=30)
    assert MODELS.get('AudioGuidedBackbone').uses_audio
