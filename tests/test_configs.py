"""Every config of the repository: it is read, it fits together, it trains by the published rules."""
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import mmengine
import pytest
from mmengine.config import Config
from torch import nn

from mmavs.checkpoint.training_settings import training_settings
from mmavs.engine import ParamRulesOptimWrapperConstructor
from mmavs.registry import MODELS
from mmavs.utils.config import ConfigError, load_config

REPOSITORY = Path(__file__).parents[1]
CONFIGS = sorted(
    str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob('configs/*/**/*.py') if '_base_' not in path.parts)
# The recipe of the paper, which does not use VPO; the configs for synthetic clips have their own.
VCT = [path for path in CONFIGS
       if path.startswith('configs/vct/vct_') and not any(name in path for name in ('_tiny_', '_stamps-', 'vpo'))]
BACKBONES = {
    'swin-b': 'SwinTransformer', 'swin-l': 'SwinTransformer', 'r50': 'mmseg.ResNet', 'pvt-v2-b5': 'PVTv2',
    'convnext-b': 'mmpretrain.ConvNeXt', 'dinov2-b': 'SimpleFeaturePyramid', 'eva02-b': 'SimpleFeaturePyramid'}
# Their learning rates decay from layer to layer, see test_visual_backbones.py.
PLAIN = ('dinov2-b', 'eva02-b')
# The names of all configs; a size is named where it is not the usual one of the method.
NAME = re.compile(
    r'(?P<method>act|avsegformer|avsegformer-v1|combo|ease|ravs|tpavi|vct)'
    r'_(?P<backbone>convnext-b|dinov2-b|dinov3-b|dinov3-l|efficientnet-lite0|eva02-b|pvt-v2-b5|r50|swin-b|swin-l|tiny)'
    r'(-(?P<size>\d+))?'
    r'_(?P<subset>s4|ms3|avss|vpo-ss|vpo-ms|vpo-msmi|synthetic|synthetic-ms3|synthetic-twins|synthetic-vpo|composed'
    r'|stamps-ms3|stamps-avss|stamps-demo|stamps-following)'
    r'(_(?P<variant>[a-z0-9-]+))?(_(?P<row>[a-z0-9-]+))?')  # row: of an ablation of a variant
USUAL_SIZES = {'act': 384, 'vct': 384}
NAMES = {'s4': 'AVSBenchS4Dataset', 'ms3': 'AVSBenchMS3Dataset', 'avss': 'AVSSDataset'}


@cache
def read(path: str) -> Config:
    """Config of the repository, read once for all tests, which leave it as it is."""
    return load_config(str(REPOSITORY / path))


@pytest.fixture(params=CONFIGS)
def config(request) -> Config:
    return read(request.param)


@pytest.fixture(params=VCT)
def vct(request) -> tuple[str, Config]:
    return request.param, read(request.param)


def steps_of(pipeline: list) -> Iterator[dict]:
    """All transforms of a pipeline, also those inside others."""
    for step in pipeline:
        yield step
        yield from steps_of(step.get('transforms', []))


def test_config_fits_together(config):
    head = config.model.decode_head
    datasets = {split: config[f'{split}_dataloader'].dataset for split in ('train', 'val', 'test')}
    while datasets['train'].type in ('NegativeAudio', 'SingleFrames'):
        datasets['train'] = datasets['train'].dataset
    steps = {step.type: step for step in steps_of(datasets['train'].pipeline)}
    if 'Pad' in steps and 'input_size' in head:
        assert tuple(steps['Pad'].size) == tuple(head.input_size)
    if head.get('pac_loss'):
        # Events of masks are the classes of the dataset.
        num_events = steps['GenerateEventLabels'].get('num_events') or head.num_classes
        assert num_events == head.num_prototypes
    if config.model.get('mask_prior'):
        assert all('mask_prior' in dataset.data_prefix for dataset in datasets.values())
    if config.get('param_scheduler') and not config.param_scheduler[-1].get('by_epoch', True):
        assert config.param_scheduler[-1].end == config.train_cfg.max_iters + 1
    # The batch of the learning rate is that of the stated GPUs.
    base, batch_size = config.auto_scale_lr.base_batch_size, config.train_dataloader.batch_size
    stated = re.search(r'(\d+) GPUs? with (\d+) (?:clips?|frames)', Path(config.filename).read_text())
    if stated:
        gpus, clips = map(int, stated.groups())
        assert (batch_size, base) == (clips, gpus * clips)
    assert base % batch_size == 0 and not config.auto_scale_lr.enable
    # VPO has no validation split.
    val = 'test' if datasets['val'].type == 'VPODataset' else 'val'
    assert [dataset.split for dataset in datasets.values()] == ['train', val, 'test']


@pytest.mark.parametrize('path', CONFIGS)
def test_config_is_named_by_the_rule(path):
    name = NAME.fullmatch(Path(path).stem)
    assert name, f'{path}: name it {{method}}_{{backbone}}[-{{size}}]_{{subset}}[_{{variant}}].py'
    usual = 96 if name['backbone'] == 'tiny' else USUAL_SIZES.get(name['method'], 224)
    assert name['size'] != str(usual), f'{path}: {usual} is the usual size, which is not named'
    config = read(path)
    assert training_settings(config)['input_size'] == [int(name['size'] or usual)] * 2


def test_vct_config_is_named_for_what_it_holds(vct):
    path, config = vct
    name = NAME.fullmatch(Path(path).stem)
    subset, size = name['subset'], int(name['size'] or 384)
    assert config.train_dataloader.dataset.type == NAMES[subset]
    assert tuple(config.model.decode_head.input_size) == (size, size)
    assert config.model.backbone.type == BACKBONES[name['backbone']]
    assert (name['variant'] == 'mask-prior') == bool(config.model.get('mask_prior'))
    assert config.model.decode_head.num_classes == (71 if subset == 'avss' else 2)
    assert config.model.decode_head.get('num_prototypes') == {'s4': 23, 'ms3': None, 'avss': 71}[subset]


def test_vct_config_has_the_published_schedule(vct):
    path, config = vct
    subset = NAME.fullmatch(Path(path).stem)['subset']
    published = {'s4': (45000, 1000), 'ms3': (40000, 500), 'avss': (45000, 2500)}[subset]
    assert (config.train_cfg.max_iters, config.train_cfg.val_interval) == published
    assert config.default_hooks.checkpoint.interval == published[1]
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 1e-4, 0.05)
    assert config.optim_wrapper.clip_grad.max_norm == 0.01
    assert config.optim_wrapper.type == ('AmpOptimWrapper' if subset == 'avss' else 'OptimWrapper')
    assert config.randomness.seed == 8434882
    # "8" is what the released configs say of all three subsets; the value 2 beside it cannot have run on S4's 4 GPUs.
    assert '8 GPUs with 1 clip each' in Path(REPOSITORY / path).read_text().split('_base_')[0].replace('\n# ', ' ')
    assert config.train_dataloader.batch_size == 1


@pytest.mark.parametrize('backbone', ['r50', 'pvt-v2-b5'])
@pytest.mark.parametrize('subset, published', [('s4', (90000, 5000)), ('ms3', (20000, 400)), ('avss', (90000, 5000))])
def test_combo_config_has_the_published_recipe(backbone, subset, published):
    config = load_config(str(REPOSITORY / f'configs/combo/combo_{backbone}_{subset}.py'))
    assert (config.train_cfg.max_iters, config.train_cfg.val_interval) == published
    assert config.optim_wrapper.type == ('AmpOptimWrapper' if subset == 'avss' else 'OptimWrapper')
    assert config.optim_wrapper.clip_grad.max_norm == 0.01 and config.optim_wrapper.optimizer.lr == 1e-4
    head, released = config.model.decode_head, load_config(f'combo_{backbone}_{subset}_as-released').model.decode_head
    assert head.num_classes == (71 if subset == 'avss' else 2)
    assert config.model.backbone == config.model.mask_prior.backbone
    # The released layout is for checkpoints of the authors' code; models that are trained here get their own audio.
    assert (head.get('query_layout', 'frame'), released.query_layout) == ('frame', 'released')
    assert released.consistency_loss.get('group_size') == (5 if subset == 'avss' else None)
    dataset = config.train_dataloader.dataset
    assert dataset.type == NAMES[subset] and dataset.get('layout', 'object') == 'object'
    sizes = [step.get('size') or step.get('crop_size') for step in steps_of(dataset.pipeline)]
    assert ((224, 224) in sizes) and ('RandomChoiceResize' in {x.type for x in steps_of(dataset.pipeline)}) == (
        subset != 'avss')


def shrink(model: dict) -> dict:
    """The same modules with fewer blocks and channels, without pretrained weights."""
    for branch in (model, model.get('mask_prior')):
        if branch and branch['backbone']['type'].endswith('SwinTransformer'):
            branch['backbone'].update(embed_dims=32, depths=(1, 1, 2, 1), num_heads=(1, 1, 1, 1))
            channels = (32, 64, 128, 256)
            if branch is model:
                model['decode_head']['pixel_decoder']['in_channels'] = channels
            else:
                branch['channels'] = channels
    # All audio backbones are frozen; some are large, or of a library that is optional.
    model['audio_backbone'] = dict(type='VGGish', output='conv')
    model['decode_head'].update(num_layers=1, audio_hidden_dims=8, ffn_dims=8)
    return model


def published_rule(name: str, module: nn.Module) -> tuple[float, float]:
    """Learning rate and weight decay by section 4 of the reference's training script, written out."""
    lr = 1e-5 if 'backbone' in name else 1e-4
    no_decay = (isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d | nn.Embedding)
                or name.split('.')[-1] == 'relative_position_bias_table')
    return lr, 0.0 if no_decay else 0.05


@pytest.mark.parametrize('path', [path for path in VCT if not any(name in path for name in PLAIN)])
def test_vct_optimizer_follows_the_published_rules(path):
    config = read(path)
    model = MODELS.build(shrink(config.model.to_dict()))
    rules = ParamRulesOptimWrapperConstructor(
        dict(optimizer=config.optim_wrapper.optimizer), config.optim_wrapper.paramwise_cfg)
    groups = rules.parameter_groups(model)
    found = {id(p): (group['lr'], group['weight_decay']) for group in groups for p in group['params']}
    trained = 0
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if parameter.requires_grad:
                trained += 1
                assert found[id(parameter)] == pytest.approx(published_rule(name, module)), name
            else:
                assert id(parameter) not in found, name
                assert name.startswith('audio_backbone.') or '.bn' in name or 'downsample.1' in name, name
    assert trained == len(found)


def test_full_vct_has_the_published_number_of_tensors_in_each_group():
    config = load_config(str(REPOSITORY / 'configs/vct/vct_swin-b_s4_mask-prior.py'))
    wrapper = config.optim_wrapper
    rules = ParamRulesOptimWrapperConstructor(dict(optimizer=wrapper.optimizer), wrapper.paramwise_cfg)
    groups = rules.parameter_groups(MODELS.build(config.model))
    counts = {(group['lr'], group['weight_decay']): len(group['params']) for group in groups}
    assert counts == {(1e-5, 0.05): 394, (1e-5, 0.0): 272, (1e-4, 0.05): 248, (1e-4, 0.0): 96}


def test_printed_config_is_the_config(run_tool, capsys):
    path = REPOSITORY / 'configs/vct/vct_tiny_synthetic.py'
    run_tool('misc/print_config', path, '--cfg-options', 'train_cfg.max_iters=7')
    printed = Config.fromstring(capsys.readouterr().out, '.py').to_dict()
    assert printed == load_config(str(path), {'train_cfg.max_iters': 7}).to_dict()
    assert printed['train_cfg']['max_iters'] == 7


@pytest.mark.parametrize('suffix', ['.yaml', '.yml', '.json'])
def test_configs_of_other_languages_are_refused_before_they_are_read(tmp_path, suffix):
    (tmp_path / 'base.py').write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    path = tmp_path / f'evil{suffix}'
    path.write_text('{"_base_": "base.py"}')
    with pytest.raises(ConfigError, match=rf'evil{suffix}: expected a Python config \(\.py\)'):
        load_config(str(path))
    assert not (tmp_path / 'ran').exists()


def test_yaml_files_run_no_code(tmp_path):
    (tmp_path / 'evil.yaml').write_text(f'model: !!python/object/apply:os.mkdir ["{tmp_path}/ran"]')
    (tmp_path / 'x.py').write_text("_base_ = 'evil.yaml'")
    with pytest.raises(ConfigError, match=r"x\.py: ValueError: could not determine a constructor.*os\.mkdir"):
        load_config(str(tmp_path / 'x.py'))
    with pytest.raises(ValueError, match='could not determine a constructor for the tag'):
        mmengine.load(tmp_path / 'evil.yaml')
    assert not (tmp_path / 'ran').exists()
    (tmp_path / 'evil.yaml').write_text('work_dir: there')
    assert load_config(str(tmp_path / 'x.py')).work_dir == 'there'
