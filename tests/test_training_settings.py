"""Checkpoints record the settings of their training, and are refused by configs with others."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmavs.apis import init_model
from mmavs.apis.model import build_model
from mmavs.checkpoint.reading import read_checkpoint
from mmavs.checkpoint.training_settings import check_training_settings, training_settings
from mmavs.utils.config import load_config

REPOSITORY = Path(__file__).parents[1]
CONFIGS = REPOSITORY / 'configs'
CONFIG = REPOSITORY / 'tests/configs/vct_tiny_s4.py'
SOUNDING = ['background', 'sounding object']


def base(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'_base_/datasets/{name}.py')


@pytest.mark.parametrize(('name', 'size'), [('s4_224', 224), ('ms3_384', 384), ('avss_384', 384), ('s4_512_plain', 512),
                                            ('ms3_512_plain', 512), ('avss_224_plain', 224), ('synthetic_96', 96)])
@pytest.mark.parametrize('split', ['train', 'test'])
def test_input_size_is_that_of_the_frames_not_of_the_masks(name, size, split):
    config = base(name)
    settings = training_settings(config, split)
    classes = 71 if 'avss' in name else 9 if 'synthetic' in name else 2
    assert settings['config'] == name and settings['input_size'] == [size, size]
    assert len(settings['classes']) == classes and settings['classes'][0] == 'background'


def test_height_comes_before_width():
    config = base('s4_224_plain')
    config.train_dataloader.dataset.pipeline[3].transforms = [dict(type='Resize', scale=(320, 192))]
    assert training_settings(config)['input_size'] == [192, 320]
    config.train_dataloader.dataset.pipeline[3].transforms.append(dict(type='mmseg.RandomCrop', crop_size=(128, 256)))
    assert training_settings(config)['input_size'] == [128, 256]
    config.train_dataloader.dataset.pipeline[3].transforms = [dict(type='Resize', scale=(320, 192), keep_ratio=True)]
    assert training_settings(config)['input_size'] is None


@pytest.mark.parametrize('meta', [
    dict(trained_for='text'), dict(trained_for=[1]), dict(trained_for=dict(input_size=[1])),
    dict(trained_for=dict(input_size=['a', 'b'])), dict(trained_for=dict(classes='text')),
    dict(trained_for=dict(config=3))])
def test_settings_of_another_form_are_named(meta):
    with pytest.raises(ValueError, match=r"x\.pth: meta\['trained_for'\] is .*, expected config, input_size"):
        check_training_settings(meta, Config(), 'x.pth')


def test_classes_of_another_form_are_named(tmp_path):
    torch.save(dict(state_dict=build_model(CONFIG).state_dict(), meta=dict(dataset_meta=[1])), tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=r"x\.pth: meta\['dataset_meta'\] is a list, expected a dict"):
        init_model(CONFIG, tmp_path / 'x.pth', 'cpu')


def test_settings_are_those_of_the_dataset_inside_wrappers():
    config = base('ms3_224')
    inner = config.train_dataloader.dataset
    for wrapper in (dict(type='SwapAudio', dataset=inner), dict(type='ConcatDataset', datasets=[inner, inner])):
        config.train_dataloader.dataset = wrapper
        assert training_settings(config)['input_size'] == [224, 224]
        assert training_settings(config)['classes'] == SOUNDING


def test_checkpoint_for_another_input_size_is_refused():
    meta = dict(trained_for=training_settings(base('s4_512_plain')))
    with pytest.raises(ValueError) as error:
        check_training_settings(meta, base('ms3_224_plain'), 'x.pth')
    message = str(error.value)
    assert 'x.pth: the checkpoint of s4_512_plain was trained for other settings than the config of ms3_224' in message
    assert 'frames of 512x512 (height x width), the config has 224x224' in message
    assert '--allow-other-settings' in message and 'allow_other_settings=True' in message


def test_checkpoint_for_other_classes_is_refused_by_the_first_that_differs():
    own, other = base('synthetic_96'), base('synthetic_96')
    own.train_dataloader.dataset.metainfo.classes = ('background', 'bell', 'cat')
    other.train_dataloader.dataset.metainfo.classes = ('background', 'dog', 'cat', 'bird')
    meta = dict(trained_for=training_settings(own))
    with pytest.raises(ValueError, match='for 3 classes, the config has 4; .* differs is class 1: bell and dog'):
        check_training_settings(meta, other, 'x.pth')


@pytest.mark.parametrize('meta', [{}, dict(trained_for=dict(config=None, input_size=None, classes=None))])
def test_checkpoint_without_settings_passes(meta):
    check_training_settings(meta, base('s4_224'), 'x.pth')


def test_same_settings_of_another_config_pass():
    # The usual start on MS3: the weights of S4.
    check_training_settings(dict(trained_for=training_settings(base('s4_224'))), base('ms3_224_plain'), 'x.pth')


@pytest.fixture(scope='module')
def trained(tmp_path_factory, run_tool, synthetic_root):
    """Command line for the tiny model on S4, and the work_dir of one training step on frames of 64x64."""
    root, work_dir = synthetic_root / 'Single-source', tmp_path_factory.mktemp('trained')
    options = [f'{split}_dataloader.dataset.data_root={root}' for split in ('train', 'val', 'test')]
    options += ['train_cfg.max_iters=2', 'param_scheduler.0.end=3']
    run_tool('train', CONFIG, '--work-dir', work_dir, '--cfg-options', *options)
    return options, work_dir


@pytest.fixture
def larger(tmp_path):
    """Config of the same model, tested on frames of 96x96 and trained on crops of them."""
    path = tmp_path / 'larger.py'
    path.write_text(f"""
_base_ = '{CONFIG}'
pipeline = [
    dict(type='LoadClipFrames'), dict(type='LoadClipMasks'), dict(type='LoadAudio', source='waveform'),
    dict(type='ClipBroadcaster', transforms=[dict(type='Resize', scale=(96, 96), backend='pillow')]),
    dict(type='GenerateEventLabels', num_events=6, source='category'), dict(type='PackClipInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=pipeline))
model = dict(decode_head=dict(input_size=(96, 96)))
""")
    return path


@pytest.fixture
def checkpoint(trained, larger, tmp_path):
    """Trained checkpoint with weights that fit the larger model too, as in models of any input size."""
    saved = read_checkpoint(trained[1] / 'iter_2.pth')
    saved['state_dict'] = init_model(larger).state_dict()
    torch.save(saved, tmp_path / 'fits.pth')
    return tmp_path / 'fits.pth'


def test_saved_checkpoint_records_input_size_classes_and_config(trained):
    meta = torch.load(trained[1] / 'iter_2.pth', weights_only=False)['meta']
    assert meta['trained_for'] == dict(config='vct_tiny_s4', input_size=[64, 64], classes=SOUNDING)


def test_test_tool_refuses_another_input_size_unless_it_is_allowed(tmp_path, run_tool, trained, larger, checkpoint):
    arguments = [larger, checkpoint, '--work-dir', tmp_path / 'work', '--cfg-options', *trained[0]]
    with pytest.raises(SystemExit, match=r'(?s)^error: .*fits.pth: .* 64x64 .* the config has 96x96'):
        run_tool('test', *arguments)
    run_tool('test', '--allow-other-settings', *arguments)


def test_training_refuses_a_start_at_another_input_size_unless_it_is_allowed(tmp_path, run_tool, trained, larger,
                                                                            checkpoint):
    work_dir = tmp_path / 'work'
    arguments = [larger, '--work-dir', work_dir, '--cfg-options', *trained[0], f'load_from={checkpoint}']
    with pytest.raises(SystemExit, match=r'(?s)^error: .*fits.pth: .* 64x64 .* the config has 96x96'):
        run_tool('train', *arguments)
    assert not list(work_dir.glob('*.pth'))
    run_tool('train', *arguments, 'custom_hooks.2.allow_other_settings=True')
    assert read_checkpoint(work_dir / 'iter_2.pth')['meta']['trained_for']['input_size'] == [96, 96]


def test_model_for_inference_refuses_another_input_size_unless_it_is_allowed(larger, checkpoint):
    with pytest.raises(ValueError, match='the checkpoint of vct_tiny_s4 .* the config of larger'):
        init_model(load_config(str(larger)), checkpoint)
    init_model(larger, checkpoint, allow_other_settings=True)
