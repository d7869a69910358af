"""The demo with photographs, with a few clips of drawn cut-outs and a few iterations, and what it fetches."""
import json
import multiprocessing
import runpy
import sys
from pathlib import Path

import av
import pytest
from mmengine.config import Config
from PIL import Image
from test_cutouts import write_cutout, write_listing, write_tone

from mmavs.synthesis.audio_pretraining import PretrainingScores
from mmavs.synthesis.cutouts import read_cutouts

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def cutouts(tmp_path):
    directory = tmp_path / 'cutouts'
    rows = []
    # So many classes that a test clip has another one with none of its classes, for off-screen audio.
    for number in range(12):
        write_cutout(directory / f'{number}.png', (20 * number, 250 - 20 * number, 120))
        write_tone(directory / f'{number}.wav', 200 * (number + 1))
        rows.append({'image': f'{number}.png', 'audio': f'{number}.wav', 'class': f'thing{number}'})
    write_listing(directory, rows)
    return directory


@pytest.fixture
def photo_demo(monkeypatch):
    """The module of the demo."""
    monkeypatch.syspath_prepend(str(REPOSITORY / 'demo'))
    import run_photo_demo
    return run_photo_demo


def write_commands(directory, script):
    """Write a script as apt-get and as dpkg."""
    for name in ('apt-get', 'dpkg'):
        (directory / name).write_text(f'#!/bin/sh\n{script}\n')
        (directory / name).chmod(0o755)


def run_demo(*arguments):
    """Run the demo in a forked process, which needs no imports; it sets the logger and the warnings of its process."""
    script = REPOSITORY / 'demo/run_photo_demo.py'

    def run():
        sys.argv[:] = [str(script), *map(str, arguments)]
        sys.path.insert(0, str(script.parent))
        runpy.run_path(str(script), run_name='__main__')

    process = multiprocessing.get_context('fork').Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == 0


def test_photo_demo_tests_with_four_kinds_of_audio_and_segments_a_video(tmp_path, cutouts):
    run_demo('--quick', '--work-dir', tmp_path / 'out', '--data', tmp_path / 'data', '--cutouts', cutouts)
    report = json.loads((tmp_path / 'out/report.json').read_text())
    assert list(report) == ['original', 'muted', 'swapped', 'off-screen']
    assert all(0 <= scores['robustness/M_J'] <= 1 for scores in report.values())
    width, height = Image.open(tmp_path / 'out/contact_sheet.png').size
    assert height > 2 * width
    with av.open(tmp_path / 'out/video/overlay.mp4') as video:
        assert [stream.type for stream in video.streams] == ['video', 'audio']
        assert abs(video.duration / av.time_base - 20) < 0.1
    assert list((tmp_path / 'data').glob('audio_backbone_4_*.pth')) and (tmp_path / 'out/iter_4.pth').is_file()


def test_without_apt_the_photo_demo_names_the_directory_of_cutouts_as_the_alternative(tmp_path, photo_demo,
                                                                                      monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(FileNotFoundError, match='apt-get and dpkg not found.*--cutouts DIR'):
        photo_demo.fetch_stamps(tmp_path / 'stamps')
    assert not list(tmp_path.iterdir())
    write_commands(tmp_path, 'echo no such package >&2\nexit 100')
    with pytest.raises(ChildProcessError, match='no such package.*--cutouts DIR'):
        photo_demo.fetch_stamps(tmp_path / 'stamps')
    assert not (tmp_path / 'stamps').exists()
    (tmp_path / 'stamps/usr/share/tuxpaint/stamps/animals').mkdir(parents=True)
    assert photo_demo.fetch_stamps(tmp_path / 'stamps') == tmp_path / 'stamps'


def test_stamps_are_not_unpacked_in_place_of_other_files(tmp_path, photo_demo, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    write_commands(tmp_path, '[ "$1" = download ] && echo > stamps.deb')
    own = tmp_path / 'stamps/AVSS/metadata.csv'
    own.parent.mkdir(parents=True)
    own.touch()
    with pytest.raises(FileExistsError, match='stamps: is not empty.*--cutouts DIR'):
        photo_demo.fetch_stamps(tmp_path / 'stamps')
    assert own.is_file()


def test_audio_backbone_is_pretrained_anew_for_other_cutouts(tmp_path, cutouts, photo_demo, monkeypatch):
    trained = []
    monkeypatch.setattr(photo_demo, 'pretrain_on_recordings', lambda options, out, *args, **kwargs: (
        trained.append(out), out.touch(), PretrainingScores(1., 1.))[-1])
    config = Config(dict(model=dict(audio_backbone=dict(init_cfg=dict(checkpoint='')))))
    found = read_cutouts(cutouts)
    for used in (found, found, found.select(['thing1', 'thing2'])):
        photo_demo.pretrain_audio(config, tmp_path, used, 4)
        assert config.model.audio_backbone.init_cfg.checkpoint == str(trained[-1])
    assert len(set(trained)) == len(trained) == 2
