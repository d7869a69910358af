"""The bank of prototypes for unknown audio events, and VCT with it."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_vct_head import build_head, make_inputs, make_targets

from mmavs.datasets.transforms import GenerateEventLabels
from mmavs.models.layers import PrototypeBank
from mmavs.registry import MODELS

BANK = dict(type='PrototypeBank', capacity=3, min_similarity=0.5, momentum=0.9, warmup=0)
KNOWN = torch.eye(8)[:2]  # the learned prototypes


def make_bank(**options) -> PrototypeBank:
    return MODELS.build({**BANK, 'channels': 8, **options})


def update(bank, *frames, known=None):
    return bank.update(torch.stack(frames), KNOWN, torch.tensor(known or [False] * len(frames)))


def axis(index: int, towards: int | None = None, cosine: float = 1.) -> torch.Tensor:
    """Unit vector of an axis, or one with the given cosine to it in the plane of two axes."""
    vector = torch.eye(8)[index] * cosine
    return vector if towards is None else vector + torch.eye(8)[towards] * (1 - cosine**2)**0.5


def test_audio_far_from_all_prototypes_becomes_a_center():
    bank = make_bank()
    assigned = update(bank, axis(3), axis(4), axis(3, 5, 0.8), axis(3))
    assert bank.counts.tolist() == [3, 1, 0]
    assert assigned.tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0]]
    torch.testing.assert_close(bank.centers.norm(dim=1), torch.tensor([1., 1., 0.]))


def test_center_moves_towards_its_audio_by_the_momentum():
    bank = make_bank()
    update(bank, axis(3))
    near = axis(3, 5, 0.8)
    update(bank, near)
    torch.testing.assert_close(bank.centers[0], F.normalize(0.9 * axis(3) + 0.1 * near, dim=0))


def test_audio_near_a_learned_prototype_or_of_a_known_event_leaves_the_bank_alone():
    bank = make_bank()
    assert not update(bank, axis(1, 5, 0.9)).any()
    assert not update(bank, axis(6), axis(7), known=[True, True]).any()
    assert not bank.counts.any() and not bank.centers.any()


def test_full_bank_gives_audio_to_the_nearest_center():
    bank = make_bank()
    update(bank, axis(3), axis(4), axis(5))
    far = F.normalize(0.4 * axis(4) + axis(7), dim=0)
    assert update(bank, far).tolist() == [[0, 1, 0]]
    assert bank.counts.tolist() == [1, 2, 1]


def test_bank_grows_only_after_the_warmup():
    bank = make_bank(warmup=2)
    for expected in (0, 0, 1):
        update(bank, axis(3))
        assert int((bank.counts > 0).sum()) == expected
    assert int(bank.steps) == 3


def test_bank_is_stored_in_the_checkpoint():
    bank, other = make_bank(), make_bank()
    update(bank, axis(3), axis(4))
    other.load_state_dict(bank.state_dict())
    assert update(other, axis(4)).tolist() == [[0, 1, 0]]


def test_prompts_are_the_directions_of_fastest_growing_similarity():
    bank = make_bank()
    update(bank, axis(3))
    prototypes, projection = torch.randn(4, 8), torch.randn(8, 8)
    prompts, exist = bank.prompts(prototypes, projection)
    assert exist.tolist() == [True, False, False]
    point = torch.zeros(8, requires_grad=True)
    (projection @ point @ bank.centers[0]).backward()
    torch.testing.assert_close(F.normalize(prompts[0], dim=0), F.normalize(point.grad, dim=0))
    torch.testing.assert_close(prompts[0].norm(), prototypes.norm(dim=1).mean())


@pytest.fixture
def head_and_batch():
    """A head whose bank takes every unknown audio as a new center, its inputs, and targets without a known event."""
    head = build_head(prototype_bank=BANK | dict(min_similarity=1., capacity=8))
    targets = make_targets()
    targets.events = torch.tensor([[1., 0, 0, 0], [1, 0, 1, 0]])  # the first frame has background only
    return head, make_inputs(), targets


def test_head_adds_unknown_audio_to_its_bank_in_training_only(head_and_batch):
    head, inputs, targets = head_and_batch
    head.eval().loss(*inputs, targets)
    assert not head.prototype_bank.counts.any()
    audio = head.pac_loss.embed_audio(head.audio_mlp(inputs[1]).mean(1))
    head.train().loss(*inputs, targets)
    assert head.prototype_bank.counts.tolist() == [1] + [0] * 7
    torch.testing.assert_close(head.prototype_bank.centers[0], audio[0])


def test_pac_loss_compares_audio_with_the_center_that_it_belongs_to(head_and_batch):
    head, inputs, targets = head_and_batch
    found = head.loss(*inputs, targets)['loss_pac']
    audio = head.pac_loss.embed_audio(head.audio_mlp(inputs[1]).mean(1))
    compared = torch.cat((head.pac_loss.embed_prototypes(head.query_generator.prototypes.weight), audio[:1]))
    logits = head.pac_loss.logit_scale.exp() * audio @ compared.t()
    labels = torch.tensor([[1., 0, 0, 0, 1], [1, 0, 1, 0, 0]])
    torch.testing.assert_close(found, F.binary_cross_entropy_with_logits(logits, labels))


def test_queries_attend_to_centers_that_exist_and_to_no_others(head_and_batch):
    head, inputs, targets = head_and_batch
    head.eval()
    empty = head(*inputs)['queries']
    plain = build_head()
    plain.load_state_dict(head.state_dict(), strict=False)
    torch.testing.assert_close(plain.eval()(*inputs)['queries'], empty)
    head.train().loss(*inputs, targets)
    assert (head.eval()(*inputs)['queries'] - empty).abs().max() > 1e-4


def test_bank_without_the_audio_contrast_is_refused():
    with pytest.raises(ValueError, match='prototype_bank finds events with the pac_loss of the audio'):
        build_head(pac_loss=None, prototype_bank=BANK)
    with pytest.raises(ValueError, match="contrast 'queries'"):
        build_head(contrast='queries', prototype_bank=BANK)


def test_classes_beyond_the_events_have_no_label_if_they_are_unknown():
    masks = np.zeros((2, 4, 4), np.uint8)
    masks[0, 0], masks[1, 0], masks[1, 1] = 1, 5, 255
    clip = dict(clip_id='clip', masks=masks, frame_paths=['', ''])
    labels = GenerateEventLabels('masks', 3, allow_unknown=True).transform(dict(clip))['gt_events']
    assert labels.tolist() == [[1, 1, 0], [1, 0, 0]]
    with pytest.raises(ValueError, match='num_events=3'):
        GenerateEventLabels('masks', 3).transform(dict(clip))
