"""The head of RAVS: fusion, attention between frames, uncertainty, contrast and losses."""
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope

from mmavs.models import EvidenceLoss, RAVSHead, ResponseContrastLoss
from mmavs.models.decode_heads.ravs import TemporalAttention, suppress_uncertain
from mmavs.models.losses import frame_overlap_losses
from mmavs.models.losses.evidence import dirichlet_cross_entropy, dirichlet_divergence_from_uniform
from mmavs.structures import AudioGuidedPyramid, FrameTargets

CHANNELS = (4, 8, 12, 16)
INPUT_SIZE = (64, 96)
SWITCHES = {
    'everything': dict(),
    'one channel': dict(num_classes=1),
    'no contrast': dict(contrast_loss=None),
    'no uncertainty': dict(uncertainty_loss=None),
    'no temporal': dict(temporal=False),
    'feed-forward network after the temporal attention': dict(temporal_ffn_dims=24),
    'contrast by masks': dict(contrast_loss=dict(type='ResponseContrastLoss', embed_dims=16, by_masks=True)),
    'baseline': dict(contrast_loss=None, uncertainty_loss=None, temporal=False, num_classes=1),
}
all_switches = pytest.mark.parametrize('options', SWITCHES.values(), ids=SWITCHES)


@pytest.fixture(autouse=True)
def _scope_and_seed():
    init_default_scope('mmavs')
    torch.manual_seed(0)


def build_head(**options):
    config = dict(
        num_classes=3,
        in_channels=CHANNELS,
        audio_channels=8,
        embed_dims=16,
        num_heads=2,
        contrast_loss=dict(type='ResponseContrastLoss', embed_dims=16),
        uncertainty_loss=dict(type='EvidenceLoss', loss_weight=0.1, ramp_steps=10))
    return RAVSHead(**config | options)


def make_inputs(num=4, clips=2, dtype=torch.float32):
    sizes = [(INPUT_SIZE[0] // s, INPUT_SIZE[1] // s) for s in (4, 8, 16, 32)]
    maps = [torch.randn(num, c, *size, dtype=dtype, requires_grad=True) for c, size in zip(CHANNELS, sizes)]
    responses = [torch.randn(num, *size, dtype=dtype) for size in sizes]
    valid = torch.ones(clips, num // clips, dtype=torch.bool)
    return AudioGuidedPyramid(maps, responses), torch.randn(num, 2, 8), valid


def make_targets(num=4):
    masks = torch.zeros(num, *INPUT_SIZE, dtype=torch.uint8)
    masks[0, :30, :40] = 1
    masks[1, 20:, 30:] = 2
    masks[2, :, :50] = 255
    return FrameTargets(masks=masks, labelled=torch.ones(num, dtype=torch.bool))


@all_switches
def test_every_parameter_gets_a_gradient(options):
    head = build_head(**options)
    head.uncertainty_loss and head.uncertainty_loss.steps.fill_(5)
    losses = head.loss(*make_inputs(), make_targets())
    sum(losses.values()).backward()
    assert [name for name, p in head.named_parameters() if p.grad is None or not (p.grad != 0).any()] == []


@all_switches
def test_switches_add_and_remove_their_loss_and_parameters(options):
    head = build_head(**options)
    names = {'loss_ce', 'loss_dice', 'loss_iou'}
    names |= {'loss_contrast'} if options.get('contrast_loss', 1) else set()
    names |= {'loss_uncertainty'} if options.get('uncertainty_loss', 1) else set()
    assert set(head.loss(*make_inputs(), make_targets())) == names
    parts = {name.split('.')[0] for name, _ in head.named_parameters()}
    assert ('contrast_loss' in parts) == ('loss_contrast' in names)
    assert ('uncertainty_head' in parts) == ('loss_uncertainty' in names)
    assert ('temporal' in parts) == options.get('temporal', True)


@all_switches
def test_batch_without_labels_gives_every_parameter_a_zero_gradient(options):
    head, targets = build_head(**options), make_targets()
    targets.masks.fill_(255)
    targets.labelled.fill_(False)
    inputs = make_inputs()
    loss = sum(head.loss(*inputs, targets).values())
    loss.backward()
    assert loss == 0
    assert all(p.grad is not None and not p.grad.any() for p in (*head.parameters(), *inputs[0]))


def test_losses_are_those_of_labelled_frames():
    head, inputs, targets = build_head(temporal=False), make_inputs(), make_targets()
    targets.labelled[1:] = False
    losses = head.loss(*inputs, targets)
    features, audio, _ = inputs
    first = AudioGuidedPyramid([x[:1] for x in features], [r[:1] for r in features.responses])
    alone = head.eval().loss(first, audio[:1], torch.ones(1, 1, dtype=torch.bool),
                             FrameTargets(masks=targets.masks[:1], labelled=targets.labelled[:1]))
    head.uncertainty_loss.steps.zero_()
    assert set(losses) == set(alone)
    for name in ('loss_ce', 'loss_dice', 'loss_iou', 'loss_contrast'):
        torch.testing.assert_close(losses[name], alone[name])


@all_switches
def test_padding_frames_change_nothing(options):
    head = build_head(**options).eval()
    features, audio, _ = make_inputs(6, clips=2)
    valid = torch.tensor([[True, True, False], [True, False, False]])
    exists = valid.flatten()
    before = head.predict(features, audio, valid, INPUT_SIZE)
    assert before.isfinite().all()
    with torch.no_grad():
        for x in (*features, *features.responses, audio):
            x[~exists] = torch.randn_like(x[~exists]) * 10
    after = head.predict(features, audio, valid, INPUT_SIZE)
    torch.testing.assert_close(after[exists], before[exists], rtol=0, atol=0)

    # The first clip without its padding
    shorter = AudioGuidedPyramid([x[:2] for x in features], [r[:2] for r in features.responses])
    alone = head.predict(shorter, audio[:2], torch.ones(1, 2, dtype=torch.bool), INPUT_SIZE)
    torch.testing.assert_close(alone, before[:2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('temporal', [True, False])
def test_frames_attend_to_frames_of_their_clip_only(temporal):
    head = build_head(temporal=temporal).eval()
    features, audio, valid = make_inputs()
    before = head.predict(features, audio, valid, INPUT_SIZE)
    with torch.no_grad():
        for x in features:
            x[1] += torch.randn_like(x[1])
    changed = (head.predict(features, audio, valid, INPUT_SIZE) - before).abs().amax((1, 2, 3)) > 1e-5
    assert changed.tolist() == [temporal, True, False, False]


def test_feed_forward_network_follows_the_temporal_attention():
    alone, layer = TemporalAttention(8, 2), TemporalAttention(8, 2, ffn_dims=12)
    assert layer.load_state_dict(alone.state_dict(), strict=False).unexpected_keys == []
    x, valid = torch.randn(4, 6, 8), torch.ones(2, 2, dtype=torch.bool)
    attended, (norm, ffn) = alone(x, valid), layer.ffn
    hidden = F.linear(F.layer_norm(attended, (8, ), norm.weight, norm.bias), ffn.layers[0].weight, ffn.layers[0].bias)
    expected = attended + F.linear(hidden.clamp(min=0), ffn.layers[1].weight, ffn.layers[1].bias)
    torch.testing.assert_close(layer(x, valid), expected)


def test_the_order_of_frames_matters():
    head = build_head().eval()
    features, audio, valid = make_inputs(3, clips=1)
    with torch.no_grad():
        for x in features:
            x[2] = x[1]  # the same frame twice, after another one
    scores = head.predict(features, audio, valid, INPUT_SIZE)
    assert not torch.allclose(scores[1], scores[2], atol=1e-5)


@pytest.mark.parametrize('num_classes', [1, 2, 4])
def test_uncertainty_follows_from_the_evidence(num_classes):
    head = build_head(num_classes=num_classes).eval()
    outputs = head(*make_inputs())
    channels = max(num_classes, 2)
    evidence = outputs['evidence']
    assert evidence.shape == (4, channels, 16, 24) and (evidence > 0).all()
    torch.testing.assert_close(outputs['uncertainty'], channels / (evidence + 1).sum(1))


def test_probability_of_uncertain_pixels_is_multiplied_by_their_certainty():
    probability, uncertainty = torch.tensor([[[[0.9, 0.6, 0.4]]]]), torch.tensor([[[0.2, 0.6, 0.1]]])
    suppressed = suppress_uncertain(probability.logit(), uncertainty)
    torch.testing.assert_close(suppressed.sigmoid().flatten(), torch.tensor([0.72, 0.24, 0.36]))
    squared = suppress_uncertain(probability.logit(), uncertainty, exponent=2)
    torch.testing.assert_close(squared.sigmoid().flatten(), torch.tensor([0.9 * 0.64, 0.6 * 0.16, 0.4 * 0.81]))
    torch.testing.assert_close(suppress_uncertain(probability.logit(), uncertainty, 0), probability.logit())


def test_relative_uncertainty_lowers_the_more_uncertain_object_only():
    # 0.9 and 0.6 are foreground, with a mean u of 0.3.
    probability, uncertainty = torch.tensor([[[[0.9, 0.6, 0.4]]]]), torch.tensor([[[0.2, 0.4, 0.1]]])
    suppressed = suppress_uncertain(probability.logit(), uncertainty, 1, relative=True)
    torch.testing.assert_close(suppressed.sigmoid().flatten(), torch.tensor([0.9, 0.6 * 0.6 / 0.7, 0.4]))
    squared = suppress_uncertain(probability.logit(), uncertainty, 2, relative=True)
    torch.testing.assert_close(squared.sigmoid().flatten(), torch.tensor([0.9, 0.6 * 36 / 49, 0.4]))


@pytest.mark.parametrize(('uncertainty', 'certainty'), [(0.4, 1), (0.8, 1), (0.95, 0.05 / 0.2)])
def test_frame_that_is_uncertain_everywhere_is_lowered(uncertainty, certainty):
    uncertainty = torch.full((1, 1, 2), uncertainty)
    suppressed = suppress_uncertain(torch.tensor([[[[0.9, 0.3]]]]).logit(), uncertainty, 1, relative=True)
    torch.testing.assert_close(suppressed.sigmoid().flatten(), torch.tensor([0.9, 0.3]) * certainty)


@pytest.mark.parametrize('relative', [True, False])
def test_silent_pixel_beside_an_uncertain_object_is_not_raised(relative):
    # (1 - u) of the silent pixel at logit -0.5 is 10 times that of the object at logit 3.
    scores, uncertainty = torch.tensor([[[[3., -0.5, -5.]]]]), torch.tensor([[[0.9, 0., 0.05]]])
    suppressed = suppress_uncertain(scores, uncertainty, 2, relative)
    assert suppressed[..., 0] < 0
    assert suppressed[..., 1:].lt(-0.49).all() and (suppressed <= scores).all()
    torch.testing.assert_close(suppressed[..., 1], scores[..., 1])


@pytest.mark.parametrize('num_classes', [1, 2, 5])
@pytest.mark.parametrize('relative', [True, False])
def test_no_foreground_probability_is_raised(num_classes, relative):
    scores, uncertainty = torch.randn(8, num_classes, 5, 6) * 5, torch.rand(8, 5, 6)
    suppressed = suppress_uncertain(scores, uncertainty, 2, relative)
    shift = suppressed - scores
    assert suppressed.isfinite().all() and (shift <= 0).all() and (shift < 0).any()


def test_background_receives_what_the_foreground_classes_lose():
    scores = torch.tensor([0.2, 0.5, 0.3]).log()[None, :, None, None]
    suppressed = suppress_uncertain(scores, torch.full((1, 1, 1), 0.5))
    torch.testing.assert_close(suppressed.softmax(1).flatten(), torch.tensor([0.6, 0.25, 0.15]))


@pytest.mark.parametrize('relative', [True, False])
def test_two_classes_are_equivalent_to_one_logit(relative):
    scores, uncertainty = torch.randn(3, 2, 5, 6), torch.rand(3, 5, 6)
    two = suppress_uncertain(scores, uncertainty, 2, relative)
    one = suppress_uncertain(scores[:, 1:] - scores[:, :1], uncertainty, 2, relative)
    torch.testing.assert_close(two[:, 1:] - two[:, :1], one)


def test_frames_without_foreground_are_suppressed_and_do_not_influence_others():
    scores = torch.randn(3, 1, 5, 6)
    scores[1] = -scores[1].abs() - 0.1
    uncertainty = torch.rand(3, 5, 6).clamp(max=0.9)
    uncertainty[2] = 1  # no evidence at all
    suppressed = suppress_uncertain(scores, uncertainty, 1, relative=True)
    assert suppressed.isfinite().all()
    torch.testing.assert_close(suppressed[1, 0].sigmoid(), scores[1, 0].sigmoid() * (1 - uncertainty[1]))
    for n in range(3):
        alone = suppress_uncertain(scores[n:n + 1], uncertainty[n:n + 1], 1, relative=True)
        torch.testing.assert_close(suppressed[n:n + 1], alone)


@pytest.mark.parametrize('num_classes', [1, 3])
@pytest.mark.parametrize('relative', [True, False])
def test_predictions_are_suppressed_and_losses_are_not(num_classes, relative):
    head = build_head(num_classes=num_classes, relative_uncertainty=relative).eval()
    inputs, size = make_inputs(), (16, 24)
    outputs = head(*inputs)
    torch.testing.assert_close(head.predict(*inputs, size),
                               suppress_uncertain(outputs['scores'], outputs['uncertainty'], 1, relative))
    losses = head.loss(*inputs, make_targets())
    head.uncertainty_loss = None
    torch.testing.assert_close(head.predict(*inputs, size), outputs['scores'])
    for name, value in head.loss(*inputs, make_targets()).items():
        torch.testing.assert_close(value, losses[name])


def test_masks_do_not_train_the_uncertainty():
    head = build_head()
    losses = head.loss(*make_inputs(), make_targets())
    sum(value for name, value in losses.items() if name != 'loss_uncertainty').backward()
    assert head.uncertainty_head.weight.grad is None


def test_backbone_without_audio_is_refused():
    features, audio, valid = make_inputs()
    with pytest.raises(ValueError, match='the backbone of this model is not audio-guided: set'):
        build_head()(tuple(features), audio, valid)


# Losses


@pytest.mark.parametrize(('build', 'message'), [
    (lambda: EvidenceLoss(0.1, ramp_steps=0), 'ramp_steps is 0, expected at least 1'),
    (lambda: ResponseContrastLoss((4, ), 8, fraction=0.6), r'fraction is 0.6, expected a value in \(0, 0.5\]'),
    (lambda: ResponseContrastLoss((4, ), 8, fraction=0.), r'fraction is 0.0, expected'),
])
def test_arguments_out_of_range_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_expected_cross_entropy_equals_hand_computed_cases():
    # psi(n + 1) = psi(n) + 1 / n, so between integers psi differs by a sum of fractions.
    cases = [
        ([1, 1], 0, 1),                                 # psi(2) - psi(1) = 1
        ([3, 1], 0, 1 / 3),                             # psi(4) - psi(3)
        ([3, 1], 1, 1 + 1 / 2 + 1 / 3),                 # psi(4) - psi(1)
        ([2, 3, 1], 1, 1 / 3 + 1 / 4 + 1 / 5),          # psi(6) - psi(3) = 47/60
        ([5, 2, 1], 2, 1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5 + 1 / 6 + 1 / 7),  # psi(8) - psi(1) = 363/140
    ]
    for alpha, label, expected in cases:
        found = dirichlet_cross_entropy(torch.tensor([alpha], dtype=torch.float), torch.tensor([label]))
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_divergence_from_uniform_equals_hand_computed_cases():
    # Gamma(n) = (n - 1)!; psi as above.
    cases = [
        ([1, 1, 1, 1], 0),
        # ln 2! - ln 1! - ln 1! - ln 0! + 1 (psi(2) - psi(3)) = ln 2 - 1/2
        ([2, 1], math.log(2) - 1 / 2),
        # ln 3! - ln 1! - ln 2! + 2 (psi(3) - psi(4)) = ln 3 - 2/3
        ([3, 1], math.log(3) - 2 / 3),
        # ln 5! - ln 2! - (ln 1! + ln 2!) + 1 (psi(2) - psi(6)) + 2 (psi(3) - psi(6))
        #   = ln 30 - (1/2 + 1/3 + 1/4 + 1/5) - 2 (1/3 + 1/4 + 1/5) = ln 30 - 77/60 - 94/60
        ([2, 3, 1], math.log(30) - 171 / 60),
    ]
    for alpha, expected in cases:
        found = dirichlet_divergence_from_uniform(torch.tensor([alpha], dtype=torch.float))
        assert found.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_divergence_is_that_of_torch():
    alpha = torch.rand(6, 5) * 9 + 1
    expected = torch.distributions.kl_divergence(torch.distributions.Dirichlet(alpha),
                                                 torch.distributions.Dirichlet(torch.ones(6, 5)))
    torch.testing.assert_close(dirichlet_divergence_from_uniform(alpha), expected, rtol=1e-4, atol=1e-5)


def test_evidence_loss_equals_a_hand_computed_frame():
    # One row of three cells, evidence (2, 0), (1, 3), (4, 1); the last cell is unlabelled.
    evidence = torch.tensor([[[2., 1., 4.]], [[0., 3., 1.]]])[None]
    masks = torch.tensor([[[0, 0, 255]]], dtype=torch.uint8)
    loss = EvidenceLoss(loss_weight=0.1, ramp_steps=4)
    labelled = torch.tensor([True])
    # Cell 1: alpha (3, 1), class 0: 1/3; alpha~ (1, 1): 0.
    # Cell 2: alpha (2, 4), class 0: psi(6) - psi(2) = 1/2 + 1/3 + 1/4 + 1/5 = 77/60;
    #   alpha~ (1, 4): ln 4! - ln 1! - ln 3! + 3 (psi(4) - psi(5)) = ln 4 - 3/4.
    cross_entropy, divergence = 1 / 3 + 77 / 60, math.log(4) - 3 / 4
    for step in range(6):
        ramp = min(step / 4, 1)
        found = loss(evidence, masks, labelled).item()
        assert found == pytest.approx(0.1 * (cross_entropy + ramp * divergence) / 2, rel=1e-5)
    # Evaluation counts no steps, and a resumed training continues where it was.
    assert loss.steps == 6
    loss.eval()(evidence, masks, labelled)
    assert loss.state_dict()['steps'] == 6


def test_evidence_loss_uses_the_class_at_the_center_of_a_cell():
    masks = torch.zeros(1, 8, 8, dtype=torch.uint8)
    masks[0, 2, 6] = 1  # the center of the upper right cell of 2 x 2
    loss = EvidenceLoss(loss_weight=1, ramp_steps=1)
    evidence = torch.zeros(1, 2, 2, 2, requires_grad=True)
    loss(evidence, masks, torch.tensor([True])).backward()
    # More evidence for the class of a cell lowers the loss, more for the other one raises it.
    assert (evidence.grad[0, 1] < 0).tolist() == [[False, True], [False, False]]
    assert (evidence.grad[0, 0] < 0).tolist() == [[True, False], [True, True]]


def test_overlap_losses_equal_hand_computed_cases():
    # Two classes, four pixels, the last unlabelled. Class 0: I = 0.9 + 0.2, A = 0.9 + 0.2 + 0.4, Y = 2.
    probabilities = torch.tensor([[0.9, 0.2, 0.4, 0.5], [0.1, 0.8, 0.6, 0.5]])[None, :, None]
    masks = torch.tensor([[[0, 0, 1, 255]]], dtype=torch.uint8)
    dice, iou = frame_overlap_losses(probabilities, masks)
    expected_dice = (2 * 1.1 / (1.5 + 2) + 2 * 0.6 / (1.5 + 1)) / 2
    expected_iou = (1.1 / (1.5 + 2 - 1.1) + 0.6 / (1.5 + 1 - 0.6)) / 2
    assert dice.item() == pytest.approx(1 - expected_dice, rel=1e-4)
    assert iou.item() == pytest.approx(1 - expected_iou, rel=1e-4)


def test_absent_classes_count_if_they_are_predicted():
    masks = torch.zeros(2, 1, 2, dtype=torch.uint8)
    probabilities = torch.tensor([[[1., 1.], [0., 0.]], [[0.5, 0.5], [0.5, 0.5]]]).unsqueeze(2)
    dice, iou = frame_overlap_losses(probabilities, masks)
    assert dice.tolist() == pytest.approx([0, 1 - (2 / 3) / 2], abs=1e-4)
    assert iou.tolist() == pytest.approx([0, 1 - 0.5 / 2], abs=1e-4)


def test_contrast_is_infonce_of_the_strongest_and_weakest_pixels():
    loss = ResponseContrastLoss(in_channels=(4, ), audio_channels=3, embed_dims=5, fraction=0.25, temperature=0.2,
                                loss_weight=0.5)
    x, response, audio = torch.randn(1, 4, 2, 4), torch.randn(1, 2, 4), torch.randn(1, 2, 3)
    masks = torch.zeros(1, 2, 4, dtype=torch.uint8)
    found = loss([x], [response], audio, masks, torch.tensor([True]))
    ranked = response.flatten().argsort(descending=True).tolist()
    z = F.normalize(loss.visual_projs[0](x[0].flatten(1).T), dim=1)
    similarity = (z @ F.normalize(loss.audio_proj(audio[0]).mean(0), dim=0) / 0.2).exp()
    terms = [-torch.log(similarity[i] / (similarity[i] + similarity[ranked[-2:]].sum())) for i in ranked[:2]]
    torch.testing.assert_close(found, 0.5 * sum(terms) / 2)


def test_contrast_is_the_mean_over_levels_and_labelled_frames():
    loss = ResponseContrastLoss(in_channels=(4, 4), audio_channels=3, embed_dims=5)
    maps, responses = [torch.randn(3, 4, 5, 5) for _ in range(2)], [torch.randn(3, 5, 5) for _ in range(2)]
    audio, masks, one = torch.randn(3, 1, 3), torch.zeros(3, 5, 5, dtype=torch.uint8), torch.tensor([True])
    found = loss(maps, responses, audio, masks, torch.tensor([True, False, True]))
    frames = [loss([x[i:i + 1] for x in maps], [r[i:i + 1] for r in responses], audio[i:i + 1], masks[i:i + 1], one)
              for i in (0, 2)]
    torch.testing.assert_close(found, sum(frames) / 2)


def test_contrast_by_masks_takes_sounding_cells_and_background_cells():
    loss = ResponseContrastLoss(in_channels=(4, ), audio_channels=3, embed_dims=5, temperature=0.2, loss_weight=0.5,
                                by_masks=True)
    x, audio = torch.randn(1, 4, 1, 5), torch.randn(1, 1, 3)
    masks = torch.tensor([[[7, 0, 1, 255, 0]]], dtype=torch.uint8)
    found = loss([x], [torch.full((1, 1, 5), torch.nan)], audio, masks, torch.tensor([True]))  # responses are not read
    z = F.normalize(loss.visual_projs[0](x[0, :, 0].T), dim=1)
    similarity = (z @ F.normalize(loss.audio_proj(audio[0, 0]), dim=0) / 0.2).exp()
    terms = [-torch.log(similarity[i] / (similarity[i] + similarity[[1, 4]].sum())) for i in (0, 2)]
    torch.testing.assert_close(found, 0.5 * sum(terms) / 2)
    # The class of a cell is that at its center.
    fine = F.interpolate(masks.unsqueeze(1), (3, 15), mode='nearest').squeeze(1)
    fine[:, 0] = fine[:, 2] = 0
    torch.testing.assert_close(loss([x], [x[:, 0]], audio, fine, torch.tensor([True])), found)


@pytest.mark.parametrize('value', [0, 1, 255])
def test_contrast_by_masks_of_a_frame_without_positives_or_negatives_is_zero(value):
    loss = ResponseContrastLoss(in_channels=(4, ), audio_channels=3, embed_dims=5, by_masks=True)
    x = torch.randn(1, 4, 2, 3, requires_grad=True)
    masks = torch.full((1, 2, 3), value, dtype=torch.uint8)
    found = loss([x], [x[:, 0]], torch.randn(1, 1, 3), masks, torch.tensor([True]))
    found.backward()
    assert found == 0 and not x.grad.any()


def test_one_channel_is_trained_like_two_classes():
    one, inputs, targets = build_head(num_classes=1), make_inputs(), make_targets()
    two = build_head(num_classes=2)
    state = one.state_dict()
    for name in ('mask_head.weight', 'mask_head.bias'):
        state[name] = torch.cat((torch.zeros_like(state[name]), state[name]))
    two.load_state_dict(state)
    binary = FrameTargets(masks=torch.where(targets.masks == 2, 1, targets.masks), labelled=targets.labelled)
    torch.testing.assert_close(one.loss(*inputs, targets), two.loss(*inputs, binary))
