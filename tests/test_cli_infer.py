"""``mmavs infer`` on generated videos."""
import io
import json
import re
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
from infer_command import run
from video_files import write_test_video

from mmavs.apis.outputs import OUTPUTS
from mmavs.apis.result_names import result_names
from mmavs.cli import infer, main
from mmavs.utils.progress import ProgressReport, track_progress


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    return write_test_video(tmp_path_factory.mktemp('video') / 'bell.mp4', 6)


def files(directory):
    return sorted(path.relative_to(directory).as_posix() for path in Path(directory).rglob('*') if path.is_file())


def test_a_video_a_model_and_weights_are_enough(probe, video, here, capsys):
    run(video)
    assert files(here) == [f'mmavs_results/bell/masks/0000{k}.png' for k in range(6)] + [
        'mmavs_results/bell/overlay.mp4']
    out, err = capsys.readouterr()
    assert out == '' and err.splitlines()[-1] == '1 of 1 video(s) segmented, results in mmavs_results'


def test_weights_are_needed_unless_the_model_is_an_exported_one(probe, video, here, capsys):
    run(video, '--outputs', 'npz', model=('--model', 'model.onnx'))
    assert files(here) == ['mmavs_results/bell/masks.npz']
    capsys.readouterr()
    run(video, status=2, model=('--model', 'm'))
    assert 'error: --weights is missing: name a checkpoint of m' in capsys.readouterr().err


def test_a_video_without_audio_is_one_line_of_warning(probe, here, capsys):
    write_test_video(here / 'mute.mp4', 2, audio_from=None)
    with warnings.catch_warnings():
        warnings.simplefilter('default')
        # What pytest puts there collects warnings instead of printing them.
        warnings.showwarning = lambda *args, **kwargs: sys.stderr.write(warnings.formatwarning(*args[:4]))
        run('mute.mp4', '--outputs', 'npz')
    lines = capsys.readouterr().err.splitlines()
    assert lines.count('warning: mute.mp4: no audio track, the video is segmented as silent') == 1
    assert not any('UserWarning' in line for line in lines)


def test_a_line_comes_each_tenth_of_a_video_and_of_several(probe, video, here, capsys):
    probe.dataset_meta['clip_length'] = 1
    run(video, '--outputs', 'npz', '--batch-size', '1', '--fps', '5')
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith('segment: ')]
    assert [line.split()[1] for line in lines] == [str(10 * k) for k in range(1, 11)]
    assert all(re.fullmatch(r'segment: \d+ %, \d+:\d\d:\d\d left', line) for line in lines)
    run(*[write_test_video(here / f'{k}.mp4', 2) for k in range(5)], '--outputs', 'npz')
    lines = [line.split()[1] for line in capsys.readouterr().err.splitlines() if line.startswith('segment: ')]
    assert lines[-1] == '100' and len(lines) >= 5


def test_a_broken_video_is_reported_and_the_others_are_segmented(probe, video, here, capsys):
    (here / 'broken.mp4').write_text('not a video')
    run('absent.mp4', 'broken.mp4', video, '--outputs', 'npz', status=1)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert len(errors) == 2 and 'absent.mp4' in errors[0] and 'broken.mp4: FFmpeg cannot read' in errors[1]
    assert files('mmavs_results') == ['bell/masks.npz']


def test_json_says_what_became_of_each_video(probe, video, here, capsys):
    (here / 'broken.mp4').write_text('not a video')
    other = write_test_video(here / 'déjà vu.mp4', 1)
    run(other, '--outputs', 'npz', '--out', 'out')
    capsys.readouterr()
    probe.register_forward_pre_hook(lambda *call: print('a library prints'))
    run(video, 'broken.mp4', other, '--outputs', 'npz', '--out', 'out', '--skip-existing', '--json', status=1)
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert 'a library prints' in err
    assert (result['model'], result['weights'], result['out']) == ('m', 'w', 'out')
    seconds = [record.pop('seconds') for record in result['videos']]
    assert seconds[0] > 0 and seconds[2] == 0
    errors = [record.pop('error') for record in result['videos']]
    assert errors[0] is None and 'broken.mp4' in errors[1] and errors[2] is None
    assert result['videos'] == [
        dict(video=str(video), status='segmented', files=['out/bell/masks.npz']),
        dict(video='broken.mp4', status='failed', files=[]),
        dict(video=str(other), status='skipped', files=['out/déjà vu/masks.npz'])]


def test_skip_existing_goes_on_with_what_is_missing(probe, video, here, capsys):
    other = write_test_video(here / 'other.mp4', 1)
    run(video, other, '--outputs', 'png', 'npz')
    before = Path('mmavs_results/bell/masks.npz').stat().st_mtime_ns
    Path('mmavs_results/other/masks.npz').unlink()
    probe.lengths.clear()
    run(video, other, '--outputs', 'png', 'npz', '--skip-existing')
    assert probe.lengths == [1] and Path('mmavs_results/bell/masks.npz').stat().st_mtime_ns == before
    assert files('mmavs_results/other') == ['masks.npz', 'masks/00000.png']
    assert capsys.readouterr().err.splitlines()[-1] == '1 of 2 video(s) segmented, 1 skipped, results in mmavs_results'


def test_ctrl_c_keeps_the_finished_video_and_removes_the_other(probe, video, here, capsys):
    short = write_test_video(here / 'short.mp4', 1)

    def interrupt(*call):
        if len(probe.lengths) > 1:
            signal.raise_signal(signal.SIGINT)

    probe.register_forward_pre_hook(interrupt)
    run(short, video, 'never.mp4', '--outputs', 'npz', 'png', '--batch-size', '1', '--json', status=130)
    assert files('mmavs_results') == ['short/masks.npz', 'short/masks/00000.png']
    records = json.loads(capsys.readouterr().out)['videos']
    assert [record['status'] for record in records] == ['segmented', 'interrupted', 'pending']
    assert not [thread for thread in threading.enumerate() if thread.name.startswith('mmavs')]


def test_results_inside_the_input_directory_are_no_inputs(probe, video, here, capsys):
    (here / 'videos').mkdir()
    (here / 'videos/a.mp4').symlink_to(video)
    run('videos', '--out', 'videos/out', '--outputs', 'overlay')
    run('videos/a.mp4', 'videos/out/a/overlay.mp4', '--out', 'videos/out', '--outputs', 'overlay')
    assert files('videos') == ['a.mp4', 'out/a/overlay.mp4']
    assert '1 video(s) of' in capsys.readouterr().err
    with pytest.raises(SystemExit, match='all videos are results of an earlier run'):
        main(['infer', 'videos/out/a/overlay.mp4', '--model', 'm', '--weights', 'w', '--out', 'videos/out'])
    # A directory of results is no such place for videos that lie in it directly.
    run('videos/a.mp4', '--out', 'videos', '--outputs', 'npz')
    assert files('videos') == ['a.mp4', 'a/masks.npz', 'out/a/overlay.mp4']


def test_a_video_that_is_named_twice_is_segmented_once(probe, video, here):
    run(video, video, '--outputs', 'npz')
    assert probe.lengths == [5, 5]


@pytest.mark.parametrize(('videos', 'names'), [
    (['a/x.mp4', 'a/y.mp4'], ['x', 'y']),
    (['a/x.mp4', 'a/x.mkv', 'b/y.mp4'], ['x.mp4', 'x.mkv', 'y']),
    (['a/x.mp4', 'b/x.mp4', 'b/x.mkv'], ['a/x.mp4', 'b/x.mp4', 'x.mkv']),
    (['a/c/x.mp4', 'b/c/x.mp4'], ['a/c/x.mp4', 'b/c/x.mp4']),
    (['x.mp4', './x.mp4', 'y.mp4'], ['x', 'x', 'y']),
    (['../x.mp4', 'a/../x.mp4'], ['{up}/x.mp4', '{here}/x.mp4']),
    (['x.mp4.mkv', 'x.mp4', 'a/x.mkv'], ['x.mp4.mkv', '{here}/x.mp4', 'x.mkv']),
    (['http://host:80/a%20b.mp4?k=1'], ['a b']),
    (['http://host/v.mp4?k=1', 'http://host/v.mp4?k=2'], ['k=1/host/v.mp4', 'k=2/host/v.mp4']),
], ids=str)
def test_names_of_results_differ(here, videos, names):
    (here / 'a').mkdir()
    assert result_names(videos) == [name.format(here=here.name, up=here.parent.name) for name in names]


def test_the_help_names_the_outputs_that_exist():
    assert set(infer.OUTPUTS) == set(OUTPUTS)


def test_the_help_fits_a_screen_and_comes_without_pytorch():
    code = ("import sys; from mmavs.cli import main\ntry: main(['infer', '--help'])\n"
            "except SystemExit: assert 'torch' not in sys.modules")
    lines = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True,
                           env=dict(COLUMNS='100', PYTHONPATH=str(Path(__file__).parents[1]))).stdout.splitlines()
    assert 10 < len(lines) <= 40


@pytest.mark.parametrize(('option', 'value', 'message'), [
    ('--fps', '0', 'not a positive number of frames per second'), ('--fps', 'all', "or 'native'"),
    ('--batch-size', '0', 'expected a whole number of at least 1'), ('--outputs', 'gif', "invalid choice: 'gif'")])
def test_wrong_arguments_are_explained(here, capsys, option, value, message):
    run('x.mp4', option, value, status=2)
    assert message in capsys.readouterr().err


# ---- Progress ----


def test_short_loops_write_no_lines(capsys):
    assert list(track_progress(range(50), 'clips')) == list(range(50))
    assert capsys.readouterr().err == ''


def test_long_loops_write_a_line_each_tenth(capsys, monkeypatch):
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr('mmavs.utils.progress.time.monotonic', lambda: next(clock))
    list(track_progress(range(10), 'clips'))
    # Nothing in the first 10 seconds; each step takes 2.
    assert capsys.readouterr().err.splitlines() == [f'clips: {k}0 %, 0:00:{20 - 2 * k:02d} left' for k in range(5, 11)]


def test_a_terminal_gets_a_bar_with_the_time_left(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr('sys.stderr', terminal)
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '120')
    with ProgressReport('segment', 2) as report:
        report.update(1, 'a [b].mp4 (1 of 2)')
        report.update(2)
    text = terminal.getvalue()
    assert 'a [b].mp4 (1 of 2)' in text and '100%' in text and 'left' in text and '━' in text


def test_an_input_without_videos_is_reported_and_the_others_are_segmented(probe, video, here, capsys):
    (here / 'empty').mkdir()
    run('empty', video, 'no/*.mp4', '--outputs', 'npz', '--json', status=1)
    assert files('mmavs_results') == ['bell/masks.npz']
    out, err = capsys.readouterr()
    records = json.loads(out)['videos']
    assert [record['status'] for record in records] == ['failed', 'failed', 'segmented']
    assert 'error: empty: ' in err and 'no/*.mp4' in err
    run('empty', 'no/*.mp4', status='error: no input holds a video, expected at least one')
