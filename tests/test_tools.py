"""The scripts of tools/, run on a few synthetic clips."""
import atexit
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmavs.checkpoint.reading import read_checkpoint
from mmavs.engine import MeanLossHook
from mmavs.utils.errors import cli_errors
from mmavs.utils.randomness import derive_seed

REPOSITORY = Path(__file__).parents[1]
CONFIG = REPOSITORY / 'tests/configs/vct_tiny_s4.py'
# Points are drawn once for all samples, however many of them a process has.
REPEATABLE = ['custom_hooks.0.same_for_all_samples=True', 'default_hooks.checkpoint.max_keep_ckpts=9']


@pytest.fixture(scope='module')
def options(synthetic_root):
    """Command line that points the tiny config to the clips."""
    data_root = synthetic_root / 'Single-source'
    splits = ('train', 'val', 'test')
    return ['--cfg-options', *(f'{split}_dataloader.dataset.data_root={data_root}' for split in splits)]


@pytest.fixture(scope='module')
def trained(tmp_path_factory, run_tool, options):
    """Work dir of an uninterrupted training of 8 iterations."""
    work_dir = tmp_path_factory.mktemp('trained')
    run_tool('train', CONFIG, '--work-dir', work_dir, *options)
    return work_dir


@pytest.fixture(scope='module')
def one_process(tmp_path_factory, run_tool, options):
    """Work dir of a training of 8 iterations that several processes can repeat, with all its checkpoints."""
    work_dir = tmp_path_factory.mktemp('one_process')
    run_tool('train', CONFIG, '--work-dir', work_dir, *options, *REPEATABLE)
    return work_dir


def start(script, *arguments, **env):
    return subprocess.run(
        list(map(str, [*script, *arguments])),
        cwd=REPOSITORY,
        env=os.environ | dict(PYTHON=sys.executable, OMP_NUM_THREADS='1') | env,
        capture_output=True,
        text=True)


def logged(work_dir, key):
    """{iteration: value} of a scalar in the newest log of a work dir."""
    log = sorted(work_dir.glob('*/vis_data/scalars.json'))[-1]
    lines = map(json.loads, log.read_text().splitlines())
    return {line['step']: line[key] for line in lines if key in line}


def train_until_killed(run_tool, *arguments):
    """Train in a process that is killed in iteration 5, after the checkpoint of iteration 4."""

    def train():
        MeanLossHook.before_train_iter = (
            lambda self, runner, *args, **kwargs: runner.iter == 5 and os.kill(os.getpid(), signal.SIGKILL))
        run_tool('train', *arguments)

    process = multiprocessing.get_context('fork').Process(target=train)  # a new interpreter would import for seconds
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def run_in_processes(function, number):
    """Run a function as torchrun would start it, in forked processes, which need no imports."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]

    def run(rank):
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(number), MASTER_ADDR='127.0.0.1',
                          MASTER_PORT=str(port), CUDA_VISIBLE_DEVICES='')
        function()

    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=run, args=(rank, )) for rank in range(number)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == number * [0]


def assert_equal_states(resumed, uninterrupted):
    """Assert that weights and momenta of two checkpoints are equal bit by bit."""
    for name, weight in uninterrupted['state_dict'].items():
        assert torch.equal(resumed['state_dict'][name], weight), name
    for index, state in uninterrupted['optimizer']['state'].items():
        assert torch.equal(resumed['optimizer']['state'][index]['exp_avg'], state['exp_avg'])


def test_killed_training_resumes_to_the_weights_of_an_uninterrupted_run(tmp_path, run_tool, options, trained):
    train_until_killed(run_tool, CONFIG, '--work-dir', tmp_path, *options)
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_4.pth')

    run_tool('train', CONFIG, '--work-dir', tmp_path, '--resume', *options)
    assert min(logged(tmp_path, 'loss')) == 5
    assert_equal_states(*(read_checkpoint(path / 'iter_8.pth') for path in (tmp_path, trained)))


def test_killed_training_by_epochs_resumes_to_the_weights_of_an_uninterrupted_run(tmp_path, run_tool, options):
    config = REPOSITORY / 'tests/configs/vct_tiny_s4_epochs.py'
    run_tool('train', config, '--work-dir', tmp_path / 'uninterrupted', *options)
    work_dir = tmp_path / 'killed'
    train_until_killed(run_tool, config, '--work-dir', work_dir, *options)
    assert (work_dir / 'last_checkpoint').read_text() == str(work_dir / 'epoch_1.pth')

    run_tool('train', config, '--work-dir', work_dir, '--resume', *options)
    assert list(logged(work_dir, 'loss')) == [4, 5, 6, 7, 8, 9]
    assert list(logged(work_dir, 'avsbench/M_J')) == [2, 3]
    resumed, uninterrupted = (read_checkpoint(path / 'epoch_3.pth') for path in (work_dir, tmp_path / 'uninterrupted'))
    assert resumed['meta']['epoch'] == uninterrupted['meta']['epoch'] == 3
    assert_equal_states(resumed, uninterrupted)
    assert uninterrupted['param_schedulers'] == resumed['param_schedulers']
    kept = {path.name for path in work_dir.glob('epoch_*.pth')}
    assert kept == {'epoch_2.pth', 'epoch_3.pth'} and len(list(work_dir.glob('best_avsbench_M_F_epoch_*.pth'))) == 1


def test_two_processes_train_like_one_with_the_same_batch(tmp_path, options, one_process):
    # Three steps of 6 clips, and two of the next round.
    together = start(['bash', 'tools/dist_train.sh'], CONFIG, 2, '--work-dir', tmp_path, *options, *REPEATABLE,
                     'train_cfg.max_iters=5', 'train_dataloader.batch_size=1', CUDA_VISIBLE_DEVICES='')
    assert together.returncode == 0, together.stderr
    for key in ('loss', 'loss_cls', 'loss_mask', 'loss_dice', 'loss_pac', 'grad_norm'):
        one, two = logged(one_process, key), logged(tmp_path, key)
        assert list(two) == list(range(1, 6))
        assert two == pytest.approx({step: one[step] for step in two}, rel=1e-4), key


def test_sharded_training_goes_on_like_one_process_and_each_resumes_the_checkpoints_of_the_other(tmp_path, run_tool,
                                                                                                options, one_process):
    same = [*REPEATABLE, 'model.backbone.with_cp=True']  # which changes no number
    one, two, back = one_process, tmp_path / 'two', tmp_path / 'back'
    sharded = ['runner_type=FlexibleRunner', 'strategy.type=ShardedStrategy', 'strategy.blocks=[SwinBlock]']
    run_in_processes(
        partial(run_tool, 'train', CONFIG, '--launcher', 'pytorch', '--work-dir', two, '--resume', one / 'iter_4.pth',
                *options, *same, *sharded, 'train_dataloader.batch_size=1'), 2)
    run_tool('train', CONFIG, '--work-dir', back, '--resume', two / 'iter_6.pth', *options, *same)
    for key in ('loss', 'loss_mask', 'loss_pac', 'grad_norm'):
        expected = logged(one, key)
        for work_dir, first in ((two, 5), (back, 7)):
            steps = logged(work_dir, key)
            assert list(steps) == list(range(first, 9))
            assert steps == pytest.approx({step: expected[step] for step in steps}, rel=1e-3), (key, work_dir)
    checkpoints = [read_checkpoint(work_dir / 'iter_8.pth') for work_dir in (one, two)]
    for part in ('state_dict', 'optimizer'):
        assert list(checkpoints[0][part]) == list(checkpoints[1][part])
    groups = [[group['params'] for group in content['optimizer']['param_groups']] for content in checkpoints]
    assert groups[0] == groups[1]


def test_scores_figures_and_masks_of_a_checkpoint(tmp_path, run_tool, options, trained):
    checkpoint = trained / 'iter_8.pth'
    run_tool('test', CONFIG, checkpoint, '--work-dir', tmp_path, '--out', tmp_path / 'scores/metrics.json',
             '--show-dir', tmp_path / 'show', *options)
    report = json.loads((tmp_path / 'scores/metrics.json').read_text())
    metrics, stamp = report['scores'], report['stamp']
    assert [clip['frames'] for clip in report['details']['avsbench']['per_clip']] == [5, 5, 5]
    assert stamp['checkpoint_sha256'] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert stamp['config'] == str(CONFIG) and stamp['protocols'] == ['avsbench'] and stamp['training']['iter'] == 8
    assert 0 <= metrics['avsbench/M_J'] <= 1 and 0 <= metrics['avsbench/M_F'] <= 1
    assert len(list((tmp_path / 'show').rglob('*.png'))) == 3

    # Two processes score like one: 3 clips, so one of them is evaluated twice and counted once. The script would start
    # torchrun, as that of the training does in another test.
    started = start(['bash', 'tools/dist_test.sh'], CONFIG, checkpoint, 2, '--work-dir', tmp_path, '--out',
                    tmp_path / 'masks.npz', '--out-item', 'pred', *options, PYTHON='echo').stdout
    torchrun = '-m torch.distributed.run --standalone --nproc_per_node=2 tools/test.py '
    assert started.startswith(f'{torchrun}--launcher pytorch'), started
    run_in_processes(partial(run_tool, 'test', *started.removeprefix(torchrun).split()), 2)
    log = sorted(tmp_path.glob('*_*/*.json'))[-1]  # MMEngine names the directory by date and time
    assert json.loads(log.read_text())['avsbench/M_J'] == pytest.approx(metrics['avsbench/M_J'])
    masks = np.load(tmp_path / 'masks.npz')
    assert len(masks.files) == 3
    assert all(masks[name].shape == (5, 64, 64) and masks[name].dtype == np.uint8 for name in masks.files)


def test_masks_are_predicted_without_ground_truth(tmp_path, run_tool, synthetic_root, trained):
    root = shutil.copytree(synthetic_root / 'Single-source', tmp_path / 'data',
                           ignore=shutil.ignore_patterns('gt_masks', 'train', 'val'))
    arguments = [CONFIG, trained / 'iter_8.pth', '--work-dir', tmp_path, '--out', tmp_path / 'masks', '--out-item',
                 'png', '--cfg-options', f'test_dataloader.dataset.data_root={root}']
    with pytest.raises(SystemExit, match=r'15 x mask.*To predict without masks run mmavs test --predict-only'):
        run_tool('test', *arguments)
    run_tool('test', '--predict-only', '--show-dir', tmp_path / 'sheets', *arguments)
    images = [Image.open(path) for path in (tmp_path / 'masks').rglob('*.png')]
    assert len(images) == 15 and all(image.mode == 'L' and image.size == (64, 64) for image in images)
    assert len(list((tmp_path / 'sheets').rglob('*.png'))) == 3
    with pytest.raises(SystemExit):
        run_tool('test', '--predict-only', *arguments)  # the directory is not empty


def test_clips_of_one_name_are_refused_before_anything_is_written(tmp_path, run_tool, synthetic_root, trained,
                                                                  monkeypatch):
    dataset = 'mmavs.datasets.clip_dataset.ClipDataset.get_data_info'
    monkeypatch.setattr(dataset, lambda self, index: dict(clip_id=f'../{index}'))
    data = [f'test_dataloader.dataset.data_root={synthetic_root}/Single-source']
    for item, out in (('png', 'masks'), ('pred', 'masks.npz')):
        with pytest.raises(SystemExit, match="^error: '../0', '../1', '../2': .* must not lead out"):
            run_tool('test', CONFIG, trained / 'iter_8.pth', '--work-dir', tmp_path, '--out', tmp_path / out,
                     '--out-item', item, '--cfg-options', *data)
        assert not (tmp_path / out).exists()


@pytest.mark.parametrize('arguments,message', [
    (['--out', 'masks.pkl', '--out-item', 'pred'], 'must end in .npz'),
    (['--out', 'metrics.yml'], 'must end in .json'),
    (['--out', str(CONFIG), '--out-item', 'png'], 'exists and is not an empty directory'),
    (['--predict-only'], '--predict-only needs --show-dir DIR, --out FILE.npz'),
    (['--predict-only', '--out', 'metrics.json'], '--predict-only needs'),
])
def test_output_must_fit_its_item(run_tool, capsys, arguments, message):
    with pytest.raises(SystemExit):
        run_tool('test', CONFIG, 'weights.pth', *arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('out,item', [('file/metrics.json', 'metrics'), ('file/m.npz', 'pred'), ('file/m', 'png'),
                                      ('new.json', 'metrics')])
def test_output_that_cannot_be_written_is_an_error_before_the_test(tmp_path, run_tool, out, item):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'new.json').mkdir()
    message = 'is a directory' if out == 'new.json' else 'cannot be written'
    with pytest.raises(SystemExit, match=f'^error: {tmp_path / out}: {message}'):
        run_tool('test', CONFIG, 'weights.pth', '--out', tmp_path / out, '--out-item', item)


@pytest.mark.skipif(not Path('/proc/self/task').exists(), reason='threads are listed in /proc')
def test_no_thread_of_gloo_outlives_the_tool(tmp_path, run_tool, options, trained):

    def note_threads(name):
        (tmp_path / name).write_text(' '.join(path.read_text().strip()
                                              for path in Path('/proc/self/task').glob('*/comm')))

    def run():
        # What an interpreter of its own does at exit, in which the functions of this one do not run.
        atexit._clear()
        atexit.register(note_threads, 'left')
        run_tool('test', CONFIG, trained / 'iter_8.pth', '--launcher', 'pytorch', '--work-dir', tmp_path, *options)
        note_threads('before')
        atexit._run_exitfuncs()

    run_in_processes(run, 1)
    assert 'gloo' in (tmp_path / 'before').read_text() and 'gloo' not in (tmp_path / 'left').read_text()


def test_checkpoint_of_another_class_count_is_refused(tmp_path, run_tool, options, trained):
    classes = ['model.decode_head.num_classes=7', 'train_cfg.max_iters=9']
    message = r'(?s)error: .*iter_8.pth: the checkpoint does not fit .* 3 rows = 2 classes, the config says 7'
    with pytest.raises(SystemExit, match=message):
        run_tool('test', CONFIG, trained / 'iter_8.pth', '--work-dir', tmp_path, *options, *classes)
    with pytest.raises(SystemExit, match=message):
        run_tool('train', CONFIG, '--work-dir', tmp_path, '--resume', trained / 'iter_8.pth', *options, *classes)
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.parametrize('arguments,message', [
    (['gone.py'], 'error: gone.py: FileNotFoundError'),
    ([CONFIG, '--resume', 'gone.pth'], 'error: --resume gone.pth: no such file'),
    ([CONFIG, '--cfg-options', 'model.type=Segmentor'], "model.type is 'Segmentor', which no registry holds"),
])
def test_errors_on_the_command_line_end_in_one_message(tmp_path, run_tool, arguments, message):
    with pytest.raises(SystemExit) as error:
        run_tool('train', *arguments, *([] if '--cfg-options' in arguments else ['--work-dir', tmp_path]))
    assert message in error.value.code


def test_missing_validation_data_stops_before_the_first_step(tmp_path, run_tool, options):
    with pytest.raises(SystemExit, match='error: gone/s4_meta_data.csv'):
        run_tool('train', CONFIG, '--work-dir', tmp_path, *options, 'val_dataloader.dataset.data_root=gone')
    assert not list(tmp_path.glob('*.pth'))


def test_damaged_file_is_named_before_the_first_step(tmp_path, run_tool, synthetic_root):
    root = shutil.copytree(synthetic_root / 'Single-source', tmp_path / 'data')
    path = sorted(root.glob('s4_data/audio_wav/val/*/*.wav'))[-1]
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    data = [f'{name}_dataloader.dataset.data_root={root}' for name in ('train', 'val', 'test')]
    with pytest.raises(SystemExit, match=f'^error: .*{path}: truncated audio file'):
        run_tool('train', CONFIG, '--work-dir', tmp_path / 'work', '--cfg-options', *data)
    assert not list(tmp_path.glob('work/*.pth'))


def test_damaged_file_in_a_worker_ends_in_one_line(tmp_path, run_tool, synthetic_root):
    root = shutil.copytree(synthetic_root / 'Single-source', tmp_path / 'data')
    for path in root.glob('s4_data/gt_masks/train/*/*/*_1.png'):
        Image.new('L', (32, 32)).save(path)
    data = [f'{name}_dataloader.dataset.data_root={root}' for name in ('train', 'val', 'test')]
    message = r'^error: clip .*: shared geometry .* found frames 64x64, masks 32x32 [^\n]*$'
    with pytest.raises(SystemExit, match=message):
        run_tool('train', CONFIG, '--work-dir', tmp_path / 'work', '--cfg-options', *data,
                 'train_dataloader.num_workers=1')


def test_error_of_the_program_keeps_its_traceback():
    with pytest.raises(ValueError), cli_errors():
        derive_seed('not a number')


def test_pretrained_weights_under_other_names_are_refused(tmp_path, run_tool, options):
    torch.save({'layers.0.blocks.0.norm1.weight': torch.zeros(2)}, tmp_path / 'swin.pth')
    with pytest.raises(SystemExit, match=r'(?s)swin.pth: only 0 of the \d+ parameters of backbone .* --from swin SRC'):
        run_tool('train', CONFIG, '--work-dir', tmp_path, *options, 'model.backbone.init_cfg.type=Pretrained',
                 f"model.backbone.init_cfg.checkpoint={tmp_path / 'swin.pth'}")


@pytest.mark.parametrize('script', ['dist_train', 'dist_test', 'slurm_train', 'slurm_test'])
def test_shell_script_is_executable_and_parses(script):
    path = REPOSITORY / f'tools/{script}.sh'
    assert os.access(path, os.X_OK)
    assert subprocess.run(['bash', '-n', str(path)]).returncode == 0
