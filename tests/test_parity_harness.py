"""The checks of the parity cases notice what they must: wrong values, NaN, unknown words, tied decisions."""
import json

import pytest
import test_parity
import torch
from mmengine.registry import init_default_scope
from parity.comparison import assert_within, relative_errors
from parity.decisions import compare_with_ties, watched_decisions
from parity.label_maps import read_label_maps, supervised_frames
from parity.targets import UnknownTargetsError, frame_labels, supervision

from mmavs.models import VCTHead
from mmavs.models.decode_heads import vct
from mmavs.models.layers import masked_attention_decoder

TARGETS = 'Targets: two clips; target i is a rectangle of a 384x384 mask.\n{}\ntorch.rand is patched.'


def every(labels, *exceptions):
    """Labels of ten frames, with exceptions {frame: labels}."""
    result = {frame: labels for frame in range(10)}
    for exception in exceptions:
        result.update(exception)
    return result


@pytest.mark.parametrize('words, expected', [
    ('Supervised frames 0 and 5, labels [0,1] each; clip categories 7 and 19 (1-based).', {0: [0, 1], 5: [0, 1]}),
    ('All frames supervised, labels [0,1].', every([0, 1])),
    ('All frames supervised, labels [0,1], frame 2 empty.', every([0, 1], {2: []})),
    ('All frames supervised, labels [0,1], only [0] where frame index % 3 == 0.',
     every([0, 1], {frame: [0] for frame in (0, 3, 6, 9)})),
    ('All frames supervised, labels [0,1]; frames 3 and 7 with [0], the last with [0].',
     every([0, 1], {3: [0], 7: [0], 9: [0]})),
    ('Clip A (v1s): only frame 0 supervised, labels [0,5]; clip B: its 5 frames supervised, four with labels '
     '[0,5,33], the last with [0].', {0: [0, 5], **{frame: [0, 5, 33] for frame in (5, 6, 7, 8)}, 9: [0]}),
])
def test_sentences_about_labels_are_read(words, expected):
    assert frame_labels({}, TARGETS.format(words), 10) == expected


@pytest.mark.parametrize('words', [
    'All frames supervised, labels [0,1], the second of each clip is shifted by 3.',
    'All frames supervised, labels [0,1], odd frames without a target.',
    'Frames are supervised as in training.',
])
def test_sentences_about_labels_that_are_not_understood_fail(words):
    with pytest.raises(UnknownTargetsError, match='frame_labels'):
        frame_labels({}, TARGETS.format(words), 10)


def test_case_json_goes_before_the_readme():
    case = dict(frame_labels={'0': [0, 1], '4': [0]}, empty_frames=[2])
    assert frame_labels(case, 'Targets: read otherwise', 10) == {0: [0, 1], 2: [], 4: [0]}
    with pytest.raises(AssertionError, match='frame 0 is one of empty_frames'):
        frame_labels(dict(frame_labels={'0': [0, 1]}, empty_frames=[0]), '', 10)
    assert frame_labels(dict(empty_frames=[2]), TARGETS.format('All frames supervised, labels [0,1].'),
                        10) == every([0, 1], {2: []})


@pytest.mark.parametrize('words, supervised, empty', [
    ('mask = seeded.frames(1,4,8,8,cell=32)[:,0] > 150; only the first frame of each clip supervised.', '1010', []),
    ('mask = seeded.frames(1,4,8,8,cell=32)[:,0] > 150; all frames supervised, frame 2 empty.', '1111', [2]),
    ('class = seeded.frames(1,...,cell=32)[:,0] % 71, frames 1..1 = 0; supervised flag 1x1,0x1.', '1010', [1]),
])
def test_sentences_about_supervision_are_read(words, supervised, empty):
    found = supervision({}, f'Ground truth: {words}\n', num_clips=2, num_frames=4)
    assert found == ([flag == '1' for flag in supervised], empty)


def test_supervision_of_case_json_and_unknown_sentences():
    case = dict(frame_labels={'0': [0, 1], '3': [0]})
    assert supervision(case, '', 2, 4) == ([True, False, False, True], [3])
    with pytest.raises(UnknownTargetsError, match='every second'):
        supervision({}, 'Ground truth: mask = x; all frames supervised, every second pixel 0\n', 2, 4)


class Frames:
    """Stands for seeded.py: two frames of 2x2 pixels."""

    @staticmethod
    def frames(seed, num, height, width, cell):
        assert (seed, num, height, width, cell) == (9, 2, 2, 2, 32)
        return torch.tensor([[[[10, 160], [210, 200]]], [[[150, 151], [201, 0]]]], dtype=torch.uint8)


@pytest.mark.parametrize('words, labels, supervised', [
    ('label 1 where seeded.frames(9,2,2,2,cell=32)[:,0] > 150, else 0; only the first frame supervised; one binary '
     'mask per label present', [[0, 1, 1, 1], [0, 1, 1, 0]], [True, False]),
    ('m = seeded.frames(9,2,2,2,cell=32)[:,0]; label 5 where m > 200, 33 where 150 < m <= 200, else 0; every frame '
     'supervised', [[0, 33, 5, 33], [0, 33, 5, 0]], [True, True]),
    ('class = seeded.frames(9,...,cell=32)[:,0] % 71; supervised flag 0x1,1x1', [[10, 18, 68, 58], [8, 9, 59, 0]],
     [False, True]),
])
def test_sentences_about_label_maps_are_read(words, labels, supervised):
    readme = f'expected.npz: scores.\nLosses: {words}. torch.rand patched.'
    assert read_label_maps(readme, Frames, 2, (2, 2)).flatten(1).tolist() == labels
    assert supervised_frames(dict(clips=1), readme, 2) == supervised
    assert supervised_frames(dict(clips=1, frame_labels={'1': [0]}), readme, 2) == [False, True]


@pytest.mark.parametrize('words', ['label 1 where seeded.frames(9,2,2,2,cell=32)[:,0] < 3, else 0', 'as above'])
def test_sentences_about_label_maps_that_are_not_understood_fail(words):
    with pytest.raises(UnknownTargetsError):
        read_label_maps(f'Losses: {words}; odd frames supervised.', Frames, 2, (2, 2))
    with pytest.raises(UnknownTargetsError):
        supervised_frames(dict(clips=1), f'Losses: {words}; odd frames supervised.', 2)


def test_nan_is_beyond_any_tolerance_at_any_place():
    expected = dict(a=torch.ones(3).numpy(), b=torch.ones(3).numpy())
    found = dict(expected, b=torch.tensor([1, torch.nan, 1]).numpy())
    errors = relative_errors(found, expected)
    assert errors['a'] == 0
    with pytest.raises(AssertionError, match="'b': nan"):
        assert_within(errors, 1e-4)
    with pytest.raises(AssertionError, match="no output for \\['a'\\]"):
        relative_errors({}, dict(a=expected['a']))


def test_named_directory_with_an_unknown_case_or_none_fails(tmp_path, monkeypatch):
    check = test_parity.test_case_matches_the_published_implementation
    (tmp_path / 'case.json').write_text(json.dumps(dict(method='mystery')))
    monkeypatch.setattr(test_parity, 'NAMED', None)
    with pytest.raises(pytest.skip.Exception, match='mystery'):
        check(tmp_path, None)
    monkeypatch.setattr(test_parity, 'NAMED', str(tmp_path))
    with pytest.raises(pytest.fail.Exception, match='mystery'):
        check(tmp_path, None)
    monkeypatch.setattr(test_parity, 'DIRECTORIES', [])
    with pytest.raises(AssertionError, match='no directory in it holds a case.json'):
        test_parity.test_named_directory_holds_cases()
    (tmp_path / 'case.json').write_text(json.dumps(dict(method='beats', seed=1, seconds=[1], odd_frames=3)))
    with pytest.raises(AssertionError, match="does not read: \\['odd_frames'\\]"):
        check(tmp_path, None)


@pytest.fixture
def forward():
    """Function that computes the outputs of a small VCT head."""
    init_default_scope('mmavs')
    channels = (4, 8, 12, 16)
    head = VCTHead(
        num_classes=3,
        input_size=(64, 64),
        audio_channels=8,
        pixel_decoder=dict(
            type='MSDeformAttnPixelDecoder', in_channels=channels, embed_dims=32, num_layers=1, num_heads=4,
            ffn_dims=16),
        criterion=dict(type='SetCriterion', num_points=64),
        audio_hidden_dims=16,
        num_queries=6,
        num_heads=4,
        ffn_dims=16).eval()
    features = tuple(torch.randn(2, c, 64 // s, 64 // s) for c, s in zip(channels, (4, 8, 16, 32)))
    audio, valid = torch.randn(2, 24, 8), torch.ones(2, 1, dtype=torch.bool)

    @torch.no_grad()
    def compute():
        outputs = head(features, audio, valid)
        return {key: outputs[key].numpy() for key in ('class_logits', 'mask_logits', 'queries')}

    return compute


@pytest.mark.parametrize('kind', ['masked attention', 'hard grouping'])
def test_tied_decisions_are_taken_as_the_reference_has_them(forward, monkeypatch, kind):
    # So small a head has no ties: decisions with a larger margin are called ties.
    monkeypatch.setattr('parity.decisions.TIED', 0.02)
    monkeypatch.setattr('parity.decisions.MAX_TIES', 100)
    monkeypatch.setattr('parity.decisions.MAX_FLIPS', 1)
    original = masked_attention_decoder.inside_masks, vct._one_hot
    with watched_decisions() as ties:
        usual = forward()
    chosen = min(tie for tie in ties if tie.kind == kind)
    with watched_decisions((chosen, )):
        expected = forward()
    assert max(relative_errors(usual, expected).values()) > 1e-4
    assert (masked_attention_decoder.inside_masks, vct._one_hot) == original

    found, errors, flipped = compare_with_ties(forward, lambda found: relative_errors(found, expected), 1e-4)
    assert flipped == (chosen, )
    assert_within(errors, 1e-4)


def test_wrong_outputs_are_not_excused_by_ties(forward, monkeypatch):
    monkeypatch.setattr('parity.decisions.TIED', 1e-3)
    expected = forward()
    expected['mask_logits'] = expected['mask_logits'] * 1.01
    _, errors, flipped = compare_with_ties(forward, lambda found: relative_errors(found, expected), 1e-4)
    assert flipped == ()
    with pytest.raises(AssertionError, match='mask_logits'):
        assert_within(errors, 1e-4)
