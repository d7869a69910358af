import logging
import math
import os
import random
import re
from argparse import ArgumentError, ArgumentParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.optim import OptimWrapper, PolyLR
from small_models import small_config
from torch import nn
from torch.utils.data import DataLoader

from mmavs.checkpoint.fetching import DownloadError
from mmavs.cli.arguments import positive_int
from mmavs.datasets import SeededInfiniteSampler
from mmavs.engine import AtomicCheckpointHook, IterationSeedHook, MeanLossHook, ParamRulesOptimWrapperConstructor
from mmavs.engine.channels import check_channels, pyramid_channels
from mmavs.engine.hooks import atomic_checkpoint, mean_loss
from mmavs.engine.hooks.atomic_checkpoint import AtomicLocalBackend
from mmavs.engine.hooks.iteration_seed import SameNoiseForAllSamples
from mmavs.engine.launch import build_runner
from mmavs.engine.schedule import schedule_problems
from mmavs.evaluation import AVSBenchMetric, AVSSMetric, DatasetMetric, RobustnessMetric, SwitchMetric
from mmavs.registry import DATASETS, HOOKS, MODELS
from mmavs.utils.config import ConfigError, load_config
from mmavs.utils.randomness import seeded

REPOSITORY = Path(__file__).parents[1]
TINY = 'tests/configs/vct_tiny_s4.py'


class Toy(nn.Module):

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.relative_position_bias_table = nn.Parameter(torch.zeros(4))
        self.queries = nn.Embedding(2, 4)
        self.norm = nn.LayerNorm(4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.head = nn.Linear(4, 2)


RULES = dict(
    lr_mult={'backbone': 0.1},
    norm_decay_mult=0.0,
    embedding_decay_mult=0.0,
    decay_mult={'relative_position_bias_table': 0.0})


def constructor(**rules):
    return ParamRulesOptimWrapperConstructor(dict(optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05)), rules)


def test_learning_rate_and_decay_rules_are_independent():
    model = Toy()
    groups = constructor(**RULES).parameter_groups(model)
    of = {id(p): (group['lr'], group['weight_decay']) for group in groups for p in group['params']}
    found = {name: of.get(id(p)) for name, p in model.named_parameters()}
    slow, base = pytest.approx(1e-5), 1e-4
    assert found == {
        'relative_position_bias_table': (base, 0),
        'backbone.0.weight': (slow, 0.05),
        'backbone.0.bias': (slow, 0.05),
        'backbone.1.weight': (slow, 0),
        'backbone.1.bias': (slow, 0),
        'queries.weight': (base, 0),
        'norm.weight': (base, 0),
        'norm.bias': (base, 0),
        'frozen.weight': None,
        'frozen.bias': None,
        'head.weight': (base, 0.05),
        'head.bias': (base, 0.05),
    }
    assert len(groups) == 4 and groups[0]['lr'] == base
    wrapper = constructor(**RULES)(model)
    assert isinstance(wrapper, OptimWrapper) and wrapper.get_lr()['lr'][0] == base


@pytest.mark.parametrize('rules,message', [
    (dict(norm_decay=0), 'paramwise_cfg holds norm_decay; expected lr_mult'),
    (dict(lr_mult={'bakcbone': 0.1}), "lr_mult names 'bakcbone', but no parameter of the Toy"),
])
def test_misspelt_optimizer_rules_are_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        constructor(**rules).parameter_groups(Toy())


@pytest.mark.parametrize('subset,max_iters', [('s4', 45000), ('ms3', 40000), ('avss', 45000)])
def test_learning_rate_is_the_published_polynomial(subset, max_iters):
    config = Config.fromfile(f'configs/_base_/schedules/vct_{subset}.py')
    assert config.train_cfg.max_iters == max_iters
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-4)
    scheduler = PolyLR(optimizer, **{k: v for k, v in config.param_scheduler[0].items() if k != 'type'})
    for iteration in range(max_iters):
        if iteration % 5000 == 0 or iteration == max_iters - 1:
            expected = 1e-4 * (1 - iteration / max_iters)**0.9
            assert math.isclose(optimizer.param_groups[0]['lr'], expected, rel_tol=1e-9)
        optimizer.step()
        scheduler.step()


def test_file_keeps_its_content_when_writing_is_interrupted(tmp_path, monkeypatch):
    path, backend = tmp_path / 'iter_1.pth', AtomicLocalBackend()
    backend.put(b'old', path)

    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'fsync', interrupted)
    with pytest.raises(KeyboardInterrupt):
        backend.put(b'new', path)
    assert path.read_bytes() == b'old'


class Saver:
    """Minimal runner for the checkpoint hook."""

    def __init__(self, work_dir):
        from mmengine.logging import MessageHub, MMLogger
        self.work_dir = str(work_dir)
        self.message_hub = MessageHub.get_instance(str(work_dir))
        self.logger = MMLogger.get_instance('saver')
        self.epoch = self.iter = 0
        self.train_loop = self.val_loop = None

    def save_checkpoint(self, out_dir, filename, backend_args, **kwargs):
        AtomicLocalBackend().put(filename.encode(), os.path.join(out_dir, filename))


def test_killed_save_leaves_the_previous_checkpoint_and_pointer(tmp_path, monkeypatch):
    runner = Saver(tmp_path)
    hook = AtomicCheckpointHook(interval=1, by_epoch=False, max_keep_ckpts=1, save_best='score', rule='greater')
    hook.before_train(runner)
    hook._save_checkpoint(runner)
    runner.iter = 1
    hook.after_val_epoch(runner, dict(score=0.5))
    before = sorted(os.listdir(tmp_path))
    assert before == ['best_score_iter_1.pth', 'iter_1.pth', 'last_checkpoint']

    def killed(self, obj, filepath):
        raise KeyboardInterrupt

    runner.iter = 7
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(atomic_checkpoint.AtomicLocalBackend, 'put', killed)
        hook._save_checkpoint(runner)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(atomic_checkpoint.AtomicLocalBackend, 'put', killed)
        hook.after_val_epoch(runner, dict(score=0.9))
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / 'last_checkpoint').read_text().endswith('iter_1.pth')


def test_checkpoints_are_rotated_and_the_best_is_kept(tmp_path):
    runner = Saver(tmp_path)
    hook = AtomicCheckpointHook(interval=1, by_epoch=False, max_keep_ckpts=2, save_best='score', rule='greater')
    hook.before_train(runner)
    for runner.iter, score in enumerate([0.1, 0.9, 0.5, 0.3]):
        hook.after_train_iter(runner, 0)
        runner.iter += 1
        hook.after_val_epoch(runner, dict(score=score))
        # The weights of the newest checkpoint are not yet known to be usable.
        assert len(list(tmp_path.glob('iter_*.pth'))) == min(runner.iter, 3)
    hook.after_train(runner)
    assert sorted(os.listdir(tmp_path)) == ['best_score_iter_2.pth', 'iter_3.pth', 'iter_4.pth', 'last_checkpoint']
    assert (tmp_path / 'last_checkpoint').read_text().endswith('iter_4.pth')


def resume_with(hook, work_dir, **stated):
    """Begin a run in a directory with the bookkeeping that a checkpoint states."""
    runner = Saver(work_dir)
    for key, value in stated.items():
        runner.message_hub.update_info(key, value)
    hook.before_train(runner)
    return runner


BEST_HOOK = dict(interval=1, by_epoch=False, max_keep_ckpts=1, save_best='score', rule='greater')


@pytest.mark.parametrize('victim', ['victim.txt', 'other/best_score_iter_4.pth', 'run/notes_score_iter_4.pth'])
def test_a_resumed_checkpoint_names_no_file_that_the_hook_removes(tmp_path, victim):
    victim = tmp_path / victim
    victim.parent.mkdir(exist_ok=True)
    victim.write_text('precious')
    (tmp_path / 'run/iter_').mkdir(parents=True)  # makes iter_/../../victim.pth a path
    other = tmp_path / 'victim.pth'
    other.write_text('precious')
    hook = AtomicCheckpointHook(**BEST_HOOK)
    runner = resume_with(hook, tmp_path / 'run', best_ckpt=str(victim), best_score=-1.0,
                         keep_ckpt_ids=['/../../victim', 3, None])
    # The score of a best checkpoint that is elsewhere does not count.
    runner.iter = 1
    hook.after_val_epoch(runner, dict(score=-2.0))
    assert (tmp_path / 'run/best_score_iter_1.pth').exists()
    for runner.iter in (2, 3):
        hook.after_train_iter(runner, 0)
        hook.after_val_epoch(runner, dict(score=float(runner.iter)))
    assert victim.read_text() == other.read_text() == 'precious'
    assert [path.name for path in (tmp_path / 'run').glob('best_*')] == ['best_score_iter_3.pth']


def test_best_checkpoint_is_continued_in_a_directory_that_was_moved(tmp_path):
    for name in ('best_score_iter_2.pth', 'best_score_iter_4.pth', 'best_score_iter_9.pth', 'best_other_iter_2.pth'):
        (tmp_path / name).write_text(name)
    hook = AtomicCheckpointHook(**BEST_HOOK)
    runner = resume_with(hook, tmp_path, best_ckpt='/old/place/best_score_iter_4.pth', best_score=0.5)
    # Iteration 2 is what a killed process did not remove; iteration 9 is yet to come.
    left = {'best_score_iter_4.pth', 'best_score_iter_9.pth', 'best_other_iter_2.pth'}
    assert {path.name for path in tmp_path.glob('best_*')} == left
    runner.iter = 6
    hook.after_val_epoch(runner, dict(score=0.4))
    assert {path.name for path in tmp_path.glob('best_*')} == left
    hook.after_val_epoch(runner, dict(score=0.6))
    assert {path.name for path in tmp_path.glob('best_*')} == left - {'best_score_iter_4.pth'} | {
        'best_score_iter_6.pth'}


def draws(seed, iteration, rank, monkeypatch, **options):
    monkeypatch.setattr('mmavs.engine.hooks.iteration_seed.get_rank', lambda: rank)
    hook = IterationSeedHook(**options)
    hook.before_train_iter(Config(dict(seed=seed, iter=iteration)), 0)
    result = [random.random(), np.random.rand(), *torch.rand(3).tolist()]
    hook.after_train_iter(None, 0)
    return result


def test_random_numbers_of_a_step_depend_on_seed_iteration_and_rank(monkeypatch):
    first = draws(1, 5, 0, monkeypatch)
    torch.rand(10)
    assert draws(1, 5, 0, monkeypatch) == first
    for other in [(2, 5, 0), (1, 6, 0), (1, 5, 1)]:
        assert draws(*other, monkeypatch) != first


@pytest.mark.parametrize('draw', [
    lambda n: torch.rand(n, 4, 2),
    lambda n: torch.rand_like(torch.zeros(n, 4, 2)),
    lambda n: torch.empty(n, 4, 2).exponential_(),
    lambda n: nn.functional.gumbel_softmax(torch.zeros(n, 8), dim=1),
])
def test_shared_noise_repeats_that_of_one_sample(draw):
    with SameNoiseForAllSamples(3):
        five, two = draw(5), draw(2)
    with SameNoiseForAllSamples(4):
        other = draw(2)
    assert all(torch.equal(row, two[0]) for row in five)
    assert two[0].unique().numel() == 8
    assert not torch.equal(other, two)


def sampler(rank, world_size, monkeypatch, size=7):
    monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (rank, world_size))
    return SeededInfiniteSampler(range(size), seed=3)


def take(n, indices):
    return [(int(index), index.seed) for index, _ in zip(indices, range(n))]


def test_processes_share_one_order_of_clips_and_augmentations(monkeypatch):
    alone = take(20, sampler(0, 1, monkeypatch))
    assert take(10, sampler(0, 2, monkeypatch)) == alone[::2]
    assert take(10, sampler(1, 2, monkeypatch)) == alone[1::2]
    assert sorted(index for index, _ in alone[:7]) == list(range(7))
    assert len({seed for _, seed in alone}) == 20


def test_resumed_sampler_continues_the_order(monkeypatch):
    resumed = sampler(0, 1, monkeypatch)
    resumed.skip(9)
    assert take(5, resumed) == take(14, sampler(0, 1, monkeypatch))[9:]


def test_augmentation_depends_on_the_seed_of_the_index_only(synthetic_root, monkeypatch):
    config = load_config(TINY)
    config.train_dataloader.dataset.data_root = str(synthetic_root / 'Single-source')
    dataset = DATASETS.build(config.train_dataloader.dataset)
    index, other = (index for index, _ in zip(sampler(0, 1, monkeypatch, 6), range(2)))
    first = dataset[index]['inputs']['frames']
    state = torch.get_rng_state()
    random.random()
    np.random.rand()
    assert torch.equal(dataset[index]['inputs']['frames'], first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(dataset[type(index).draw(int(index), other.seed)]['inputs']['frames'], first)


def test_clips_do_not_depend_on_the_number_of_workers(synthetic_root, monkeypatch):
    config = load_config(TINY)
    config.train_dataloader.dataset.data_root = str(synthetic_root / 'Single-source')
    dataset = DATASETS.build(config.train_dataloader.dataset)

    def clips(num_workers):
        order = sampler(0, 1, monkeypatch, len(dataset))
        loader = DataLoader(dataset, sampler=order, num_workers=num_workers, collate_fn=lambda clips: clips[0])
        return [item['inputs']['frames'] for item, _ in zip(loader, range(4))]

    assert all(torch.equal(a, b) for a, b in zip(clips(0), clips(2)))


def test_seeded_block_restores_the_generators():
    for generator_seed in (random.seed, np.random.seed, torch.manual_seed):
        generator_seed(0)
    expected = [random.random(), np.random.rand(), torch.rand(1).item()]
    for generator_seed in (random.seed, np.random.seed, torch.manual_seed):
        generator_seed(0)
    with seeded(9):
        inside = [random.random(), np.random.rand(), torch.rand(1).item()]
    assert [random.random(), np.random.rand(), torch.rand(1).item()] == expected != inside


def test_logged_loss_is_the_mean_of_all_processes(monkeypatch):
    monkeypatch.setattr(mean_loss, 'get_world_size', lambda: 2)
    monkeypatch.setattr(mean_loss, 'all_reduce', lambda x, op: x.add_(torch.tensor([2., 4.])).div_(2))
    outputs = dict(loss=torch.tensor(4., requires_grad=True), loss_cls=torch.tensor(2.))
    MeanLossHook().after_train_iter(None, 0, outputs=outputs)
    assert {name: value.item() for name, value in outputs.items()} == dict(loss=3., loss_cls=3.)


@pytest.mark.parametrize('options,message', [
    ({'model.decode_head.type': 'VCTHaed'}, "model.decode_head.type is 'VCTHaed', .* did you mean VCTHead"),
    ({'model.decode_head.num_querys': 9}, 'decode_head.num_querys: VCTHead takes no such .* did you mean num_queries'),
    ({'train_cfg.max_iter': 9}, 'train_cfg.max_iter: IterBasedTrainLoop takes no .* did you mean max_iters'),
    ({'optim_wraper.type': 'OptimWrapper'}, 'optim_wraper is not read by the runner: did you mean optim_wrapper'),
    ({'train_cgf': 1}, 'train_cgf is not read by the runner: did you mean train_cfg'),
    ({'train_dataloader.batchsize': 9}, 'train_dataloader.batchsize: .* takes no .* did you mean batch_size'),
    ({'model.backbone.embed_dim': 9}, 'backbone.embed_dim: SwinTransformer takes no .* did you mean embed_dims'),
    ({'param_scheduler.0.powr': 9}, 'param_scheduler.0.powr: PolyLR takes no .* did you mean power'),
    ({'train_dataloader.dataset.pipeline.1.type': 'LoadClipMask'}, r'pipeline.1.type is .* did you mean LoadClipMasks'),
])
def test_config_typo_is_named_with_its_file_and_key(options, message):
    with pytest.raises(ConfigError, match=f'{TINY}: .*{message}'):
        load_config(TINY, options)


@pytest.mark.parametrize('content,message', [
    (None, 'no_config.py: FileNotFoundError'),
    ("_base_ = './gone.py'", r'no_config.py: .*gone.py'),
    ('model = dict(', 'no_config.py: SyntaxError'),
])
def test_unreadable_config_is_named(tmp_path, content, message):
    path = tmp_path / 'no_config.py'
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_config(str(path))


def test_mixed_precision_falls_back_to_float32_on_a_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    built = []
    runner = SimpleNamespace(logger=logging.getLogger('runner'))
    monkeypatch.setattr('mmengine.runner.Runner.from_cfg', lambda config: built.append(config) or runner)
    build_runner(Config(dict(optim_wrapper=dict(type='AmpOptimWrapper', loss_scale='dynamic'))))
    assert built[0].optim_wrapper.to_dict() == dict(type='OptimWrapper')


def test_loaders_without_workers_lose_the_options_of_workers(tmp_path):
    path = tmp_path / 'own.py'
    path.write_text(f"""
_base_ = '{REPOSITORY}/configs/vct/vct_r50_s4.py'
train_dataloader = dict(num_workers=0, prefetch_factor=4, timeout=9)
""")
    config = load_config(str(path), {'val_dataloader.num_workers': 0})
    assert config.test_dataloader.persistent_workers
    for name in ('train_dataloader', 'val_dataloader'):
        assert 'timeout' not in config[name]
        options = {key: value for key, value in config[name].items() if key not in ('dataset', 'sampler')}
        assert len(list(DataLoader(range(8), **options))) == 8 // options['batch_size']


def test_workers_have_a_time_out_unless_the_config_states_one():
    config = load_config('vct_r50_s4', {'val_dataloader.timeout': 0, 'test_dataloader.timeout': 7})
    assert [config[f'{split}_dataloader'].timeout for split in ('train', 'val', 'test')] == [540, 0, 7]


@pytest.mark.parametrize('key', ['model', 'train_dataloader', 'default_hooks', 'optim_wrapper'])
def test_a_section_of_a_config_is_a_dict(key):
    with pytest.raises(ConfigError, match=f'{key} is 5, expected a dict'):
        load_config('vct_r50_s4', {key: 5})


def test_helper_variables_may_hold_keys_of_the_config_language(tmp_path):
    path = tmp_path / 'own.py'
    path.write_text(f"""
_base_ = '{REPOSITORY}/{TINY}'
street = dict(_delete_=True, _scope_='mmavs', type='AVSSDataset', data_root='data/street', unused=1)
street_train = dict(_delete_=True, type='AVSSDataset', data_root='data/street')
train_dataloader = dict(dataset=dict(**street_train, split='train', pipeline=[dict(type='LoadAudio', _delete_=True)]))
""")
    dataset = load_config(str(path)).train_dataloader.dataset
    assert dataset.to_dict() == dict(
        type='AVSSDataset', data_root='data/street', split='train', pipeline=[dict(type='LoadAudio')])


TIMM_CONFIG = f"""
_base_ = ['{REPOSITORY}/{TINY}', '{REPOSITORY}/configs/_base_/backbones/timm.py']
model = dict(
    backbone=dict(_delete_=True, **_base_.backbone),
    decode_head=dict(pixel_decoder=dict(in_channels=_base_.backbone_channels)))
"""


@pytest.mark.parametrize('kind', ['mmpretrain.TIMMBackbone', 'mmseg.TIMMBackbone'])
def test_arguments_that_a_backbone_of_timm_passes_on_are_accepted(tmp_path, kind):
    path = tmp_path / 'timm.py'
    path.write_text(TIMM_CONFIG)
    load_config(str(path), {'model.backbone.type': kind, 'model.backbone.drop_path_rate': 0.1})


def test_backbone_of_timm_gives_the_channels_of_its_config(tmp_path):
    pytest.importorskip('timm', reason='the optional library timm is not installed')
    path = tmp_path / 'timm.py'
    path.write_text(TIMM_CONFIG)
    model = load_config(str(path), {
        'model.backbone.pretrained': False, 'model.backbone.model_name': 'resnet10t',
        'model.decode_head.pixel_decoder.in_channels': (64, 128, 256, 512)}).model
    segmentor = MODELS.build(model)
    check_channels(segmentor, model)
    maps = segmentor.backbone(torch.zeros(1, 3, 64, 64))
    assert [tuple(x.shape[1:]) for x in maps] == [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)]


def test_weights_of_timm_without_network_name_the_key(monkeypatch):

    def offline(config):
        raise OSError('no such file on the hub') from ConnectionRefusedError('connection refused')

    monkeypatch.setattr('mmengine.runner.Runner.from_cfg', offline)
    backbone = dict(type='mmpretrain.TIMMBackbone', model_name='resnet10t', pretrained=True)
    message = 'model.backbone.backbone: cannot download the weights of resnet10t .*pretrained_cfg_overlay.file=FILE'
    with pytest.raises(DownloadError, match=message):
        build_runner(Config(dict(model=dict(backbone=dict(type='AudioGuidedBackbone', backbone=backbone)))))


@pytest.mark.parametrize('name,key,value,message', [
    ('vct', 'decode_head.pixel_decoder.in_channels', (8, 64, 128, 256), 'the backbone gives (32, 64, 128, 256)'),
    ('ravs', 'decode_head.in_channels', (32, 64, 128), 'the backbone gives (32, 64, 128, 256)'),
    ('tpavi', 'decode_head.audio_channels', 17, 'the audio backbone gives 128'),
    ('vct', 'backbone.in_channels', 4, 'frames have 3 channels'),
    ('ravs', 'backbone.audio_channels', 17, 'the audio backbone gives 128'),
])
def test_channels_that_two_parts_disagree_on_are_named(name, key, value, message):
    config = small_config(REPOSITORY / f'configs/{name}/{name}_tiny_synthetic.py')
    check_channels(MODELS.build(config), config)
    *path, last = key.split('.')
    part = config
    for name in path:
        part = part[name]
    part[last] = value
    with pytest.raises(ValueError, match=re.escape(f'model.{key} is {value}, {message}: set model.{key}=')):
        check_channels(MODELS.build(config), config)


def test_measuring_channels_leaves_the_backbone_as_it_was():
    backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Unflatten(1, (1, 4)))
    state = {key: x.clone() for key, x in backbone.state_dict().items()}
    pyramid_channels(backbone, 16)
    assert backbone.training
    assert all(torch.equal(x, state[key]) for key, x in backbone.state_dict().items())


@pytest.mark.parametrize('options,message', [
    ({'default_hooks.checkpoint.save_best': 'avsbench/mIoU'},
     "default_hooks.checkpoint.save_best is 'avsbench/mIoU', which val_evaluator does not report: did you mean"),
    ({'default_hooks.checkpoint.save_best': 'avsbench/M_J', 'default_hooks.checkpoint.rule': 'less'},
     "default_hooks.checkpoint.rule is 'less', but avsbench/M_J is better if it is greater"),
    ({'param_scheduler': [dict(type='ReduceOnPlateauLR', monitor='dataset/M_J')]},
     "param_scheduler.0.monitor is 'dataset/M_J', which"),
    ({'custom_hooks': [dict(type='EarlyStoppingHook', monitor='M_J')]}, "custom_hooks.0.monitor is 'M_J', which"),
    ({'val_evaluator': dict(type='SwitchMetric'), 'custom_hooks': [
        dict(type='EarlyStoppingHook', monitor='switch/frames_between')]}, 'no better direction'),
])
def test_metric_that_a_hook_follows_is_checked(options, message):
    with pytest.raises(ConfigError, match=message):
        load_config(TINY, options)


def test_each_of_several_best_metrics_gets_its_rule():
    save_best = ['dataset/FDR', 'dataset/F']
    config = load_config(TINY, {'val_evaluator': dict(type='DatasetMetric'), 'default_hooks.checkpoint': dict(
        type='AtomicCheckpointHook', save_best=save_best, rule=None)})
    assert config.default_hooks.checkpoint.rule == ['less', 'greater']
    # MMEngine takes several; the hook, which removes the previous best, takes one and says so.
    assert CheckpointHook(save_best=save_best, rule=['less', 'greater']).rules == ['less', 'greater']
    with pytest.raises(ValueError, match='save_best of AtomicCheckpointHook takes one metric, found .*FDR'):
        HOOKS.build(config.default_hooks.checkpoint)


def test_rule_of_a_metric_is_filled_in():
    config = load_config(TINY, {
        'val_evaluator': [dict(type='DatasetMetric', prefix='own'), dict(type='SwitchMetric')],
        'default_hooks.checkpoint': dict(type='AtomicCheckpointHook', by_epoch=False, save_best='auto'),
        'custom_hooks': [dict(type='EarlyStoppingHook', monitor='own/FDR')],
        'param_scheduler': [dict(type='ReduceOnPlateauLR', monitor='switch/J_between'),
                            dict(type='ReduceOnPlateauLR', monitor='loss')]})
    assert config.default_hooks.checkpoint.rule == 'greater'
    assert config.custom_hooks[0].rule == 'less'
    assert [scheduler.get('rule') for scheduler in config.param_scheduler] == ['greater', None]


@pytest.mark.parametrize('metric', [
    AVSBenchMetric, AVSSMetric, DatasetMetric, RobustnessMetric, SwitchMetric])
def test_metric_declares_the_names_that_it_reports(metric):
    metric = metric()
    metric.dataset_meta = dict(classes=('background', 'bell'))
    mask = torch.zeros(2, 8, 8, dtype=torch.uint8)
    mask[:, :4] = 1
    metric.process(None, [dict(clip_id='a', foreground_prob=mask.float(), pred_sem_seg=mask, gt_sem_seg=mask)])
    assert list(metric.evaluate(1)) == [f'{metric.default_prefix}/{name}' for name in metric.reported]


@pytest.mark.parametrize('options,messages', [
    ({}, []),
    ({'train_cfg.max_iters': 10}, [r'param_scheduler.0 \(LinearLR\) ends after 20 .* after 10 \(train_cfg.max_iters',
                                   r'param_scheduler.1 \(PolyLR\) begins after 20 .* it has no effect']),
    ({'param_scheduler.1.by_epoch': True}, ['param_scheduler.1 .* counts epochs, .*: set by_epoch=False']),
    ({'train_cfg.val_begin': 2000}, ['train_cfg.val_begin is 2000, .* it is not validated']),
])
def test_schedule_that_the_training_does_not_reach_is_reported(options, messages):
    found = list(schedule_problems(load_config('configs/vct/vct_tiny_synthetic.py', options)))
    assert len(found) == len(messages)
    assert all(re.search(message, problem) for message, problem in zip(messages, found))


@pytest.mark.parametrize('text,value', [('3', 3), ('0', None), ('-1', None), ('many', None), ('1.5', None)])
def test_counts_on_the_command_line_are_at_least_one(text, value):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument('--threads', type=positive_int)
    if value is None:
        with pytest.raises(ArgumentError, match=f'argument --threads: {text!r}, expected a whole number of at least 1'):
            parser.parse_args([f'--threads={text}'])
    else:
        assert parser.parse_args([f'--threads={text}']).threads == value

