"""The consistency loss of COMBO, and VCT with it."""
import math

import pytest
import torch
from small_models import loss_of, make_clip, small_config
from test_vct_head import build_head, make_inputs, make_targets

from mmavs.models import TemporalConsistencyLoss
from mmavs.registry import MODELS

VALID = torch.tensor([[True] * 3, [True, True, False]])


def test_loss_is_the_mean_over_adjacent_frames_that_exist():
    masks = torch.randn(6, 2, 4, 4, dtype=torch.double)
    terms = []
    for first, second in ((0, 1), (1, 2), (3, 4)):  # not 2|3, of two clips, and not 4|5, where padding begins
        x, y = masks[first].flatten(), masks[second].flatten()
        distance = 1 - x @ y / x.norm() / y.norm()
        terms.append(distance * math.exp(-distance))
    loss, = TemporalConsistencyLoss(weight=10.)([masks], VALID)
    torch.testing.assert_close(loss.double(), 10 * sum(terms) / 3, rtol=1e-5, atol=1e-6)


def test_pairs_in_different_groups_of_a_clip_do_not_count():
    masks = torch.randn(2, 2, 4, 4).repeat_interleave(5, 0)  # two scenes
    grouped, = TemporalConsistencyLoss(10., group_size=5)([masks], torch.ones(1, 10, dtype=torch.bool))
    whole, = TemporalConsistencyLoss(10.)([masks], torch.ones(1, 10, dtype=torch.bool))
    assert grouped == pytest.approx(0, abs=1e-5) and whole > 0.1


def test_small_distances_of_large_masks_are_exact():
    # As many values as 100 queries have at 56x56.
    first = torch.randn(1, 100, 56, 56) * 5 - 3
    masks = torch.cat((first, first + torch.randn_like(first)))
    distance = 1 - torch.nn.functional.cosine_similarity(*masks.double().flatten(1), dim=0)
    loss, = TemporalConsistencyLoss(1.)([masks], VALID[:1, :2])
    torch.testing.assert_close(loss.double(), distance * math.exp(-distance), rtol=3e-5, atol=0)


def test_equal_frames_cost_nothing_and_opposite_ones_less_than_orthogonal_ones():
    same, orthogonal, opposite = torch.tensor([1., 0]), torch.tensor([0., 1]), torch.tensor([-1., 0])

    def loss(other):
        return TemporalConsistencyLoss(1.)([torch.stack((same, other))[:, :, None, None]], VALID[:1, :2])[0].item()

    assert loss(same) == pytest.approx(0, abs=1e-6)
    assert loss(orthogonal) == pytest.approx(math.exp(-1))  # the maximum of l * exp(-l), at l = 1
    assert loss(opposite) == pytest.approx(2 * math.exp(-2))


def test_clip_with_one_existing_frame_gives_a_zero_gradient():
    masks = torch.randn(4, 2, 3, 3, requires_grad=True)
    loss, = TemporalConsistencyLoss()([masks], torch.tensor([[True, False], [False, False]]))
    loss.backward()
    assert loss == 0 and not masks.grad.any()


def test_head_compares_all_predictions_but_the_last():
    head = build_head(num_layers=3, consistency_loss=dict(type='TemporalConsistencyLoss', weight=2.))
    features, audio, _ = make_inputs()
    losses = head.loss(features, audio, torch.ones(1, 2, dtype=torch.bool), make_targets())
    found = {name: value for name, value in losses.items() if 'consistency' in name}
    assert set(found) == {'d0.loss_consistency', 'd1.loss_consistency', 'd2.loss_consistency'}
    assert all(0 < value <= 2 / math.e for value in found.values())


def test_frames_that_are_split_up_are_an_error():
    head = build_head(consistency_loss=dict(type='TemporalConsistencyLoss'))
    with pytest.raises(ValueError, match='model.independent_frames=False'):
        head.loss(*make_inputs(), make_targets())


def test_config_compares_frames_without_ground_truth_as_well():
    model = MODELS.build(small_config('configs/vct/vct_tiny_synthetic_consistency.py')).train()
    clip = make_clip(model, 3, labelled=[True, False, False])
    calls = []
    model.decode_head.consistency_loss.register_forward_hook(
        lambda module, args, output: calls.append((len(args[0][0]), args[1].tolist())))
    assert loss_of(model, [clip]).isfinite()
    assert calls == [(3, [[True] * 3])]
