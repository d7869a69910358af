import logging
import math
import os
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, PolyLR
from torch import nn
from torch.utils.data import DataLoader

from mmavs.datasets import SeededInfiniteSampler
from mmavs.engine import AtomicCheckpointHook, IterationSeedHook, MeanLossHook, ParamRulesOptimWrapperConstructor
from mmavs.engine.hooks import atomic_checkpoint, mean_loss
from mmavs.engine.hooks.atomic_checkpoint import AtomicLocalBackend
from mmavs.engine.hooks.iteration_seed import SameNoiseForAllSamples
from mmavs.engine.launch import build_runner
from mmavs.registry import DATASETS
from mmavs.utils.config import ConfigError, load_config
from mmavs.utils.randomness import seeded

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

    def save_checkpoint(self, out_dir, filename, backend_args, **kwargs):
        AtomicLocalBackend().put(filename.encode(), os.path.join(out_dir, filename))


def test_killed_save_leaves_the_previous_checkpoint_and_pointer(tmp_path, monkeypatch):
    runner = Saver(tmp_path)
    hook = AtomicCheckpointHook(interval=1, by_epoch=False, max_keep_ckpts=1, save_best='score', rule='greater')
    hook.before_train(runner)
    hook._save_checkpoint(runner)
    hook.after_val_epoch(runner, dict(score=0.5))
    before = sorted(os.listdir(tmp_path))
    assert before == ['best_score_iter_0.pth', 'iter_0.pth', 'last_checkpoint']

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
    assert (tmp_path / 'last_checkpoint').read_text().endswith('iter_0.pth')


def test_checkpoints_are_rotated_and_the_best_is_kept(tmp_path):
    runner = Saver(tmp_path)
    hook = AtomicCheckpointHook(interval=1, by_epoch=False, max_keep_ckpts=2, save_best='score', rule='greater')
    hook.before_train(runner)
    for runner.iter, score in enumerate([0.1, 0.9, 0.5, 0.3]):
        hook._save_checkpoint(runner)
        runner.iter += 1
        hook.after_val_epoch(runner, dict(score=score))
    assert sorted(os.listdir(tmp_path)) == ['best_score_iter_2.pth', 'iter_3.pth', 'iter_4.pth', 'last_checkpoint']
    assert (tmp_path / 'last_checkpoint').read_text().endswith('iter_4.pth')


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
