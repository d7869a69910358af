"""Options of a training that the docs describe, most of them in one short run; fine-tuning; missing network."""
import socket
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from mmavs.apis import init_model
from mmavs.checkpoint.reading import read_checkpoint
from mmavs.models.losses import frame_cross_entropy
from mmavs.registry import MODELS
from mmavs.structures import AudioGuidedPyramid, FrameTargets
from mmavs.utils.config import load_config

REPOSITORY = Path(__file__).parents[1]
CONFIG = REPOSITORY / 'tests/configs/vct_tiny_s4.py'
DOCS = REPOSITORY / 'docs/user_guides/training.md'
FEATURES = REPOSITORY / 'tests/configs/vct_tiny_s4_features.py'


@pytest.fixture(scope='module')
def options(synthetic_root):
    """Command line that points the tiny configs to the clips."""
    data_root = synthetic_root / 'Single-source'
    return ['--cfg-options', *(f'{split}_dataloader.dataset.data_root={data_root}' for split in ('train', 'val'))]


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory, run_tool, options):
    pytest.importorskip('tensorboard', reason='the optional library tensorboard is not installed')
    work_dir = tmp_path_factory.mktemp('features')
    run_tool('train', FEATURES, '--work-dir', work_dir, '--auto-scale-lr', *options)
    return work_dir


def raw_and_average(path):
    """Weights of the optimizer and their average; MMEngine saves the average as the weights of the checkpoint."""
    checkpoint = read_checkpoint(path)
    raw = {key.removeprefix('module.'): x for key, x in checkpoint['ema_state_dict'].items() if key != 'steps'}
    return raw, checkpoint['state_dict']


def test_gradients_are_accumulated_and_weights_averaged(work_dir):
    (initial, first), (trained, average) = (raw_and_average(work_dir / f'iter_{i}.pth') for i in (1, 2))
    name = 'decode_head.decoder.class_embed.weight'
    # The first of two iterations makes no step.
    assert torch.equal(first[name], initial[name]) and not torch.equal(trained[name], initial[name])
    torch.testing.assert_close(average[name], (initial[name] + trained[name]) / 2)


def test_checkpoint_with_averaged_weights_is_loaded_by_them(work_dir):
    average = raw_and_average(work_dir / 'iter_2.pth')[1]
    model = init_model(load_config(str(FEATURES)), work_dir / 'iter_2.pth')
    assert all(torch.equal(x, average[key]) for key, x in model.state_dict().items())


def test_training_stops_early_and_keeps_the_best(work_dir):
    assert {path.name for path in work_dir.glob('*.pth')} == {
        'best_avsbench_M_J_iter_1.pth', 'iter_1.pth', 'iter_2.pth'}


def test_learning_rate_is_scaled_with_the_batch(work_dir):
    # 2 clips in a batch, 8 in that of the schedule, whose learning rate is 1e-4 and, for backbones, 1e-5.
    groups = read_checkpoint(work_dir / 'iter_2.pth')['optimizer']['param_groups']
    assert sorted({group['initial_lr'] for group in groups}) == pytest.approx([0.25e-5, 0.25e-4])


def test_tensorboard_gets_the_losses_and_scores(work_dir):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(next(work_dir.glob('*/vis_data')))).Reload()
    assert {'loss', 'loss_cls', 'avsbench/M_J'} <= set(events.Tags()['scalars'])


def test_weights_and_biases_gets_the_losses_and_scores_without_network(tmp_path, run_tool, options, monkeypatch):
    pytest.importorskip('wandb', reason='the optional library wandb is not installed')
    before, after = DOCS.read_text().split("dict(type='WandbVisBackend'")
    lines = before[before.rindex('visualizer = '):] + "dict(type='WandbVisBackend'" + after.partition('\n')[0]
    (tmp_path / 'config.py').write_text(f'_base_ = {str(CONFIG)!r}\n{lines}')
    for name in ('WANDB_DIR', 'WANDB_CACHE_DIR', 'WANDB_CONFIG_DIR', 'WANDB_DATA_DIR', 'HOME'):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv('WANDB_SILENT', 'true')
    run_tool('train', tmp_path / 'config.py', '--work-dir', tmp_path / 'work', *options, 'train_cfg.max_iters=1',
             'train_cfg.val_interval=1', 'param_scheduler.0.end=2')
    log, = (tmp_path / 'work').glob('*/vis_data/wandb/offline-run-*/run-*.wandb')
    content = log.read_bytes()
    assert all(name in content for name in (b'loss_cls', b'avsbench/M_J', b'avs'))


def test_fine_tuning_on_other_classes_loads_all_but_the_classifier(tmp_path, run_tool, options, work_dir):
    source = read_checkpoint(work_dir / 'iter_2.pth')['state_dict']
    # With a learning rate of 0 the weights after a step are those at the start.
    other = ['model.decode_head.num_classes=4', f"load_from={work_dir / 'iter_2.pth'}", 'train_cfg.max_iters=1',
             'optim_wrapper.optimizer.lr=0', 'train_cfg.val_begin=9']
    with pytest.raises(SystemExit, match='rows = 2 classes.* allow_new_classifier=True'):
        run_tool('train', CONFIG, '--work-dir', tmp_path, *options, *other)
    run_tool('train', CONFIG, '--work-dir', tmp_path, *options, *other, 'custom_hooks.2.allow_new_classifier=True')
    weights = read_checkpoint(tmp_path / 'iter_1.pth')['state_dict']
    new = {key for key in weights if not torch.equal(weights[key], source[key])}
    assert new == {f'decode_head.{name}' for name in (
        'query_generator.prototypes.weight', 'decoder.class_embed.weight', 'decoder.class_embed.bias')}
    assert weights['decode_head.decoder.class_embed.weight'].shape[0] == 5


@pytest.mark.parametrize('key', ['model.backbone.init_cfg.checkpoint', 'load_from'])
def test_training_without_network_names_the_key_before_data_are_read(tmp_path, run_tool, monkeypatch, key):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{probe.getsockname()[1]}/swin.pth'
    place = tmp_path / 'checkpoints/swin.pth'
    message = rf'^error: {key}: cannot download {url} .*refused.*: put the file at {place}, or set {key}=FILE$'
    with pytest.raises(SystemExit, match=message):
        run_tool('train', CONFIG, '--work-dir', tmp_path, '--cfg-options', 'train_dataloader.dataset.data_root=gone',
                 'model.backbone.init_cfg.type=Pretrained' if key != 'load_from' else 'resume=False', f'{key}={url}')


def test_class_weights_of_pixels_make_a_weighted_mean():
    # Two pixels whose losses are log 2 and log 4, of classes 0 and 1.
    logits = torch.tensor([[1.0, 3.0], [1.0, 1.0]]).log()[None, :, None]
    masks = torch.tensor([[[0, 1]]], dtype=torch.uint8)
    losses = torch.tensor([2.0, 4.0]).log()
    assert frame_cross_entropy(logits, masks).item() == pytest.approx(losses.mean().item())
    expected = (losses[0] + 3 * losses[1]) / 4
    assert frame_cross_entropy(logits, masks, torch.tensor([1.0, 3.0])).item() == pytest.approx(expected.item())


@pytest.mark.parametrize('name', ['tpavi/tpavi_tiny_synthetic', 'avsegformer/avsegformer_tiny_synthetic'])
def test_class_weights_of_pixels_are_set_by_the_documented_key(name):
    key = 'model.decode_head.mask_loss.classes.class_weights'
    options = {'model.decode_head.num_classes': 3}
    logits = torch.randn(2, 3, 8, 8)
    masks = torch.randint(0, 3, (2, 8, 8), dtype=torch.uint8)
    labelled = torch.tensor([True, True])

    def build(weights=None):
        config = load_config(f'{REPOSITORY}/configs/{name}.py', {**options, **({key: weights} if weights else {})})
        return MODELS.build(config.model).decode_head

    heads = build(), build((0.5, 1.0, 2.0))
    # Weights of classes are no weights of the model: checkpoints fit with and without them.
    assert heads[0].state_dict().keys() == heads[1].state_dict().keys()
    plain, weighted = (head.mask_loss(logits, masks, labelled).item() for head in heads)
    of_frames = frame_cross_entropy(logits, masks, torch.tensor([0.5, 1.0, 2.0]))
    assert weighted == pytest.approx(of_frames.mean().item()) and weighted != pytest.approx(plain)
    with pytest.raises(ValueError, match='class_weights has 2 entries, expected one for each of the 3 classes'):
        build((0.5, 1.0)).mask_loss(logits, masks, labelled)


@pytest.mark.parametrize('num_classes,weights', [(3, (0.5, 1.0, 2.0)), (1, (0.5, 2.0))])
def test_class_weights_of_ravs_are_those_of_its_cross_entropy(num_classes, weights):
    """With a fixed pixel loss of each class, the loss is the mean that the weights of the classes make."""
    def build(class_weights=None):
        config = load_config(f'{REPOSITORY}/configs/ravs/ravs_tiny_synthetic.py', {
            'model.decode_head.num_classes': num_classes, 'model.decode_head.contrast_loss': None,
            **({'model.decode_head.class_weights': class_weights} if class_weights else {})})
        return MODELS.build(config.model).decode_head

    heads = build(), build(weights)
    assert heads[0].state_dict().keys() == heads[1].state_dict().keys()
    heads[1].load_state_dict(heads[0].state_dict())
    channels = [conv.in_channels for conv in heads[0].fusion.convs]
    maps = [torch.randn(2, size, 8 >> level, 8 >> level) for level, size in enumerate(channels)]
    features = AudioGuidedPyramid(maps, [torch.randn(2, 1, 8 >> level, 8 >> level) for level in range(4)])
    targets = FrameTargets(torch.randint(0, max(num_classes, 2), (2, 32, 32), dtype=torch.uint8),
                           torch.tensor([True, True]))
    audio = torch.randn(2, 1, 128)
    plain, weighted = (head.loss(features, audio, torch.ones(1, 2, dtype=torch.bool), targets) for head in heads)
    scores = heads[0](features, audio, torch.ones(1, 2, dtype=torch.bool))['scores']
    if num_classes == 1:
        scores = torch.cat((torch.zeros_like(scores), scores), 1)
    scores = F.interpolate(scores, (32, 32), mode='bilinear', align_corners=False)
    expected = heads[0].mask_weights[0] * frame_cross_entropy(scores, targets.masks, torch.tensor(weights)).mean()
    assert weighted['loss_ce'].item() == pytest.approx(expected.item(), rel=1e-5)
    assert weighted['loss_ce'].item() != pytest.approx(plain['loss_ce'].item())
    assert weighted['loss_dice'].item() == pytest.approx(plain['loss_dice'].item())
    with pytest.raises(ValueError, match=f'class_weights has 4 entries, expected one for each of the {len(weights)}'):
        build((1.0, 1.0, 1.0, 1.0)).loss(features, audio, torch.ones(1, 2, dtype=torch.bool), targets)


def test_class_weights_of_queries_make_a_weighted_mean():
    # One query for each of two segments: the mean of their losses, weighted by class.
    masks = torch.zeros(1, 8, 8, dtype=torch.uint8)
    masks[:, :4] = 1
    targets = FrameTargets(masks=masks, labelled=torch.tensor([True]), events=None)
    shapes = torch.stack((masks == 0, masks == 1), 1).float() * 20 - 10  # the query of each segment
    classes = torch.tensor([[[1.0, 0.0, -9.0], [0.0, 0.5, -9.0]]])

    def loss(**options):
        criterion = MODELS.build(dict(type='SetCriterion', num_classes=2, class_weight=1.0, num_points=16, **options))
        return criterion([(classes, shapes)], targets)['loss_cls'].item()

    of_query = -classes[0].log_softmax(1).diagonal()
    assert loss() == pytest.approx(of_query.mean().item())
    assert loss(class_weights=(1.0, 3.0)) == pytest.approx(((of_query[0] + 3 * of_query[1]) / 4).item())
    with pytest.raises(ValueError, match='class_weights has 3 entries, expected one for each of the 2 classes'):
        loss(class_weights=(1.0, 1.0, 1.0))
