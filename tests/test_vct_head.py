"""The head of VCT: query generation, decoder, losses and scores."""
import pytest
import torch
from mmengine.registry import init_default_scope

from mmavs.models import MSDeformAttnPixelDecoder, VCTHead
from mmavs.models.decode_heads.vct import EarlyFusion, PixelGrouping
from mmavs.models.layers.masked_attention_decoder import inside_masks
from mmavs.structures import FrameTargets

NUM_FRAMES, NUM_CLASSES, NUM_EVENTS, NUM_QUERIES = 2, 3, 4, 6
INPUT_SIZE = (64, 96)
CHANNELS = (4, 8, 12, 16)
AUDIO_CENTRIC = dict(query_source='audio', attend_audio=False, grouping=None, num_prototypes=None)
FUSIONS = ('multiply', 'concatenate', 'add')
# With 32 channels the pixel decoder's GroupNorm would remove everything that is the same at every pixel.
FUSED = [dict(early_fusion=operation, attend_audio=False, embed_dims=64) for operation in FUSIONS]
ABLATIONS = [AUDIO_CENTRIC, dict(contrast='queries'), *FUSED, *(options | dict(attend_audio=True) for options in FUSED)]


@pytest.fixture(autouse=True)
def _scope_and_seed():
    init_default_scope('mmavs')
    torch.manual_seed(0)


def build_head(embed_dims=32, **options):
    config = dict(
        num_classes=NUM_CLASSES,
        input_size=INPUT_SIZE,
        audio_channels=8,
        pixel_decoder=dict(
            type='MSDeformAttnPixelDecoder', in_channels=CHANNELS, embed_dims=embed_dims, num_layers=2, num_heads=4,
            ffn_dims=16),
        criterion=dict(type='SetCriterion', num_points=64),
        pac_loss=dict(type='PACLoss'),
        audio_hidden_dims=16,
        num_queries=NUM_QUERIES,
        num_heads=4,
        ffn_dims=16,
        num_prototypes=NUM_EVENTS)
    if options.get('num_prototypes', NUM_EVENTS) is None:
        options.setdefault('pac_loss', None)
    return VCTHead(**{**config, **options})


def make_inputs(size=INPUT_SIZE, num=NUM_FRAMES):
    features = tuple(torch.randn(num, c, size[0] // s, size[1] // s) for c, s in zip(CHANNELS, (4, 8, 16, 32)))
    return features, torch.randn(num, 24, 8), torch.ones(num, 1, dtype=torch.bool)


def make_targets():
    masks = torch.zeros(NUM_FRAMES, *INPUT_SIZE, dtype=torch.uint8)
    masks[0, :30, :40] = 1
    masks[1, 20:, 30:] = 2
    return FrameTargets(
        masks=masks,
        labelled=torch.ones(NUM_FRAMES, dtype=torch.bool),
        events=torch.randint(0, 2, (NUM_FRAMES, NUM_EVENTS)).float())


def break_symmetry(head):
    """Randomize the deformable attention, whose initial state does not depend on its queries."""
    for layer in head.pixel_decoder.layers:
        torch.nn.init.normal_(layer.self_attn.sampling_offsets.weight, std=0.1)
        torch.nn.init.normal_(layer.self_attn.attention_weights.weight, std=0.1)


@pytest.mark.parametrize('options', [
    dict(grouping=grouping, num_prototypes=num) for grouping in ('hard', 'soft', 'cross-attention', None)
    for num in (NUM_EVENTS, None)
] + ABLATIONS, ids=str)
def test_every_parameter_gets_a_gradient(options):
    head = build_head(**options)
    break_symmetry(head)
    losses = head.loss(*make_inputs(), make_targets())
    assert ('loss_pac' in losses) == (options.get('num_prototypes', NUM_EVENTS) is not None)
    sum(losses.values()).backward()
    without = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize('options', ABLATIONS, ids=str)
def test_batch_without_labels_gives_every_parameter_a_zero_gradient(options):
    head, targets = build_head(**options), make_targets()
    targets.masks.fill_(255)
    targets.labelled.fill_(False)
    loss = sum(head.loss(*make_inputs(), targets).values())
    loss.backward()
    assert loss == 0
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())


def test_losses_cover_all_predictions():
    losses = build_head(num_layers=3).loss(*make_inputs(), make_targets())
    prefixes = ['', 'd0.', 'd1.', 'd2.']
    expected = {f'{prefix}loss_{term}' for prefix in prefixes for term in ('cls', 'mask', 'dice')} | {'loss_pac'}
    assert set(losses) == expected
    assert all(value.isfinite() for value in losses.values())


def test_prototype_loss_counts_labelled_frames_only():
    head = build_head(grouping=None)
    inputs, targets = make_inputs(), make_targets()
    targets.labelled = torch.tensor([True, False])
    loss = head.loss(*inputs, targets)['loss_pac']
    targets.events[1] = 1 - targets.events[1]
    torch.testing.assert_close(head.loss(*inputs, targets)['loss_pac'], loss)
    targets.events[0] = 1 - targets.events[0]
    assert not torch.isclose(head.loss(*inputs, targets)['loss_pac'], loss)


@pytest.mark.parametrize('grouping', ['hard', 'soft', None])
def test_inference_equals_the_last_prediction_of_training(grouping):
    head = build_head(grouping=grouping)
    inputs = make_inputs()
    head.eval()
    inference = head(*inputs)
    head.train()
    head.query_generator.eval()
    training = head(*inputs)
    assert 'aux' not in inference and len(training['aux']) == 9
    for key in ('class_logits', 'mask_logits', 'queries', 'mask_features', 'audio_tokens'):
        torch.testing.assert_close(inference[key], training[key], rtol=0, atol=0)


def test_outputs_have_the_documented_shapes():
    head = build_head().eval()
    outputs = head(*make_inputs())
    h, w = INPUT_SIZE[0] // 4, INPUT_SIZE[1] // 4
    assert {key: tuple(value.shape) for key, value in outputs.items()} == dict(
        class_logits=(NUM_FRAMES, NUM_QUERIES, NUM_CLASSES + 1),
        mask_logits=(NUM_FRAMES, NUM_QUERIES, h, w),
        queries=(NUM_FRAMES, NUM_QUERIES, 32),
        mask_features=(NUM_FRAMES, 32, h, w),
        audio_tokens=(NUM_FRAMES, 24, 32))


def test_frames_are_independent():
    head = build_head().eval()
    features, audio, valid = make_inputs()
    before = head.predict(features, audio, valid, INPUT_SIZE)
    for x in (*features, audio):
        x[1] += torch.randn_like(x[1])
    after = head.predict(features, audio, valid, INPUT_SIZE)
    torch.testing.assert_close(after[0], before[0])
    assert (after[1] - before[1]).abs().max() > 1e-3


def test_scores_are_sums_over_the_queries(monkeypatch):
    head = build_head().eval()
    inputs = make_inputs()
    outputs = head(*inputs)
    masks = torch.nn.functional.interpolate(outputs['mask_logits'], INPUT_SIZE, mode='bilinear').sigmoid()
    expected = torch.einsum('nqc,nqhw->nchw', outputs['class_logits'].softmax(-1)[..., :NUM_CLASSES], masks)
    torch.testing.assert_close(head.predict(*inputs, INPUT_SIZE), expected)
    monkeypatch.setattr('mmavs.models.layers.query_scores.MAX_SCORES_PER_CHUNK', 1)
    torch.testing.assert_close(head.predict(*inputs, INPUT_SIZE), expected)


def test_scores_depend_on_the_audio_and_silence_is_legal():
    head = build_head().eval()
    features, audio, valid = make_inputs()
    silent = head.predict(features, torch.zeros_like(audio), valid, INPUT_SIZE)
    assert silent.isfinite().all()
    assert (silent - head.predict(features, audio, valid, INPUT_SIZE)).abs().max() > 1e-3
    head.train()
    losses = head.loss(features, torch.zeros_like(audio), valid, make_targets())
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())


def test_queries_of_vct_do_not_depend_on_the_audio():
    head = build_head().eval()
    features, audio, valid = make_inputs()
    before, after = head(features, audio, valid), head(features, torch.randn_like(audio), valid)
    assert torch.equal(after['queries'], before['queries'])
    assert (after['class_logits'] - before['class_logits']).abs().max() > 1e-3


def test_queries_of_the_audio_centric_baseline_are_the_mean_audio_token():
    head = build_head(**AUDIO_CENTRIC).eval()
    features, audio, valid = make_inputs(num=3)
    audio[2] = audio[0]
    outputs = head(features, audio, valid)
    queries = outputs['queries']
    assert queries.shape == (3, NUM_QUERIES, 32)
    torch.testing.assert_close(queries, head.audio_mlp(audio).mean(1, keepdim=True).expand_as(queries))
    assert torch.equal(queries[2], queries[0]) and (queries[1] - queries[0]).abs().max() > 1e-3
    # The frames differ, and so do their masks.
    assert (outputs['mask_logits'][2] - outputs['mask_logits'][0]).abs().max() > 1e-3


def test_audio_centric_baseline_gets_audio_through_its_queries_only():
    head = build_head(**AUDIO_CENTRIC).eval()
    assert len(head.decoder.level_embed.weight) == len(CHANNELS) - 1
    features, audio, valid = make_inputs()
    scores = head.predict(features, audio, valid, INPUT_SIZE)
    order = torch.randperm(24)
    torch.testing.assert_close(head.predict(features, audio[:, order], valid, INPUT_SIZE), scores)
    assert (head.predict(features, torch.randn_like(audio), valid, INPUT_SIZE) - scores).abs().max() > 1e-3
    head.query_generator.forward = lambda tokens: torch.zeros(NUM_FRAMES, NUM_QUERIES, 32)
    torch.testing.assert_close(
        head.predict(features, torch.randn_like(audio), valid, INPUT_SIZE),
        head.predict(features, audio, valid, INPUT_SIZE))


def test_layers_of_a_decoder_without_audio_attend_to_the_maps_in_turn():
    head = build_head(**AUDIO_CENTRIC, num_layers=4).eval()
    sizes = []
    for layer in head.decoder.layers:
        layer.register_forward_hook(lambda module, args, output: sizes.append((args[2].shape[1], args[4].shape[3])))
    head(*make_inputs())
    coarsest_first = [INPUT_SIZE[0] * INPUT_SIZE[1] // stride**2 for stride in (32, 16, 8, 32)]
    assert sizes == [(size, size) for size in coarsest_first]


@pytest.mark.parametrize('operation', FUSIONS)
def test_early_fusion_computes_its_formula(operation):
    fusion = EarlyFusion(CHANNELS, 32, operation).double()
    features = [x.double() for x in make_inputs()[0]]
    audio_tokens = torch.randn(NUM_FRAMES, 24, 32).double()
    fused = fusion(features, audio_tokens)
    assert len(fused) == len(features)
    for level, (x, found) in enumerate(zip(features, fused)):
        a = fusion.audio_projs[level](audio_tokens.mean(1))
        if operation == 'multiply':
            expected = torch.einsum('nchw,nc->nchw', x, a)
        elif operation == 'add':
            expected = (x.permute(2, 3, 0, 1) + a).permute(2, 3, 0, 1)
        else:
            of_image, of_audio = fusion.convs[level].weight[:, :, 0, 0].chunk(2, dim=1)
            bias = a @ of_audio.t() + fusion.convs[level].bias
            expected = torch.einsum('nchw,dc->ndhw', x, of_image) + bias[:, :, None, None]
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('options', FUSED, ids=str)
def test_fused_audio_reaches_mask_features_and_queries(options):
    head = build_head(**options).eval()
    features, audio, valid = make_inputs()
    # The outputs of an initial perceptron are small.
    audio = audio * 100
    expected, _ = head.pixel_decoder(head.early_fusion(features, head.audio_mlp(audio)))
    outputs, other = head(features, audio, valid), head(features, -audio, valid)
    torch.testing.assert_close(outputs['mask_features'], expected)
    for key in ('mask_features', 'queries', 'mask_logits'):
        assert (other[key] - outputs[key]).abs().max() > 1e-3, key


@pytest.mark.parametrize('contrast,trains', [('audio', 'audio_mlp'), ('queries', 'query_generator')])
def test_contrast_trains_the_features_that_it_compares_with_the_prototypes(contrast, trains):
    head = build_head(contrast=contrast)
    head.loss(*make_inputs(), make_targets())['loss_pac'].backward()

    def trained(module):
        return all(p.grad is not None and p.grad.any() for p in module.parameters())

    modules = dict(audio_mlp=head.audio_mlp, query_generator=head.query_generator.query_mixer)
    assert {name: trained(module) for name, module in modules.items()} == {name: name == trains for name in modules}
    assert head.query_generator.prototypes.weight.grad.any()


def test_contrast_compares_the_mean_query_of_labelled_frames():
    head = build_head(contrast='queries', grouping=None)
    inputs, targets = make_inputs(), make_targets()
    targets.labelled = torch.tensor([False, True])
    expected = head.pac_loss(
        head(*inputs)['queries'][1:].mean(1), head.query_generator.prototypes.weight, targets.events[1:])
    torch.testing.assert_close(head.loss(*inputs, targets)['loss_pac'], expected)


def test_ablation_options_add_their_parameters_only():
    def names(**options):
        generator = build_head(**options).query_generator
        return {name.split('.')[0] for name, _ in generator.named_parameters()}

    visual = names(grouping=None, num_prototypes=None)
    assert visual == {'pre_proj', 'query_mixer'}
    assert names(grouping='soft', num_prototypes=None) == visual | {'grouping'}
    assert names(grouping='hard', num_prototypes=None) == visual | {'grouping'}
    assert names(grouping='cross-attention', num_prototypes=None) == visual | {'grouping'}
    assert names(grouping='hard') == visual | {'grouping', 'prototypes', 'prototype_attn', 'prototype_norm'}
    assert names(**AUDIO_CENTRIC) == set()
    full = set(build_head().state_dict())
    assert set(build_head(**AUDIO_CENTRIC).state_dict()) < full
    for operation in FUSIONS:
        added = set(build_head(early_fusion=operation).state_dict()) - full
        assert added and all(name.startswith('early_fusion.') for name in added)
    assert set(build_head(contrast='queries').state_dict()) == full


def test_hard_grouping_averages_the_pixels_of_the_best_query():
    grouping = PixelGrouping(8, 'hard').double().eval()
    queries, pixels = torch.randn(2, 3, 8).double(), torch.randn(2, 8, 10).double()
    keys, values = grouping.k_proj(pixels.transpose(1, 2)), grouping.v_proj(pixels.transpose(1, 2))
    owner = (grouping.q_proj(queries) @ keys.transpose(1, 2)).argmax(1)
    expected = torch.zeros(2, 3, 8).double()
    for n in range(2):
        for q in range(3):
            own = values[n, owner[n] == q]
            expected[n, q] = own.sum(0) / (len(own) + 1)
    torch.testing.assert_close(grouping(queries, pixels), grouping.out_proj(expected))


def test_soft_grouping_averages_by_the_softmax_over_queries():
    grouping = PixelGrouping(8, 'soft').double()
    queries, pixels = torch.randn(2, 3, 8).double(), torch.randn(2, 8, 10).double()
    keys, values = grouping.k_proj(pixels.transpose(1, 2)), grouping.v_proj(pixels.transpose(1, 2))
    share = (grouping.q_proj(queries) @ keys.transpose(1, 2) / 8**0.5).softmax(1)
    expected = share @ values / (share.sum(2, keepdim=True) + 1)
    torch.testing.assert_close(grouping(queries, pixels), grouping.out_proj(expected))


def test_cross_attention_averages_by_the_softmax_over_pixels():
    attention = PixelGrouping(8, 'cross-attention').double()
    queries, pixels = torch.randn(2, 3, 8).double(), torch.randn(2, 8, 10).double()
    # PyTorch's own attention with a single head and the same projections
    expected = torch.nn.functional.multi_head_attention_forward(
        queries.transpose(0, 1), *[pixels.permute(2, 0, 1)] * 2, 8, 1, None,
        torch.cat([proj.bias for proj in (attention.q_proj, attention.k_proj, attention.v_proj)]), None, None, False,
        0., attention.out_proj.weight, attention.out_proj.bias, use_separate_proj_weight=True,
        q_proj_weight=attention.q_proj.weight, k_proj_weight=attention.k_proj.weight,
        v_proj_weight=attention.v_proj.weight)[0]
    found = attention(queries, pixels)
    torch.testing.assert_close(found, expected.transpose(0, 1))
    # Queries do not compete for pixels: each gets the same, whatever the others are.
    torch.testing.assert_close(attention(queries[:, :1], pixels), found[:, :1])
    assert (PixelGrouping(8, 'soft').double()(queries[:, :1], pixels) - found[:, :1]).abs().max() > 1e-3


def test_hard_grouping_samples_in_training_and_passes_gradients():
    grouping = PixelGrouping(8, 'hard')
    queries, pixels = torch.randn(1, 5, 8), torch.randn(1, 8, 400)
    first, second = grouping(queries, pixels), grouping(queries, pixels)
    assert not torch.equal(first, second)
    assignment = grouping._assign(grouping._logits(queries, pixels))
    torch.testing.assert_close(assignment.round(), assignment)
    assert torch.equal(assignment.sum(1).round(), torch.ones(1, 400))
    first.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in grouping.parameters())


def test_gumbel_samples_follow_the_softmax():
    grouping = PixelGrouping(8, 'hard')
    logits = torch.tensor([0., 1., 2.]).log1p()[None, :, None].expand(1, 3, 60000).clone()
    share = grouping._assign(logits).mean((0, 2))
    torch.testing.assert_close(share, torch.tensor([1., 2., 3.]) / 6, atol=0.01, rtol=0)


def test_empty_masks_attend_everywhere():
    logits = torch.full((1, 2, 4, 4), -1.)
    logits[0, 1, 0, 0] = 9
    attend = inside_masks(logits, (2, 2))
    assert attend.shape == (1, 1, 2, 4)
    assert attend[0, 0].tolist() == [[True] * 4, [True, False, False, False]]


def test_masks_at_the_size_of_a_level_give_the_predictions_of_masks_at_full_size():
    head = build_head()
    features, audio, valid = make_inputs()
    with torch.no_grad():
        queries = torch.randn(NUM_FRAMES, NUM_QUERIES, 32)
        mask_features, maps = head.pixel_decoder(features)
        arguments = queries, maps, mask_features, head.audio_mlp(audio), head.audio_grid
        *_, expected = head.decoder.train()(*arguments)  # training computes all masks at full size
        found, = head.decoder.eval()(*arguments)
    torch.testing.assert_close(found[:2], expected[:2], rtol=1e-5, atol=1e-5)


def test_query_attends_only_inside_its_mask():
    head = build_head(num_layers=2, num_queries=1).eval()
    features, audio, valid = make_inputs()
    outputs = head(features, audio, valid)
    mask_features, maps = head.pixel_decoder(features)

    def masks(num_layers):
        layers, head.decoder.layers = head.decoder.layers, head.decoder.layers[:num_layers]
        result = head.decoder(outputs['queries'], maps, mask_features, outputs['audio_tokens'], (6, 4))[-1][1]
        head.decoder.layers = layers
        return result

    before = masks(2)
    torch.testing.assert_close(before, outputs['mask_logits'])
    # The second layer attends the coarsest map inside of the masks after the first.
    inside = inside_masks(masks(1), maps[0].shape[-2:]).view(NUM_FRAMES, 1, *maps[0].shape[-2:])
    assert 0 < inside.float().mean() < 1
    noise = torch.randn_like(maps[0])
    maps[0] = maps[0] + noise * ~inside
    torch.testing.assert_close(masks(2), before)
    maps[0] = maps[0] + noise * inside
    assert (masks(2) - before).abs().max() > 1e-3


@pytest.mark.parametrize('size', [(96, 64), (64, 64)])
def test_wrong_input_size_is_refused(size):
    head = build_head()
    with pytest.raises(ValueError, match=r'input_size=\(64, 96\).*\(' + f'{size[0]}, {size[1]}'):
        head(*make_inputs(size))


def test_wrong_number_of_audio_tokens_is_refused():
    features, audio, valid = make_inputs()
    with pytest.raises(ValueError, match=r'24 audio tokens, and got 1'):
        build_head()(features, audio[:, :1], valid)


def test_incompatible_options_are_refused():
    with pytest.raises(ValueError, match='num_prototypes is None'):
        build_head(num_prototypes=None, pac_loss=dict(type='PACLoss'))
    with pytest.raises(ValueError, match="grouping is 'medium', expected 'hard', 'soft', 'cross-attention' or None"):
        build_head(grouping='medium')
    with pytest.raises(ValueError, match="query_source is 'speech', expected 'vision' or 'audio'"):
        build_head(query_source='speech')
    with pytest.raises(ValueError, match="but grouping is 'hard' and num_prototypes 4: set both to None"):
        build_head(query_source='audio')
    with pytest.raises(ValueError, match='the audio would not be used'):
        build_head(attend_audio=False)
    targets = make_targets()
    targets.events = None
    with pytest.raises(ValueError, match='GenerateEventLabels'):
        build_head().loss(*make_inputs(), targets)


def test_pixel_decoder_returns_maps_from_coarse_to_fine_at_any_size():
    decoder = MSDeformAttnPixelDecoder(CHANNELS, embed_dims=32, num_layers=1, num_heads=4, ffn_dims=16)
    features = tuple(torch.randn(1, c, h, w) for c, h, w in zip(CHANNELS, (20, 10, 5, 3), (28, 14, 7, 4)))
    mask_features, maps = decoder(features)
    assert mask_features.shape == (1, 32, 20, 28)
    assert [tuple(x.shape) for x in maps] == [(1, 32, 3, 4), (1, 32, 5, 7), (1, 32, 10, 14)]


def test_pixel_decoder_computes_in_float32_under_autocast():
    decoder = MSDeformAttnPixelDecoder(CHANNELS, embed_dims=32, num_layers=1, num_heads=4, ffn_dims=16)
    features = make_inputs()[0]
    expected, _ = decoder(features)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found, _ = decoder(features)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_training_runs_under_autocast():
    head = build_head()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = head.loss(*make_inputs(), make_targets())
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())


def test_initial_weights_follow_the_released_code():
    head = VCTHead(
        num_classes=2,
        input_size=(32, 32),
        audio_channels=8,
        pixel_decoder=dict(type='MSDeformAttnPixelDecoder', in_channels=CHANNELS, num_layers=1),
        criterion=dict(type='SetCriterion'),
        num_layers=1,
        num_prototypes=71)
    layer = head.decoder.layers[0]
    xavier = (6 / (768 + 256))**0.5
    assert layer.cross_attn.in_proj_weight.abs().max().item() == pytest.approx(xavier, rel=0.01)
    assert layer.cross_attn.in_proj_bias.abs().max() == 0
    assert layer.linear1.weight.abs().max().item() == pytest.approx((6 / (2048 + 256))**0.5, rel=0.01)
    assert head.query_generator.prototypes.weight.std().item() == pytest.approx(1, rel=0.05)
    assert head.decoder.query_feat.weight.std().item() == pytest.approx(1, rel=0.05)
    kaiming = (3 / (256 * 9))**0.5
    assert head.pixel_decoder.output_conv[0].weight.abs().max().item() == pytest.approx(kaiming, rel=0.01)
    assert head.pixel_decoder.mask_features.bias.abs().max() == 0
