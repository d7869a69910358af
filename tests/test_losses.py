"""Set criterion, matching, point sampling and prototype-audio contrast."""
import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from mmavs.models.losses import (
    PACLoss,
    SetCriterion,
    dice_loss,
    frame_cross_entropy,
    frame_dice_loss,
    matching,
    prototype_audio_contrast,
    set_criterion,
)
from mmavs.models.losses.matching import Segments, assign_queries, matching_costs
from mmavs.models.losses.point_sampling import sample_points, uncertain_points
from mmavs.registry import MODELS
from mmavs.structures import FrameTargets, QueryPrediction, select_masks

NUM_FRAMES, NUM_QUERIES, NUM_CLASSES, NUM_LAYERS, NUM_POINTS = 4, 6, 3, 3, 64


@pytest.fixture
def fixed_points(monkeypatch):
    """Random points that depend on their number only, not on how the calls are batched."""
    rand = torch.rand

    def seeded_rand(*shape, device=None):
        points = rand(shape[-2:], generator=torch.Generator().manual_seed(shape[-2]))
        return points.expand(shape).clone()

    monkeypatch.setattr(torch, 'rand', seeded_rand)


@pytest.fixture
def criterion():
    return SetCriterion(NUM_CLASSES, num_points=NUM_POINTS)


def make_predictions(num_layers=NUM_LAYERS, num_queries=NUM_QUERIES, size=(8, 10), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(NUM_FRAMES, num_queries, NUM_CLASSES + 1, generator=generator).requires_grad_(),
             torch.randn(NUM_FRAMES, num_queries, *size, generator=generator).mul(3).requires_grad_())
            for _ in range(num_layers)]


def make_targets():
    """Frames with the classes {0, 1}, {0}, {0, 1, 2} and, not labelled, {0, 2}."""
    masks = torch.zeros(NUM_FRAMES, 16, 20, dtype=torch.uint8)
    masks[0, 2:9, 3:12] = 1
    masks[1, 12:] = 255
    masks[2, :5] = 1
    masks[2, 8:, 10:] = 2
    masks[3, 4:] = 2
    return FrameTargets(masks=masks, labelled=torch.tensor([True, True, True, False]))


def literal_criterion(predictions, targets, num_points=NUM_POINTS):
    """The loss of the papers, frame by frame and pair by pair."""
    losses = {}
    num_masks = sum(len(set(m.unique().tolist()) - {255}) for m in targets.masks[targets.labelled])
    for layer, (class_logits, mask_logits) in enumerate(predictions):
        prefix = '' if layer == len(predictions) - 1 else f'd{layer}.'
        class_sum = weight_sum = mask_sum = dice_sum = 0
        for frame in targets.labelled.nonzero().flatten().tolist():
            classes = sorted(set(targets.masks[frame].unique().tolist()) - {255})
            binary = torch.stack([(targets.masks[frame] == c).float() for c in classes])
            pairs = literal_matching(class_logits[frame], mask_logits[frame], classes, binary, num_points)
            for query, logits in enumerate(class_logits[frame]):
                matched = dict(pairs).get(query)
                weight = 0.1 if matched is None else 1.0
                class_sum += -weight * logits.log_softmax(-1)[NUM_CLASSES if matched is None else classes[matched]]
                weight_sum += weight
            for query, target in pairs:
                points = literal_points(mask_logits[frame, query], num_points)
                x, y = read(mask_logits[frame, query], points), read(binary[target], points)
                mask_sum += sum(F.softplus(a) - a * b for a, b in zip(x, y)) / num_points
                s = x.sigmoid()
                dice_sum += 1 - (2 * (s * y).sum() + 1) / (s.sum() + y.sum() + 1)
        losses[prefix + 'loss_cls'] = 2 * class_sum / weight_sum
        losses[prefix + 'loss_mask'] = 5 * mask_sum / num_masks
        losses[prefix + 'loss_dice'] = 5 * dice_sum / num_masks
    return losses


def read(mask, points):
    return F.grid_sample(mask[None, None], 2 * points[None, None] - 1, align_corners=False).flatten()


def literal_points(logits, num_points):
    candidates = torch.rand(1, 3 * num_points, 2)[0]
    order = read(logits, candidates).abs().argsort()
    kept = int(0.75 * num_points)
    return torch.cat([candidates[order[:kept]], torch.rand(1, num_points - kept, 2)[0]])


def literal_matching(class_logits, mask_logits, classes, binary, num_points):
    """The cheapest of all assignments: (query, target) pairs."""
    points = torch.rand(1, num_points, 2)[0]
    costs = torch.zeros(len(class_logits), len(classes))
    for q, t in itertools.product(range(len(class_logits)), range(len(classes))):
        x, y = read(mask_logits[q], points).detach(), read(binary[t], points)
        s = x.sigmoid()
        costs[q, t] = (
            5 * F.binary_cross_entropy_with_logits(x, y) - 2 * class_logits[q].softmax(-1)[classes[t]].detach() + 5 *
            (1 - (2 * (s * y).sum() + 1) / (s.sum() + y.sum() + 1)))
    return min((list(zip(queries, range(len(classes))))
                for queries in itertools.permutations(range(len(class_logits)), len(classes))),
               key=lambda pairs: sum(costs[pair] for pair in pairs))


def test_criterion_equals_the_literal_computation(criterion, fixed_points):
    predictions, targets = make_predictions(), make_targets()
    losses, expected = criterion(predictions, targets), literal_criterion(predictions, targets)
    assert list(losses)[-3:] == ['loss_cls', 'loss_mask', 'loss_dice'] and list(losses)[0] == 'd0.loss_cls'
    assert set(losses) == set(expected)
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-5), name


def test_gradients_equal_those_of_the_literal_computation(criterion, fixed_points):
    predictions, targets = make_predictions(), make_targets()
    leaves = list(itertools.chain(*predictions))
    grads = torch.autograd.grad(sum(criterion(predictions, targets).values()), leaves)
    expected = torch.autograd.grad(sum(literal_criterion(predictions, targets).values()), leaves)
    for grad, reference in zip(grads, expected):
        torch.testing.assert_close(grad, reference, rtol=1e-4, atol=1e-6)


def test_result_does_not_depend_on_how_many_values_are_held_at_once(criterion, fixed_points, monkeypatch):
    predictions, targets = make_predictions(), make_targets()
    expected = criterion(predictions, targets)
    for module in (matching, set_criterion):
        monkeypatch.setattr(module, 'chunk_size', lambda device: 1)
    for name, value in criterion(predictions, targets).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=0)


def test_perfect_queries_are_matched_and_cost_almost_nothing(criterion):
    targets = make_targets()
    class_logits = torch.zeros(NUM_FRAMES, NUM_QUERIES, NUM_CLASSES + 1)
    class_logits[..., NUM_CLASSES] = 30
    mask_logits = torch.full((NUM_FRAMES, NUM_QUERIES, 16, 20), -30.)
    # Query 5 - c holds class c.
    for c in range(NUM_CLASSES):
        mask_logits[:, 5 - c][targets.masks == c] = 30
        present = (targets.masks == c).flatten(1).any(1)
        class_logits[present, 5 - c, NUM_CLASSES] = 0
        class_logits[present, 5 - c, c] = 30
    segments = Segments.from_label_maps(targets.masks, NUM_CLASSES)
    costs = matching_costs(class_logits, mask_logits, segments, 2000, 2, 5, 5)
    assert torch.equal(assign_queries(costs[None], segments.counts)[0], 5 - segments.labels)
    losses = criterion([(class_logits, mask_logits)], targets)
    assert losses['loss_cls'] < 1e-6
    # Uncertain points lie on the outlines, where the interpolated masks are not quite binary.
    assert losses['loss_dice'] < 1


def test_assignment_is_optimal_and_uses_each_query_once():
    costs = torch.rand(2, 3, 5, 3, generator=torch.Generator().manual_seed(0))
    counts = torch.tensor([3, 0, 2])
    queries = assign_queries(costs, counts)
    for layer in range(2):
        for frame, found in ((0, queries[layer, :3]), (2, queries[layer, 3:])):
            total = costs[layer, frame, found, range(len(found))].sum()
            best = min(
                costs[layer, frame, list(choice), range(len(found))].sum()
                for choice in itertools.permutations(range(5), len(found)))
            assert total == pytest.approx(best.item()) and len(set(found.tolist())) == len(found)


def test_assignment_prefers_the_smallest_total_to_the_greedy_choice():
    # Query 0 is the best for both targets, but worth more to the second.
    costs = torch.tensor([[[[0., 1.], [1., 9.]]]])
    assert assign_queries(costs, torch.tensor([2])).tolist() == [[1, 0]]


def test_segments_are_the_classes_present_without_unlabelled_pixels():
    segments = Segments.from_label_maps(make_targets().masks, NUM_CLASSES)
    assert segments.frames.tolist() == [0, 0, 1, 2, 2, 2, 3, 3]
    assert segments.labels.tolist() == [0, 1, 0, 0, 1, 2, 0, 2]
    assert segments.masks.sum((1, 2)).tolist() == [257, 63, 240, 140, 100, 80, 80, 240]


def test_class_beyond_the_head_is_an_error():
    with pytest.raises(ValueError, match=r'classes \[0, 1, 2\].*num_classes=2'):
        Segments.from_label_maps(make_targets().masks, 2)


def test_diverged_prediction_is_an_error(criterion):
    predictions = make_predictions()
    with torch.no_grad():
        predictions[1][1][2, 0, 0] = math.nan
    with pytest.raises(ValueError, match='prediction 1 of frame 2 holds NaN'):
        criterion(predictions, make_targets())


def test_unlabelled_frames_do_not_contribute(criterion, fixed_points):
    predictions, targets = make_predictions(), make_targets()
    losses = criterion(predictions, targets)
    sum(losses.values()).backward()
    assert all(not x.grad[3].any() and x.grad[:3].any() for x in itertools.chain(*predictions))
    selected = criterion([(c[:3], m[:3]) for c, m in predictions],
                         FrameTargets(targets.masks[:3], targets.labelled[:3]))
    for name, value in losses.items():
        torch.testing.assert_close(value, selected[name], rtol=1e-6, atol=0)


def test_gradients_of_masks_pass_through_the_matched_queries_alone(criterion, fixed_points):
    """With the factors of the masks, losses and gradients are the same, and the masks themselves get no gradient."""
    shared, own = (torch.randn(NUM_FRAMES, 6, 8, 10, requires_grad=True) for _ in range(2))
    layers = [(class_logits, torch.randn(NUM_FRAMES, NUM_QUERIES, 6, requires_grad=True), features)
              for (class_logits, _), features in zip(make_predictions(3), (shared, shared, own))]
    leaves = [shared, own, *(embeddings for _, embeddings, _ in layers)]
    results = []
    for with_factors in (False, True):
        masks = [(embeddings @ features.flatten(2)).unflatten(2, (8, 10)) for _, embeddings, features in layers]
        for mask_logits in masks:
            mask_logits.retain_grad()
        predictions = [QueryPrediction(class_logits, mask_logits, *(factors if with_factors else ()))
                       for (class_logits, *factors), mask_logits in zip(layers, masks)]
        losses = criterion(predictions, make_targets())
        total = sum(losses.values())
        gradients = torch.autograd.grad(total, leaves, retain_graph=True)
        total.backward()
        assert all((mask_logits.grad is None) == with_factors for mask_logits in masks)
        results.append((list(losses.values()), gradients))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('counts', [(2, 0, 1), (0, 3, 0), (1, 1, 1), (0, 0, 0)])
def test_masks_of_frames_with_different_numbers_of_queries_are_those_of_the_queries(counts):
    frames = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    queries = torch.randint(5, (2, len(frames)))
    predictions = []
    for _ in range(2):
        embeddings, features = torch.randn(3, 5, 6), torch.randn(3, 6, 4, 7)
        masks = (embeddings @ features.flatten(2)).unflatten(2, (4, 7))
        predictions.append(QueryPrediction(torch.zeros(3, 5, 2), masks, embeddings, features))
    expected = torch.stack([x.mask_logits[frames, row] for x, row in zip(predictions, queries)])
    assert expected.shape == (2, sum(counts), 4, 7)
    torch.testing.assert_close(select_masks(predictions, frames, queries), expected, rtol=1e-4, atol=1e-5)


def test_frame_without_a_labelled_pixel_has_no_segments(criterion):
    predictions, targets = make_predictions(1), make_targets()
    targets.masks.fill_(255)
    losses = criterion(predictions, targets)
    class_logits = predictions[0][0]
    expected = -2 * class_logits[:3].log_softmax(-1)[..., NUM_CLASSES].mean()
    assert losses['loss_cls'].item() == pytest.approx(expected.item(), rel=1e-6)
    assert losses['loss_mask'] == losses['loss_dice'] == 0
    sum(losses.values()).backward()
    assert not predictions[0][1].grad.any()


def test_batch_without_labelled_frames_costs_nothing_and_stays_differentiable(criterion):
    predictions, targets = make_predictions(), make_targets()
    targets.labelled[:] = False
    losses = criterion(predictions, targets)
    assert all(value == 0 for value in losses.values())
    sum(losses.values()).backward()
    assert all(not x.grad.any() for x in itertools.chain(*predictions))


def test_segments_beyond_the_number_of_queries_are_left_out(fixed_points):
    """One query, three segments: the best pair is compared, the sum is still divided by all segments."""
    predictions, targets = make_predictions(1, num_queries=1), make_targets()
    targets.labelled = torch.tensor([False, False, True, False])
    losses = SetCriterion(NUM_CLASSES, num_points=NUM_POINTS)(predictions, targets)
    class_logits, mask_logits = (x[2, 0].detach() for x in predictions[0])
    points = literal_points(mask_logits, NUM_POINTS)
    x = read(mask_logits, points)
    candidates = [5 * F.binary_cross_entropy_with_logits(x, read((targets.masks[2] == c).float(), points)) / 3
                  for c in range(NUM_CLASSES)]
    chosen = min(range(NUM_CLASSES), key=lambda c: abs(candidates[c] - losses['loss_mask']))
    assert losses['loss_mask'].item() == pytest.approx(candidates[chosen].item(), rel=1e-5)
    assert losses['loss_cls'].item() == pytest.approx(-2 * class_logits.log_softmax(-1)[chosen].item(), rel=1e-5)
    sum(losses.values()).backward()
    assert predictions[0][1].grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_mask_terms_are_float32_under_autocast(criterion, fixed_points, dtype):
    predictions = [(c.detach().to(dtype), (m.detach() * 100).to(dtype)) for c, m in make_predictions()]
    expected = criterion([(c.float(), m.float()) for c, m in predictions], make_targets())
    predictions = [(c.requires_grad_(), m.requires_grad_()) for c, m in predictions]
    with torch.autocast('cpu', dtype):
        losses = criterion(predictions, make_targets())
    for name, value in losses.items():
        assert value.dtype == torch.float32 and value.isfinite()
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-7)
    sum(losses.values()).backward()
    assert all(x.grad.isfinite().all() for x in itertools.chain(*predictions))


@pytest.mark.parametrize('factor,divisor', [(2., 12.), (0.1, 1.)])
def test_terms_are_means_over_the_batch_of_all_processes(criterion, fixed_points, monkeypatch, factor, divisor):
    predictions, targets = make_predictions(1), make_targets()
    alone = criterion(predictions, targets)

    def all_reduce(tensor, op):
        assert op == 'mean'
        tensor.mul_(factor)

    monkeypatch.setattr(set_criterion, 'all_reduce', all_reduce)
    together = criterion(predictions, targets)
    assert together['loss_mask'].item() == pytest.approx(alone['loss_mask'].item() * 6 / divisor, rel=1e-6)
    assert together['loss_dice'].item() == pytest.approx(alone['loss_dice'].item() * 6 / divisor, rel=1e-6)
    assert together['loss_cls'].item() == pytest.approx(alone['loss_cls'].item() / factor, rel=1e-6)


@pytest.mark.parametrize('num_layers', [1, 10])
def test_costs_are_copied_from_the_device_once_for_all_layers(criterion, monkeypatch, num_layers):
    copies, cpu = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, 'cpu', lambda x: copies.append(x.shape) or cpu(x))
    criterion(make_predictions(num_layers), make_targets())
    # The classes present in each frame, then the costs.
    assert copies == [(3, 255), (num_layers, 3, NUM_QUERIES, 3)]


def test_criterion_is_built_from_a_config_and_adds_nothing_to_checkpoints():
    criterion = MODELS.build(dict(type='SetCriterion', num_classes=71))
    assert criterion.class_weights.shape == (72,) and criterion.class_weights[71] == pytest.approx(0.1)
    assert not criterion.state_dict()


def test_points_are_interpolated_between_pixel_centers_and_zero_outside():
    maps = torch.tensor([[[[1., 2.], [3., 4.]]]])
    points = torch.tensor([[[.25, .25], [.75, .25], [.25, .75], [.5, .5], [0., 0.]]])
    torch.testing.assert_close(sample_points(maps, points), torch.tensor([[[1., 2., 3., 2.5, .25]]]))
    assert sample_points(torch.rand(2, 3, 4, 4), torch.rand(2, 5, 7, 2)).shape == (2, 3, 5, 7)


def test_uncertain_points_lie_on_the_boundary():
    torch.manual_seed(0)
    logits = torch.linspace(-10, 10, 64).expand(1, 64, 64)
    points = uncertain_points(logits, num_points=200, oversample=3, importance=0.75)
    assert points.shape == (1, 200, 2) and points.min() >= 0 and points.max() <= 1
    # The nearest quarter of all candidates: a quarter of the width around the zero crossing in the middle.
    assert (points[0, :150, 0] - 0.5).abs().max() < 0.2
    assert (points[0, 150:, 0] - 0.5).abs().max() > 0.3


def test_dice_loss_by_hand():
    logits = torch.tensor([[20., 20., -20., -20.], [-20., -20., -20., -20.]], requires_grad=True)
    targets = torch.tensor([[1., 0., 1., 0.], [0., 0., 0., 0.]])
    loss = dice_loss(logits, targets)
    # 1 - (2 * 1 + 1) / (2 + 2 + 1), and 0 for an empty mask that is predicted empty.
    torch.testing.assert_close(loss, torch.tensor([0.4, 0.]), atol=1e-6, rtol=0)
    torch.testing.assert_close(dice_loss(logits, targets, eps=0.001)[0].item(), 1 - 2.001 / 4.001, atol=1e-6, rtol=0)
    loss.sum().backward()
    assert logits.grad.isfinite().all()


def test_prototype_audio_contrast_by_hand():
    audio = torch.tensor([[1., 0.], [0.6, 0.8]])
    prototypes = torch.tensor([[1., 0.], [0., 1.], [-1., 0.]])
    events = torch.tensor([[1., 0., 0.], [0., 1., 1.]])
    loss = prototype_audio_contrast(audio, prototypes, events, torch.tensor(math.log(2)))
    logits = [[2., 0., -2.], [1.2, 1.6, -1.2]]
    expected = sum(
        math.log1p(math.exp(-x)) if y else math.log1p(math.exp(x))
        for row, present in zip(logits, events.tolist()) for x, y in zip(row, present)) / 6
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_pac_loss_normalizes_and_trains_its_scale():
    torch.manual_seed(0)
    loss = PACLoss(channels=8)
    assert loss.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    audio, prototypes = torch.randn(3, 8), torch.randn(5, 8)
    events = torch.eye(5)[:3]
    value = loss(audio, prototypes, events)
    torch.testing.assert_close(loss(7 * audio, 0.1 * prototypes, events), value)
    value.backward()
    assert set(loss.state_dict()) == {'audio_proj.weight', 'proto_proj.weight', 'logit_scale'}
    assert all(parameter.grad.any() for parameter in loss.parameters())
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(loss(audio, prototypes, events), value)


def test_pac_loss_without_frames_is_zero():
    loss = PACLoss(channels=8)(torch.randn(0, 8), torch.randn(5, 8), torch.zeros(0, 5))
    assert loss == 0
    loss.backward()


def test_pac_loss_names_both_numbers_when_events_and_prototypes_differ():
    with pytest.raises(ValueError, match=r'\(2, 23\), expected 2 frames x 71 prototypes'):
        PACLoss(channels=8)(torch.randn(2, 8), torch.randn(71, 8), torch.zeros(2, 23))


# ---- losses of dense masks ----

MASK_LOSS = dict(
    type='MaskLoss', foreground=dict(type='FrameDiceLoss'), classes=dict(type='FrameCrossEntropyLoss'))
LABELLED = torch.tensor([True, False, True])


def make_dense(num_classes, size=(8, 6)):
    masks = torch.randint(0, max(2, num_classes), (3, 8, 6), dtype=torch.uint8)
    masks[:, 0] = 255
    return torch.randn(3, num_classes, *size), masks


@pytest.mark.parametrize('num_classes, per_frame', [(1, frame_dice_loss), (4, frame_cross_entropy)])
def test_mask_loss_chooses_by_the_number_of_channels(num_classes, per_frame):
    logits, masks = make_dense(num_classes)
    first, _, last = per_frame(logits, masks)
    torch.testing.assert_close(MODELS.build(MASK_LOSS)(logits, masks, LABELLED), (first + last) / 2)


def test_mask_loss_interpolates_logits_to_the_size_of_the_masks():
    logits, masks = make_dense(1, size=(4, 3))
    expected = frame_dice_loss(F.interpolate(logits, (8, 6), mode='bilinear'), masks)[LABELLED].mean()
    torch.testing.assert_close(MODELS.build(MASK_LOSS)(logits, masks, LABELLED), expected)


@pytest.mark.parametrize('name, num_classes, expected', [
    ('FrameDiceLoss', 3, 'one output channel'), ('FrameBinaryCrossEntropyLoss', 3, 'one output channel'),
    ('FrameCrossEntropyLoss', 1, 'classes, two or more')])
def test_loss_for_another_number_of_channels_is_an_error(name, num_classes, expected):
    logits, masks = make_dense(num_classes)
    with pytest.raises(ValueError, match=f'{name}: the logits have {num_classes} channels, expected {expected}'):
        MODELS.build(dict(type=name))(logits, masks, LABELLED)


def test_mix_loss_is_that_of_the_mean_channel():
    feature, masks = make_dense(5)
    loss = MODELS.build(dict(type='MixLoss', loss_weight=0.2, mask_loss=MASK_LOSS))
    expected = 0.2 * frame_dice_loss(feature.mean(1, keepdim=True), masks)[LABELLED].mean()
    torch.testing.assert_close(loss(feature, masks, LABELLED), expected)


def test_intermediate_mask_loss_has_one_term_for_each_layer():
    (logits, masks), (others, _) = make_dense(4), make_dense(4)
    loss = MODELS.build(dict(type='IntermediateMaskLoss', loss_weight=0.2, mask_loss=MASK_LOSS))
    expected = [0.2 * frame_cross_entropy(x, masks)[LABELLED].mean() for x in (logits, others)]
    torch.testing.assert_close(loss([logits, others], masks, LABELLED), expected)
