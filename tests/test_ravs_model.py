"""The RAVS model: audio, silence, padding, and the parts that its configs enable."""
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from small_models import loss_of, make_clip, predict, small_config

from mmavs.registry import MODELS
from mmavs.utils.config import load_config

CONFIGS = Path(__file__).parents[1] / 'configs/ravs'
AVSS = CONFIGS / 'ravs_pvt-v2-b5_avss.py'


@pytest.fixture(autouse=True)
def _scope_and_seed():
    init_default_scope('mmavs')
    torch.manual_seed(0)


def build_model(path=AVSS):
    return MODELS.build(small_config(path))


@pytest.mark.parametrize(('row', 'grouping', 'merging', 'contrast', 'uncertainty'), [
    ('ablation/ravs_pvt-v2-b5_avss_baseline', False, False, False, False),
    ('ablation/ravs_pvt-v2-b5_avss_grouping', True, False, False, False),
    ('ablation/ravs_pvt-v2-b5_avss_merging', True, True, False, False),
    ('ablation/ravs_pvt-v2-b5_avss_contrast', True, True, True, False),
    ('ravs_pvt-v2-b5_avss', True, True, True, True),
])
def test_each_row_of_the_ablation_adds_one_part(row, grouping, merging, contrast, uncertainty):
    model = MODELS.build(small_config(CONFIGS / f'{row}.py'))
    assert [align.num_groups for align in model.backbone.ama] == ([49, 49, 25, 9] if grouping else [None] * 4)
    assert [align.merging for align in model.backbone.ama] == [merging] * 4
    assert (model.decode_head.contrast_loss is not None) == contrast
    assert (model.decode_head.uncertainty_loss is not None) == uncertainty


@pytest.mark.parametrize(('subset', 'clips', 'classes'), [('s4', 3452, 1), ('ms3', 296, 1), ('avss', 8498, 71)])
def test_configs_train_for_the_stated_epochs(subset, clips, classes):
    config = load_config(str(CONFIGS / f'ravs_pvt-v2-b5_{subset}.py'))
    epoch = -(-clips // 8)
    assert config.train_cfg.max_iters == 150 * epoch
    assert [scheduler.end for scheduler in config.param_scheduler] == [2 * epoch, 150 * epoch + 1]
    assert config.param_scheduler[1].begin == 2 * epoch
    head = config.model.decode_head
    assert (head.num_classes, head.uncertainty_loss.ramp_steps) == (classes, 10 * epoch)


def test_clips_of_different_length_are_independent():
    model = build_model()
    short, long = make_clip(model, 2), make_clip(model, 4)
    together, alone = predict(model, short, long), [*predict(model, short), *predict(model, long)]
    for found, expected in zip(together, alone):
        torch.testing.assert_close(found.seg_logits, expected.seg_logits, rtol=1e-4, atol=1e-4)


def test_prediction_depends_on_the_audio():
    model = build_model()
    clip = make_clip(model, 2)
    before = predict(model, clip)[0].seg_logits
    clip[0]['waveform'] = clip[0]['waveform'].flip(0) * 3
    assert (predict(model, clip)[0].seg_logits - before).abs().max() > 1e-4


def test_silence_is_legal_input():
    model = build_model()
    clip = make_clip(model, 2)
    clip[0]['waveform'].zero_()
    assert predict(model, clip)[0].seg_logits.isfinite().all()
    loss = loss_of(model.train(), [clip])
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_a_batch_without_ground_truth_has_no_loss_and_reaches_every_parameter():
    model = build_model().train()
    loss = loss_of(model, [make_clip(model, 2, labelled=[False, False])])
    loss.backward()
    assert loss == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters() if p.requires_grad)


def test_a_clip_may_be_a_single_frame():
    model = build_model()
    assert predict(model, make_clip(model, 1))[0].seg_logits.isfinite().all()
    assert loss_of(model.train(), [make_clip(model, 1), make_clip(model, 1)]).isfinite()


def test_uncertainty_lowers_every_prediction():
    model = build_model(CONFIGS / 'ravs_pvt-v2-b5_s4.py')
    clip = make_clip(model, 1)
    lowered = predict(model, clip)[0].foreground_prob
    model.decode_head.uncertainty_loss = None
    plain = predict(model, clip)[0].foreground_prob
    assert (lowered < plain).all()


@pytest.mark.parametrize('subset', ['s4', 'avss', 'vpo-ss'])
def test_configs_of_published_subsets_follow_the_paper(subset):
    model = load_config(str(CONFIGS / f'ravs_pvt-v2-b5_{subset}.py')).model
    backbone, head = model.backbone, model.decode_head
    assert (backbone.compact_update, backbone.gate, backbone.min_prominence) == ('decoder', False, 0)
    assert (head.uncertainty_exponent, head.relative_uncertainty) == (1, False)


@pytest.mark.parametrize(('variant', 'attribute', 'value'), [
    ('formula-update', 'backbone.ama.0.decoder', None),
    ('gate', 'backbone.ama.0.gate', True),
    ('adaptive-groups', 'backbone.ama.0.min_prominence', 0.3),
    ('groups-16', 'backbone.ama.3.num_groups', 4),
    ('mask-contrast', 'decode_head.contrast_loss.by_masks', True),
])
def test_variants_train(variant, attribute, value):
    model = build_model(CONFIGS / f'ablation/ravs_pvt-v2-b5_avss_{variant}.py').train()
    part, _, name = attribute.rpartition('.')
    assert getattr(model.get_submodule(part), name) == value
    loss = loss_of(model, [make_clip(model, 2)])
    loss.backward()
    assert loss.isfinite() and all(p.grad is not None for p in model.parameters() if p.requires_grad)
