"""Two processes that write one file, directory or dataset, and what a killed process leaves."""
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from mmavs.synthesis import layouts, synthesize, synthesize_clips
from mmavs.utils import directory_lock, partial_paths
from mmavs.utils.directory_lock import locked_directory
from mmavs.utils.files import atomic_directory, atomic_write

FORK = multiprocessing.get_context('fork')
# Clips of a dataset of the tests.
COUNTS = dict(num_train=2, num_val=0, num_test=1, size=32)


def files_below(directory):
    return {str(path.relative_to(directory)) for path in directory.rglob('*') if path.is_file()}


def test_two_writers_of_a_file_do_not_share_what_they_write(tmp_path):
    path = tmp_path / 'a.txt'
    with atomic_write(path) as second:
        with atomic_write(path) as first:
            assert first != second and {first.suffix, second.suffix} == {'.partial'}
            first.write_text('first')
            second.write_text('sec')
        assert path.read_text() == 'first'
        second.write_text('second')
    assert path.read_text() == 'second' and list(tmp_path.iterdir()) == [path]


def test_two_writers_of_a_directory_both_end_and_the_last_one_counts(tmp_path):
    path = tmp_path / 'masks'
    with atomic_directory(path) as second:
        (second / 'a').write_text('second')
        with atomic_directory(path) as first:
            (first / 'a').write_text('first')
            (first / 'b').write_text('first')
        assert files_below(path) == {'a', 'b'}
    assert files_below(path) == {'a'} and (path / 'a').read_text() == 'second' and list(tmp_path.iterdir()) == [path]


def test_a_directory_that_appears_while_another_moves_to_its_place_is_replaced(tmp_path, monkeypatch):
    path, rename, others = tmp_path / 'masks', os.rename, ['other']

    def rename_late(source, target):
        if target == path and others:  # another process is faster
            path.mkdir()
            (path / 'b').write_text(others.pop())
        rename(source, target)

    monkeypatch.setattr(os, 'rename', rename_late)
    with atomic_directory(path) as partial_directory:
        (partial_directory / 'a').write_text('own')
    assert not others and files_below(path) == {'a'} and list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_place_of_a_directory_stays(tmp_path):
    path = tmp_path / 'masks'
    path.write_text('mine')
    with pytest.raises(OSError), atomic_directory(path) as partial_directory:
        (partial_directory / 'a').touch()
    assert path.read_text() == 'mine' and list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys
from mmavs.utils.files import atomic_directory, atomic_write
with atomic_write(sys.argv[1]) as file, atomic_directory(sys.argv[2]) as directory:
    file.write_text('left')
    (directory / 'left').touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize('locks', [True, False])
def test_what_a_killed_writer_has_left_is_used_again_and_disappears(tmp_path, locks, monkeypatch):
    file, directory = tmp_path / 'a.txt', tmp_path / 'masks'
    result = subprocess.run([sys.executable, '-c', KILLED, file, directory])
    assert result.returncode == -signal.SIGKILL
    assert files_below(tmp_path) == {'a.txt.partial', 'masks.partial/left'}
    if not locks:  # then it cannot be told from the files of a process that goes on
        monkeypatch.setattr(partial_paths, 'fcntl', None)
    with atomic_write(file) as partial_file, atomic_directory(directory) as partial_directory:
        assert partial_file.read_text() == '' and list(partial_directory.iterdir()) == []
        partial_file.write_text('whole')
        (partial_directory / 'whole').touch()
    assert file.read_text() == 'whole'
    assert files_below(tmp_path) - {'a.txt', 'masks/whole'} == (set() if locks else {'a.txt.partial',
                                                                                      'masks.partial/left'})


def write_and_hold(out, seed, started, go_on):
    """Write a dataset, and wait after the first clip."""

    def hold(results, *arguments):
        for number, result in enumerate(results):
            if not number:
                started.set()
                go_on.wait(60)
            yield result

    synthesize.track_progress = hold
    synthesize_clips(out, 'ms3', seed=seed, **COUNTS)


def write_second(out, seed, is_waiting, outcome):
    """Write a dataset into the same directory; report the error."""
    directory_lock._warn = lambda message, *arguments: (outcome.put(message), is_waiting.set())
    try:
        synthesize_clips(out, 'ms3', seed=seed, **COUNTS)
        outcome.put(None)
    except FileExistsError as error:
        outcome.put(str(error))


@pytest.mark.parametrize('seed', [0, 1])
def test_the_second_of_two_syntheses_waits_and_replaces_nothing(tmp_path, seed):
    started, is_waiting, outcome = FORK.Event(), FORK.Event(), FORK.Queue()
    first = FORK.Process(target=write_and_hold, args=(tmp_path, 0, started, is_waiting))
    first.start()
    assert started.wait(60)
    second = FORK.Process(target=write_second, args=(tmp_path, seed, is_waiting, outcome))
    second.start()
    message, error = outcome.get(timeout=60), outcome.get(timeout=60)
    first.join()
    second.join()
    assert f'process {first.pid} on ' in message and 'waiting until it has ended' in message
    assert (first.exitcode, second.exitcode) == (0, 0)
    if seed:
        assert 'holds another dataset' in error and 'seed: 0' in error
    else:
        assert error is None
    root = tmp_path / 'Multi-sources'
    manifest = json.loads((root / 'synthesis.json').read_text())
    # 3 clips of 5 frames, 5 masks and their audio; the list of clips and the manifest.
    assert manifest['arguments']['seed'] == 0 and manifest['num_files'] == len(files_below(root)) == 3 * 11 + 2
    assert {path.name for path in tmp_path.iterdir()} == {'Multi-sources', '.Multi-sources.lock'}


def test_a_killed_synthesis_is_written_anew(tmp_path):
    started, never = FORK.Event(), FORK.Event()
    killed = FORK.Process(target=write_and_hold, args=(tmp_path, 0, started, never))
    killed.start()
    assert started.wait(60)
    killed.kill()
    killed.join()
    assert (tmp_path / 'Multi-sources.partial').is_dir() and not (tmp_path / 'Multi-sources').exists()
    assert len(files_below(synthesize_clips(tmp_path, 'ms3', **COUNTS))) == 3 * 11 + 2
    assert {path.name for path in tmp_path.iterdir()} == {'Multi-sources', '.Multi-sources.lock'}


def test_a_dataset_that_loses_files_while_it_is_written_is_not_taken_for_complete(tmp_path, monkeypatch):
    add_list = layouts.DatasetFiles.add_list

    def add_after_a_loss(files, name, rows):
        next(files.directory.rglob('*.wav')).unlink()
        add_list(files, name, rows)

    monkeypatch.setattr(layouts.DatasetFiles, 'add_list', add_after_a_loss)
    with pytest.raises(OSError, match='34 of 35 files are there, the others have been removed'):
        synthesize_clips(tmp_path, 'ms3', **COUNTS)
    assert {path.name for path in tmp_path.iterdir()} == {'.Multi-sources.lock'}


def test_a_dataset_of_other_arguments_is_kept_if_it_is_not_to_be_replaced(tmp_path):
    make = partial(synthesize_clips, tmp_path, 'ms3', **COUNTS, replace=False)
    root = make(seed=3)
    before = {path: path.read_bytes() for path in root.rglob('*') if path.is_file()}
    with pytest.raises(FileExistsError, match=r'Multi-sources holds another dataset .*seed: 3.* not replaced'):
        make(seed=0)
    assert {path: path.read_bytes() for path in root.rglob('*') if path.is_file()} == before
    # A new version of the same dataset, and an incomplete one, are written again.
    manifest = json.loads((root / 'synthesis.json').read_text())
    manifest['arguments']['version'] = 1
    (root / 'synthesis.json').write_text(json.dumps(manifest))
    next(root.rglob('*.wav')).unlink()
    make(seed=3)
    assert {path: path.read_bytes() for path in root.rglob('*') if path.is_file()} == before


def test_a_lock_is_free_again_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), locked_directory(tmp_path / 'new/x.lock', 'writes', 'wait'):
            raise KeyError
    assert files_below(tmp_path) <= {'new/x.lock'}
