"""Disks that are full and directories that cannot be written: one error that names the file, earlier files whole."""
import errno
import importlib.util
import logging
import multiprocessing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from disk_limits import largest_file
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.visualization.visualizer import VISBACKENDS
from torch import nn

from mmavs.apis.model_export import _write_torchscript, export_model
from mmavs.datasets import clip_extraction
from mmavs.datasets.clip_extraction import extract_clips
from mmavs.engine.hooks.atomic_checkpoint import AtomicLocalBackend
from mmavs.engine.hooks.clip_visualization import ClipVisualizationHook
from mmavs.engine.launch import _raise_log_errors
from mmavs.structures import AVSDataSample
from mmavs.synthesis import synthesize_absent_audio, synthesize_clips
from mmavs.synthesis.audio_pretraining import pretrain_audio_backbone
from mmavs.utils.directory_lock import locked_directory
from mmavs.utils.errors import user_message
from mmavs.utils.files import atomic_write
from mmavs.utils.image_files import write_image
from mmavs.visualization import AVSVisualizer

REPOSITORY = Path(__file__).parents[1]
FORK = multiprocessing.get_context('fork')
IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def assert_full(error, path):
    """The error is that of a full disk, and its line names the file."""
    assert error.errno in (errno.EFBIG, errno.ENOSPC)
    assert str(path) in user_message(error) and '\n' not in user_message(error)


@pytest.fixture
def backend(tmp_path):
    """The backend that a config of mmavs gets by the name of MMEngine's."""
    with DefaultScope.overwrite_default_scope('mmavs'):
        init_default_scope('mmavs')
        return VISBACKENDS.build(dict(type='LocalVisBackend', save_dir=str(tmp_path)))


def draw_by_hook(path):
    hook = ClipVisualizationHook(str(path.parent))
    runner = SimpleNamespace(visualizer=SimpleNamespace(draw_contact_sheet=lambda *args, **options: IMAGE))
    sample = AVSDataSample(metainfo=dict(clip_id=path.stem))
    hook.after_test_iter(runner, 0, dict(inputs=dict(frames=[torch.zeros(1, 3, 4, 4)])), [sample])


def draw_by_visualizer(path):
    AVSVisualizer().add_datasample('x', IMAGE[None], AVSDataSample(), out_file=path)


WRITERS = dict(write_image=lambda path: write_image(path, IMAGE), hook=draw_by_hook, visualizer=draw_by_visualizer)


@pytest.mark.parametrize('size', [0, 300])
@pytest.mark.parametrize('writer', [*WRITERS, 'backend'])
def test_an_image_on_a_full_disk_is_an_error_and_the_earlier_one_stays(tmp_path, backend, writer, size):
    path = tmp_path / 'vis_image/a_0.png'
    write = WRITERS.get(writer, lambda path: backend.add_image('a', IMAGE))
    write(path)  # libraries write files of their own at their first use
    path.write_bytes(b'earlier')
    with pytest.raises(OSError) as error, largest_file(size):
        write(path)
    assert_full(error.value, path)
    assert path.read_bytes() == b'earlier' and list(path.parent.iterdir()) == [path]
    write(path)
    assert path.read_bytes()[:4] == b'\x89PNG' and list(path.parent.iterdir()) == [path]


def test_scalars_and_the_config_on_a_full_disk_are_errors_that_name_the_file(tmp_path, backend):
    backend.add_scalars(dict(loss=1.0), 1)
    before = (tmp_path / 'scalars.json').read_text()
    with pytest.raises(OSError) as error, largest_file(len(before) + 5):
        backend.add_scalars(dict(loss=2.0), 2)
    assert_full(error.value, tmp_path / 'scalars.json')
    assert (tmp_path / 'scalars.json').read_text().startswith(before)
    with pytest.raises(OSError) as error, largest_file(0):
        backend.add_config(Config(dict(a=1)))
    assert_full(error.value, tmp_path / 'config.py')


def test_a_log_on_a_full_disk_is_an_error_that_names_the_file(tmp_path, capsys):
    logger, path = logging.Logger('full'), tmp_path / 'train.log'
    logger.addHandler(logging.FileHandler(path))
    _raise_log_errors(logger)
    logger.info('first')
    with pytest.raises(OSError) as error, largest_file(8):
        logger.info('second')
    assert_full(error.value, path)
    logger.handlers.clear()
    assert path.read_text().startswith('first\n') and capsys.readouterr().err == ''


def test_a_checkpoint_on_a_full_disk_is_an_error_and_the_earlier_one_stays(tmp_path):
    path, backend = tmp_path / 'iter_1.pth', AtomicLocalBackend()
    backend.put(b'earlier', path)
    with pytest.raises(OSError) as error, largest_file(100):
        backend.put(bytes(1000), path)
    assert_full(error.value, path)
    assert path.read_bytes() == b'earlier' and list(tmp_path.iterdir()) == [path]


def save_tensors(path):
    with atomic_write(path) as partial, open(partial, 'wb') as file:
        torch.save(dict(a=torch.zeros(100, 100)), file)


def export_torchscript(path):
    with atomic_write(path, '.pt') as partial:
        _write_torchscript(nn.Linear(100, 100), dict(input=torch.zeros(1, 100)), partial, {})


@pytest.mark.parametrize('write', [save_tensors, export_torchscript])
def test_tensors_on_a_full_disk_are_an_error_that_names_the_file(tmp_path, write):

    def run(outcome):
        try:
            with largest_file(20000):
                write(tmp_path / 'a.pth')
        except OSError as error:
            outcome.put((error.errno, user_message(error)))

    # PyTorch could end the process.
    outcome = FORK.SimpleQueue()
    process = FORK.Process(target=run, args=(outcome, ))
    process.start()
    process.join()
    assert process.exitcode == 0
    number, message = outcome.get()
    assert number == errno.EFBIG and str(tmp_path / 'a.pth') in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('size', [0, 500])
def test_a_dataset_on_a_full_disk_is_an_error_and_nothing_is_left(tmp_path, size):
    with pytest.raises(OSError) as error, largest_file(size):
        synthesize_clips(tmp_path, 'ms3', 1, 0, 0, size=32)
    assert_full(error.value, '')
    assert not (tmp_path / 'Multi-sources').exists() and not list(tmp_path.glob('*.partial'))
    with pytest.raises(OSError) as error, largest_file(size):
        synthesize_absent_audio(tmp_path / 'absent', 1)
    assert_full(error.value, tmp_path / 'absent/rain/000.wav')
    assert not [path for path in (tmp_path / 'absent').rglob('*') if path.is_file()]


def test_cutting_videos_ends_when_the_disk_is_full_and_goes_on_after_a_bad_video(tmp_path, monkeypatch):

    def extract(video, *arguments):
        if video.name == 'bad.mp4':
            raise ValueError('bad')
        raise OSError(errno.ENOSPC, 'No space left on device', str(video))
        yield

    monkeypatch.setattr(clip_extraction, '_extract', extract)
    assert extract_clips([Path('bad.mp4')], tmp_path, lambda video: 'train').problems == ['bad']
    with pytest.raises(OSError, match='No space left'):
        extract_clips([Path('bad.mp4'), Path('a.mp4')], tmp_path, lambda video: 'train')


def hold_lock(path, held, release):
    with locked_directory(path, 'adds clips', ''):
        held.set()
        release.wait(60)


def test_the_second_process_that_adds_clips_to_a_dataset_is_told(tmp_path):
    held, release = FORK.Event(), FORK.Event()
    first = FORK.Process(target=hold_lock, args=(tmp_path / '.clips.lock', held, release))
    first.start()
    assert held.wait(60)
    with pytest.raises(ValueError, match=f'process {first.pid} on .* adds clips to {tmp_path}'):
        extract_clips([], tmp_path, lambda video: 'train')
    release.set()
    first.join()
    assert extract_clips([], tmp_path, lambda video: 'train').written == 0


def test_an_error_of_the_disk_without_a_name_is_one_line():
    message = user_message(OSError(errno.ENOSPC, 'No space left on device'))
    assert 'No space left on device' in message and 'the standard output' in message
    with pytest.raises(OSError) as error:
        raise OSError(errno.EBADF, 'Bad file descriptor')
    assert user_message(error.value) is None


# Tools with the arguments before the file or directory of the results; what they name does not exist, so that an error
# about it comes later than that about the results.
MODEL = ('none.py', 'none.pth')
TOOLS = {
    'test': (*MODEL, '--out', 'x.json'),
    'test figures': (*MODEL, '--show-dir', 'x'),
    'pretrain_audio': ('--cutouts', 'none', 'x.pth'),
    'robustness': (*MODEL, '--out', 'x'),
    'segment_video': ('none.mp4', '--model', 'none.py', '--weights', 'none.pth', '--out', 'x'),
    'analysis_tools/analyze_logs': ('none', '--out', 'x.png'),
    'analysis_tools/audio_ablation': (*MODEL, '--out', 'x.json'),
    'analysis_tools/browse_dataset': ('none.py', '--out-dir', 'x'),
    'analysis_tools/collect_results': (f'a={__file__}', '--out', 'x.md'),
    'analysis_tools/compare_mask_priors': (*MODEL, '--priors', 'a=b', '--out', 'x.csv'),
    'analysis_tools/compare_methods': ('none.py', '--work-dir', 'x'),
    'analysis_tools/confusion_matrix': ('none.json', '--out', 'x.png'),
    'analysis_tools/draw_comparison': (*MODEL, '--clips', 'a', '--out', 'x.png'),
    'analysis_tools/get_flops': ('--metafile', 'x.yml'),
    'benchmarks/benchmark': ('none.py', '--out', 'x.csv'),
    'benchmarks/benchmark_data': ('none.py', '--out', 'x.json'),
    'benchmarks/benchmark_metrics': ('--out', 'x.csv'),
    'dataset_converters/make_mask_priors': ('none.py', '--generator', 'none', 'x'),
    'model_converters/convert': ('--from', 'vggish', 'none.pth', 'x.pth'),
    'model_converters/convert back': ('--to', 'vct', 'none.pth', 'x.pth'),
}


@pytest.mark.parametrize('tool', TOOLS)
def test_tools_check_first_that_their_results_can_be_written(tmp_path, run_tool, tool):
    (tmp_path / 'file').write_text('no directory')
    *arguments, out = TOOLS[tool]
    with pytest.raises(SystemExit) as error:
        run_tool(tool.partition(' ')[0], *arguments, tmp_path / 'file' / out)
    assert str(error.value).startswith(f"error: {tmp_path / 'file' / out}: cannot be written (")


@pytest.mark.parametrize('write', [lambda out: export_model('none.py', 'none.pth', 'torchscript', out),
                                   lambda out: pretrain_audio_backbone(dict(type='none'), out)], ids=range(2))
def test_functions_check_first_that_their_results_can_be_written(tmp_path, write):
    (tmp_path / 'file').write_text('no directory')
    with pytest.raises(OSError, match='cannot be written'):
        write(tmp_path / 'file/x.pt')


def test_the_demo_does_not_replace_the_dataset_of_somebody_else(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / 'demo')
    spec = importlib.util.spec_from_file_location('run_demo', REPOSITORY / 'demo/run_demo.py')
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    root = synthesize_clips(tmp_path, 'avss', 1, 0, 0, size=32, seed=7)
    before = sorted(root.rglob('*'))
    with pytest.raises(FileExistsError, match=r'AVSS holds another dataset .*seed: 7.*not replaced'):
        demo.make_clips(tmp_path, 8, 2, 4)
    assert sorted(root.rglob('*')) == before
