"""Figures of trained models: methods side by side, maps inside of them, and clips drawn during a training."""
import re
from pathlib import Path
from types import SimpleNamespace

import cv2
import matplotlib.image
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmavs.analysis.compared_clips import model_maps
from mmavs.engine.hooks import ClipVisualizationHook
from mmavs.engine.launch import build_runner
from mmavs.registry import DATASETS, MODELS
from mmavs.utils.config import load_config

REPOSITORY = Path(__file__).parents[1]
CONFIG = REPOSITORY / 'tests/configs/vct_tiny_s4.py'
METHODS = [REPOSITORY / f'configs/{name}_tiny_synthetic-ms3.py' for name in ('vct/vct', 'avsegformer/avsegformer')]


# ---- maps ----


def test_query_maps_are_the_mask_logits_of_the_most_certain_queries():
    class_logits = torch.full((2, 3, 4), -9.)  # background, dog, cat, no object
    class_logits[0, 2, 1] = class_logits[0, 0, 2] = class_logits[1, 1, 2] = 9
    class_logits[0, 0, 3] = 8.5
    class_logits[0, 1, 0] = class_logits[1, 0, 3] = class_logits[1, 2, 0] = 30  # background and no object do not count
    mask_logits = torch.arange(2 * 3 * 4.).view(2, 3, 2, 2) - 10
    first, second = model_maps(dict(class_logits=class_logits, mask_logits=mask_logits), ('background', 'dog', 'cat'))
    assert list(first.captions) == ['1.00 dog', '1.00 cat'] and second.captions[0] == '0.62 cat'
    # One scale for all logits that are shown, with 0 in the middle.
    shown = torch.stack([torch.stack([mask_logits[0, 2], mask_logits[1, 1]]), torch.from_numpy(second.values)])
    np.testing.assert_allclose((first.values - 0.5)[shown[0] == 0], 0, atol=1e-7)
    ratio = (first.values - 0.5)[shown[0] != 0] / shown[0][shown[0] != 0].numpy()
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert 0 <= min(first.values.min(), second.values.min()) and max(first.values.max(), second.values.max()) <= 1


def test_feature_maps_are_channel_means_before_and_after_the_mixer():
    feature = torch.rand(2, 8, 3, 3)
    before, after = model_maps(dict(mask_feature=feature, mixed_feature=-feature), ('background', 'object'))
    assert (before.label, after.label) == ('before mixer', 'after mixer')
    mean = feature.mean(1).numpy()
    np.testing.assert_allclose(before.values, (mean - mean.min()) / (mean.max() - mean.min()), atol=1e-6)
    np.testing.assert_allclose(after.values, 1 - before.values, atol=1e-5)
    assert model_maps(dict(logits=feature), ('background', 'object')) == []


# ---- draw_comparison.py ----


@pytest.fixture
def checkpoints(tmp_path):
    """Untrained weights of a small VCT and a small AVSegFormer."""
    paths = []
    for config in METHODS:
        paths.append(tmp_path / f'{config.stem}.pth')
        torch.save(dict(state_dict=MODELS.build(load_config(str(config)).model).state_dict()), paths[-1])
    return paths


def test_two_models_are_drawn_with_their_maps(run_tool, synthetic_root, tmp_path, checkpoints, capsys):
    models = [value for pair in zip(METHODS, checkpoints) for value in pair]
    options = ['--cfg-options', f"test_dataloader.dataset.data_root={synthetic_root / 'Multi-sources'}"]
    run_tool('analysis_tools/draw_comparison', *models, '--names', 'VCT', 'AVSegFormer', '--clips', 'test_00001',
             '--frames', 0, 3, '--maps', '--queries', 1, '--out', tmp_path / 'out/figure.png', *options)
    image = matplotlib.image.imread(tmp_path / 'out/figure.png')
    assert image.shape[1] > 1000 and image.std() > 0.1
    assert str(tmp_path / 'out/figure.png') in capsys.readouterr().out
    run_tool('analysis_tools/draw_comparison', *models[:2], '--clips', 'test_00001', '--frames', 1, '--out',
             tmp_path / 'figure.pdf', *options)
    assert (tmp_path / 'figure.pdf').read_bytes().startswith(b'%PDF')
    with pytest.raises(SystemExit, match="none of the 3 clips of its dataset has the id 'nothing'"):
        run_tool('analysis_tools/draw_comparison', *models[:2], '--clips', 'nothing', '--out', tmp_path / 'x.png',
                 *options)


# ---- ClipVisualizationHook ----


@pytest.fixture
def config(tmp_path, synthetic_root):
    """The tiny VCT with the lines of docs/user_guides/training.md, validated after one iteration."""
    page = (REPOSITORY / 'docs/user_guides/training.md').read_text()
    section = page.partition('## Draw predictions during a training')[2]
    lines = re.search(r'```python\n(.*?)```', section, re.DOTALL)[1]
    file = tmp_path / 'config.py'
    file.write_text(f"_base_ = '{CONFIG}'\n{lines}")
    config = Config.fromfile(file)
    for split in ('train', 'val', 'test'):
        config[f'{split}_dataloader'].dataset.data_root = str(synthetic_root / 'Single-source')
    config.train_cfg.update(max_iters=1, val_interval=1)
    config.work_dir = str(tmp_path / 'work')
    config.log_level = 'WARNING'
    return config


def test_validation_clips_go_to_the_backends_with_the_step(config, tmp_path):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    build_runner(config).train()
    dataset = DATASETS.build(config.val_dataloader.dataset)
    names = [f"val_{dataset.get_data_info(i)['clip_id'].replace('/', '_')}" for i in range(2)]
    images = sorted((tmp_path / 'work').rglob('vis_image/*.png'))
    assert [path.name for path in images] == sorted(f'{name}_1.png' for name in names)
    assert all(cv2.imread(str(path)).shape[1] > 1000 for path in images)
    events, = (tmp_path / 'work').rglob('events.out.tfevents*')
    log = accumulator.EventAccumulator(str(events))
    log.Reload()
    assert sorted(log.Tags()['images']) == sorted(names)
    assert [event.step for event in log.Images(names[0])] == [1]


class Clips(list):
    """A dataset of clips with these ids."""

    def get_data_info(self, index):
        return dict(clip_id=self[index])


def test_unknown_clip_is_an_error_before_the_first_step():
    runner = SimpleNamespace(val_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=Clips(['dog', 'bus']))))
    ClipVisualizationHook(val_clips=['bus']).before_train(runner)
    ClipVisualizationHook(val_clips=5).before_train(runner)
    with pytest.raises(ValueError, match="val_clips names 'cat', but none of the 2 validation clips has this id"):
        ClipVisualizationHook(val_clips=['bus', 'cat']).before_train(runner)


def test_hook_that_draws_nothing_is_an_error():
    with pytest.raises(ValueError, match='set out_dir'):
        ClipVisualizationHook()
    with pytest.raises(ValueError, match="val_clips is 'cat'"):
        ClipVisualizationHook(val_clips='cat')
