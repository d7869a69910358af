"""The checks of the parity cases notice what they must: wrong values, NaN, unknown words, tied decisions."""
import json
from itertools import product
from pathlib import Path
from unittest import mock

import pytest
import test_parity
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from parity import combo, ease
from parity.comparison import assert_within, relative_errors
from parity.decisions import compare_with_ties, watched_decisions
from parity.label_maps import read_ground_truth, read_label_maps, supervised_frames
from parity.slices import steps
from parity.targets import UnknownTargetsError, frame_labels, supervision
from small_models import randomize_constant_init, small_config

from mmavs.checkpoint.converters import export_weights
from mmavs.models import VCTHead
from mmavs.models.decode_heads import vct
from mmavs.models.layers import masked_attention_decoder
from mmavs.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'
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


def test_ground_truth_of_case_json_goes_before_the_readme():
    readme = 'Losses: label 5 where seeded.frames(9,2,2,2,cell=32)[:,0] > 150, else 0; as in training.'
    case = dict(clips=1, frame_labels={'1': [0, 5]}, empty_frames=[0])
    labels, supervised = read_ground_truth(case, readme, Frames, 2, (2, 2))
    assert labels.flatten(1).tolist() == [[0, 0, 0, 0], [0, 5, 5, 0]] and supervised.tolist() == [True, True]
    labels, supervised = read_ground_truth(dict(clips=1, frame_labels={'0': [], '1': [5]}), readme, Frames, 2, (2, 2))
    assert not labels[0].any() and supervised.all()
    with pytest.raises(AssertionError, match=r'frame 1 holds the classes \[0, 1\], the README describes \[0, 5\]'):
        read_ground_truth(dict(clips=1, frame_labels={'1': [0, 1]}), readme, Frames, 2, (2, 2))
    readme = readme.replace('as in training', 'frames 0 and 1 supervised, frame 1 empty')
    assert not read_ground_truth(dict(clips=1), readme, Frames, 2, (2, 2))[0][1].any()


def test_steps_of_stored_parts_are_read():
    readme = ('9 masks, res2 below.\nmasks[[first,last], ::3, ::2, ::2] of all; res2[frame 0, ::5], '
              'all.masks (::9, :, ::4)')
    assert steps(readme, 'masks', '::1, ::1, ::1') == (slice(None, None, 3), slice(None, None, 2), slice(None, None, 2))
    assert steps(readme, 'all.masks', '::1, ::1, ::1') == (slice(None, None, 9), slice(None), slice(None, None, 4))
    assert steps(readme, 'res2', '::1') == (slice(None, None, 5), )
    assert steps(readme, 'res5', '::7') == (slice(None, None, 7), )


@pytest.mark.parametrize('module, backbones', [
    (combo, ('resnet-50', 'pvt-v2-b5', 'pvtv2-b5')),
    (ease, ('dinov3-vit-b16', 'dinov3-vit-l16', 'vit-b16', 'vitl16', 'pvt-v2-b5', 'pvtv2-b5')),
])
def test_every_released_row_has_a_config(module, backbones):
    sizes = ((224, 224), ) if module is combo else ((224, 224), (384, 384))
    for backbone, size, subset in product(backbones, sizes, ('s4', 'ms3', 'avss')):
        path = module.config_path(dict(backbone=backbone, size=size, subset=subset))
        assert path.is_file() and subset in path.stem and ('384' in path.stem) == (size[0] == 384)
    with pytest.raises(NotImplementedError, match="backbone is 'swin-b', expected one of"):
        module.config_path(dict(backbone='swin-b', size=(224, 224), subset='s4'))


class Drawn:
    """Stands for seeded.py: weights and outputs of a small model of ours."""

    def __init__(self, weights):
        self.weights, self.outputs = weights, {}

    @staticmethod
    def frames(seed, num, height, width, cell=16):
        coarse = torch.randint(256, (num, 3, height // 16 + 1, width // 16 + 1), generator=Drawn.generator(seed))
        frames = coarse.repeat_interleave(16, 2).repeat_interleave(16, 3)[..., :height, :width]
        return frames.to(torch.uint8)

    @staticmethod
    def log_mel(seed, num):
        return torch.randn(num, 1, 96, 64, generator=Drawn.generator(seed))

    @staticmethod
    def draw(name, shape, kind, mean, std, seed):
        return torch.rand(shape, generator=Drawn.generator(seed))

    @staticmethod
    def grid_rand(shape):
        return torch.empty(shape[-2:]).uniform_(generator=Drawn.generator(0)).expand(shape).clone()

    @staticmethod
    def generator(seed):
        return torch.Generator().manual_seed(seed)

    def state_dict(self, name, cases):
        return self.weights

    def expected(self, name, cases):
        return dict(self.outputs)


README = '''sem_seg, frames [first,last], [::4,::4]; pred_masks[[first,last], ::2, ::2, ::2]; queries = frame 0 [::3];
mask_features[frame 0, ::8, ::4, ::4]; SAM-mask images = seeded.frames(1,2,64,64,cell=28);
log-mel = seeded.log_mel(63,2)
Losses: label {} where seeded.frames(563,2,64,64,cell=32)[:,0] > 150, else 0.'''


def combo_outputs(case, seeded, readme):
    """Arrays of a case of COMBO, and norms of gradients by the official name."""
    conversion = combo.convert_combo(seeded.weights)
    model = combo.build_model(case, conversion.state_dict)
    batch = combo.make_batch(model, case, seeded, readme)
    found = combo.outputs(model, batch, readme)()
    trained = {name: target for name, target in conversion.used.items() if 'class_embed' in name or 'query_' in name}
    with mock.patch.object(torch, 'rand', lambda *shape, device: seeded.grid_rand(shape)):
        losses, norms = combo.losses(model, batch, trained)
    return found | losses, norms


def ease_outputs(case, seeded, readme):
    conversion, total = ease.convert_ease(seeded.weights), []
    model = ease.build_model(case, conversion.state_dict, readme)
    features, audio = ease.inputs(model, case, seeded)
    found = ease.outputs(model, features(), audio, tuple(case['size']), readme)
    found |= ease.losses(model, features, audio, ease.frame_targets(case, seeded, readme), seeded, total, readme)()
    total[0].backward()
    trained = {name: target for name, target in conversion.used.items() if 'class_head' in name or 'clusters' in target}
    parameters = dict(model.named_parameters())
    return found, {name: parameters[target].grad.norm().item() for name, target in trained.items()}


@pytest.mark.parametrize('module, outputs_of, config', [
    (combo, combo_outputs, 'combo/combo_pvt-v2-b5_ms3_as-released.py'),
    (combo, combo_outputs, 'combo/combo_r50_avss_as-released.py'),
    (ease, ease_outputs, 'ease/ease_pvt-v2-b5-384_s4.py'),
    (ease, ease_outputs, 'ease/ease_dinov3-l_avss.py'),
])
def test_a_small_case_of_every_kind_is_read_end_to_end(module, outputs_of, config, tmp_path, monkeypatch):
    # Of two frames, as case.json says, only the second is supervised.
    last_class = 70 if 'avss' in config else 1
    case = dict(backbone='small', subset='small', size=[64, 64], frames=2, clips=1, seed=63, empty_frames=[],
                frame_labels={'1': [0, last_class]})
    readme = README.format(last_class)
    (tmp_path / 'README.md').write_text(readme)
    model = small_config(CONFIGS / config)
    if module is ease:
        model.decode_head.audio_channels = 128
    Config(dict(model=model.to_dict())).dump(tmp_path / 'small.py')
    monkeypatch.setattr(module, 'config_path', lambda case: tmp_path / 'small.py')
    torch.manual_seed(0)
    weights = MODELS.build(model)
    randomize_constant_init(weights)
    seeded = Drawn(export_weights(module.__name__.removeprefix('parity.'), weights.state_dict()).state_dict)

    found, norms = outputs_of(case, seeded, readme)
    found.pop('scores')
    seeded.outputs = found | {f'grad_norm.{name}': norm for name, norm in norms.items()}
    assert len(norms) >= 2 and found['pred_masks'].shape[1] == len(range(0, 9, 2))
    module.check(tmp_path, case, seeded)
    for wrong in (dict(frame_labels={'0': [0, last_class]}), dict(frame_labels={'1': []})):
        with pytest.raises(AssertionError, match='beyond the tolerance'):
            module.check(tmp_path, case | wrong, seeded)


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
