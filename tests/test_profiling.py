"""Timing and complexity of a model: FLOPs checked by hand, sums over parts, and the tool that prints them."""
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from torch import nn

from mmavs.analysis.complexity import count_flops, count_parameters, drop_pretrained
from mmavs.analysis.random_clips import random_clips
from mmavs.analysis.timing import measure_model
from mmavs.registry import MODELS
from mmavs.utils.config import load_config

CONFIG = Path(__file__).parents[1] / 'configs/vct/vct_tiny_synthetic.py'


@pytest.fixture(scope='module')
def model():
    init_default_scope('mmavs')
    return MODELS.build(load_config(str(CONFIG)).model)


@pytest.fixture(scope='module')
def clips(model):
    return random_clips(model, (96, 96), num_frames=2, num_labelled=1, num_events=9)


def test_flops_are_two_for_each_multiply_add(model, clips):
    flops = count_flops(model, clips)
    # Two frames; output channels, input channels, kernel and output size of a convolution, without bias.
    assert flops['backbone.conv1'] == 2 * 2 * 16 * 3 * 7 * 7 * 48 * 48
    assert flops['backbone.layer1.0.conv1'] == 2 * 2 * 16 * 16 * 3 * 3 * 24 * 24


def test_flops_of_the_branches_add_up(model, clips):
    flops = count_flops(model, clips)
    branches = [name for name, _ in model.named_children() if name in flops]
    assert set(branches) >= {'backbone', 'audio_backbone'}
    # Nearly all FLOPs are in the children of the segmentor and of the head (whose predict is not its forward).
    parts = sum(flops.get(name, 0) for name in ('backbone', 'audio_backbone', 'decode_head'))
    assert 0.8 * flops[''] < parts <= flops['']


def test_flops_of_a_list_of_layers_are_the_sum_over_its_layers(model, clips):
    flops = count_flops(model, clips)
    layers = [flops[f'decode_head.decoder.layers.{i}'] for i in range(5)]
    assert flops['decode_head.decoder.layers'] == sum(layers) and min(layers) > 0


def test_counting_leaves_the_model_trainable(model, clips):
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    count_flops(model, clips)
    assert trained == {name for name, p in model.named_parameters() if p.requires_grad}


def test_training_is_measured_with_its_backward(model, clips):
    torch.manual_seed(0)
    results = measure_model(model, clips, repeats=1)
    train = results['train']
    assert 0 < train.parts['backward'] < train.seconds
    assert train.fastest == train.slowest == train.seconds and train.peak_mib >= 0
    assert 'backward' not in results['predict'].parts and results['predict'].parts['backbone'] > 0
    assert all(p.grad is None for p in model.parameters())


def test_random_clips_are_labelled_as_asked(clips):
    sample, = clips['data_samples']
    assert sample.labelled.tolist() == [True, False] and sample.gt_events.shape == (2, 9)
    assert clips['inputs'][0]['frames'].shape == (2, 3, 96, 96)


def test_pretrained_weights_are_dropped_at_any_depth():
    pretrained = dict(type='Pretrained', checkpoint='x.pth')
    config = dict(backbone=dict(init_cfg=dict(pretrained)), heads=[dict(init_cfg=dict(pretrained))],
                  audio=dict(init_cfg=dict(type='Kaiming')))
    drop_pretrained(config)
    assert config == dict(backbone=dict(init_cfg=None), heads=[dict(init_cfg=None)],
                          audio=dict(init_cfg=dict(type='Kaiming')))


def test_parameters_are_counted():
    assert count_parameters(nn.Linear(3, 4)) == 16


def test_benchmark_prints_a_table_and_adds_rows(run_tool, tmp_path, capsys):
    arguments = (CONFIG, '--frames', 1, '--repeats', 1, '--device', 'cpu', '--out', tmp_path / 'rows.csv')
    for _ in range(2):
        run_tool('benchmarks/benchmark', *arguments)
    assert 'decode_head.pixel_decoder' in capsys.readouterr().out
    lines = (tmp_path / 'rows.csv').read_text().splitlines()
    assert [line.split(',')[0] for line in lines] == ['mode', 'predict', 'train', 'predict', 'train']
