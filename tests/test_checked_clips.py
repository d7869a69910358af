"""The check of files before a training: clips that have not changed since the last one are left out."""
import json
import logging
import multiprocessing
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from avsbench_tree import write_image, write_ms3, write_wav

from mmavs.datasets import AVSBenchMS3Dataset
from mmavs.datasets.check_clips import CHUNK, check_clips
from mmavs.datasets.checked_clips import CheckedClips
from mmavs.datasets.transforms import LoadAudio, LoadClipFrames, LoadClipMasks
from mmavs.engine.hooks import CheckDataHook
from mmavs.utils.cache_directory import cache_directory

MASK = 'ms3_data/gt_masks/train/train_1/train_1_3.png'
# Masks that differ, in files of the same size.
SHIFTED, DAMAGED = (np.roll(np.eye(40, 48, dtype=np.uint8) * value, 1, 1) for value in (255, 7))


class CountingMasks(LoadClipMasks):
    """LoadClipMasks that notes the clips whose masks it checks."""
    checked: list[str] = []

    def check_files(self, clip):
        self.checked.append(clip['clip_id'])
        return super().check_files(clip)


@pytest.fixture
def root(tmp_path):
    CountingMasks.checked.clear()
    return write_ms3(tmp_path / 'data', clips=3)


@pytest.fixture
def look(root, tmp_path):
    """Function that checks the training clips as a new run does, and returns those that were not left out."""

    def check(pipeline=None, **options):
        pipeline = pipeline or [LoadClipFrames(), CountingMasks(), LoadAudio()]
        CountingMasks.checked.clear()
        CheckDataHook(cache_dir=str(tmp_path / 'cache'), **options).check(
            [AVSBenchMS3Dataset(str(root), 'train', pipeline=pipeline)])
        return sorted(CountingMasks.checked)

    return check


@pytest.fixture
def messages(monkeypatch):
    """Warnings that are logged."""
    found = []
    for module in ('mmavs.datasets.checked_clips', 'mmavs.engine.hooks.check_data'):
        monkeypatch.setattr(f'{module}.print_log', lambda message, logger, level=logging.INFO: found.append(message))
    return found


def keep_time(path, write):
    """Write a file and give it its old modification time."""
    state = path.stat()
    write()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


ALL = ['train_0', 'train_1', 'train_2']


def test_unchanged_clips_are_left_out_and_their_warnings_repeated(root, look, messages):
    write_wav(root / 'ms3_data/audio_wav/train/train_2.wav', 2.0)
    assert look() == ALL and look() == []
    warnings = [message for message in messages if 'train_2.wav: 2 s of audio' in message]
    assert len(warnings) == 2 and warnings[0] == warnings[1]


@pytest.mark.parametrize('path', [
    MASK, 'ms3_data/visual_frames/train_1/train_1.mp4_2.png', 'ms3_data/audio_wav/train/train_1.wav'])
def test_a_clip_with_a_changed_file_is_checked_again(root, look, path):
    look()
    content = (root / path).read_bytes()
    (root / path).write_bytes(content + b' ')
    (root / path).write_bytes(content)  # another time, the size as before
    assert look() == ['train_1']
    keep_time(root / path, lambda: (root / path).write_bytes(content + b'\0'))  # another size, the time as before
    assert look() == ['train_1'] and look() == []


@pytest.mark.parametrize(('change', 'message'), [
    (lambda path: path.unlink(), r'train_1_3\.png is missing'),
    (lambda path: path.with_suffix('.jpg').touch(), r'train_1_3\.png is not unique'),
    (lambda path: path.with_name('preview.png').touch(), r'mask count is 6 .*misnamed \(preview\.png\)'),
    (lambda path: path.parent.rename(path.parent.with_name('former')), 'found 0 of 5 mask files')])
def test_files_that_are_gone_or_added_are_noticed(root, look, change, message):
    assert look() == ALL and look() == []
    change(root / MASK)
    with pytest.raises(FileNotFoundError, match=message):
        look()


def test_a_directory_that_is_exchanged_for_another_is_checked_again(root, look):
    look()
    directory = (root / MASK).parent
    for mask in shutil.copytree(directory, root / 'others').iterdir():
        os.utime(mask, (0, 0))  # as an archive restores them
    state = directory.stat()
    directory.rename(root / 'former')
    (root / 'others').rename(directory)
    os.utime(directory, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert look() == ['train_1'] and look() == []


def test_a_clip_that_is_added_or_has_files_in_another_format_is_checked(root, look):
    look()
    with open(root / 'ms3_meta_data.csv', 'a', newline='') as file:
        file.write('new,train\n')
    for source in list(root.glob('ms3_data/**/train_2*')):
        if not source.parent.name.startswith('train_2'):
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, source.with_name(source.name.replace('train_2', 'new')))
    for path in list(root.glob('ms3_data/**/new/train_2*')):
        path.rename(path.with_name(path.name.replace('train_2', 'new')))
    assert look() == ['new']
    (root / MASK).rename((root / MASK).with_suffix('.PNG'))
    assert look() == ['train_1'] and look() == []


def test_a_damaged_file_is_an_error_each_time(root, look):
    look()
    write_image(root / MASK, DAMAGED)
    for _ in range(2):
        with pytest.raises(ValueError, match='mask value 7 '):
            look()
    write_image(root / MASK, SHIFTED)
    assert look() == ['train_1']


def test_content_is_compared_on_request(root, look):
    for options in ({}, dict(hash_content=True)):
        assert look(**options) == ALL and look(**options) == []
    os.utime(root / MASK)  # touched
    assert look(hash_content=True) == [] and look() == ['train_1']
    content = (root / MASK).read_bytes()
    keep_time(root / MASK, lambda: (root / MASK).write_bytes(content[:50] + b'!' + content[51:]))
    assert look() == []
    with pytest.raises(ValueError, match='train_1_3.png'):
        look(hash_content=True)


def test_settings_and_datasets_do_not_share_results(root, look, tmp_path):
    mask = np.zeros((40, 48), np.uint8)
    mask[:2], mask[2] = 255, 7
    write_image(root / MASK, mask)
    look()
    assert look([CountingMasks(off_palette='background')]) == ALL
    dataset = AVSBenchMS3Dataset(str(root), 'train', pipeline=[CountingMasks()])
    checked = CheckedClips(dataset, tmp_path)
    clip = dataset.get_data_info(0)
    assert checked.fingerprint(clip) != checked.fingerprint(dict(clip, mask_encoding='index'))
    assert checked.fingerprint(clip) == checked.fingerprint(dict(clip, sample_idx=9))
    other = write_ms3(tmp_path / 'other', clips=3)
    assert CheckedClips(AVSBenchMS3Dataset(str(other), 'train'), tmp_path).path != checked.path


def test_the_cache_can_be_switched_off(look, tmp_path):
    assert look(cache=False) == look(cache=False) == ALL
    assert not (tmp_path / 'cache').exists()


@pytest.mark.parametrize('damage', [
    lambda text: text[:len(text) // 2], lambda text: '', lambda text: '[]', lambda text: '\0\xff',
    lambda text: json.dumps(dict(json.loads(text), clips=dict.fromkeys(ALL, ['x', 3]))),
    lambda text: json.dumps(dict(json.loads(text), clips=[1]))])
def test_a_damaged_cache_is_discarded_with_a_message(look, tmp_path, messages, damage):
    look()
    file, = tmp_path.glob('cache/*.json')
    file.write_text(damage(file.read_text()))
    messages.clear()
    assert look() == ALL
    assert str(file) in messages[0] and 'the file is discarded, and all clips are checked' in messages[0]
    messages.clear()
    assert look() == [] and len(messages) == 1  # that clips were checked


def test_a_cache_that_cannot_be_written_is_a_warning(look, tmp_path, messages):
    (tmp_path / 'cache').write_text('a file where the directory should be')
    assert look() == ALL
    assert 'cannot be written' in messages[0] and 'CheckDataHook(cache_dir=...)' in messages[0]


def test_an_interrupted_check_continues(root, look, monkeypatch):
    assert CHUNK > 3

    def interrupted(self, clip):
        if len(self.checked) == 2:
            raise KeyboardInterrupt
        self.checked.append(clip['clip_id'])

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(CountingMasks, 'check_files', interrupted)
        look()
    assert look() == ['train_2']


def _save_one(path, root, index, barrier):
    dataset = AVSBenchMS3Dataset(root, 'train', pipeline=[LoadClipMasks()])
    checked, clip = CheckedClips(dataset, path), dataset.get_data_info(index)
    checked.add(clip, checked.fingerprint(clip), [])
    barrier.wait(60)
    checked.save()


def test_processes_that_write_at_once_keep_the_clips_of_each_other(tmp_path):
    root, count = str(write_ms3(tmp_path / 'data', clips=6, size=(8, 8))), 6
    context = multiprocessing.get_context('fork')
    barrier = context.Barrier(count)
    processes = [context.Process(target=_save_one, args=(tmp_path / 'cache', root, index, barrier))
                 for index in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * count
    dataset = AVSBenchMS3Dataset(root, 'train', pipeline=[LoadClipMasks()])
    checked = CheckedClips(dataset, tmp_path / 'cache')
    clips = [dataset.get_data_info(index) for index in range(count)]
    assert [checked.find(clip, checked.fingerprint(clip)) for clip in clips] == [[]] * count


def test_the_number_of_threads_does_not_change_the_result(root):
    write_image(root / MASK, DAMAGED)
    dataset = AVSBenchMS3Dataset(str(root), 'train', pipeline=[LoadClipMasks(), LoadAudio(num_seconds=1)])
    clips = [dataset.get_data_info(index) for index in range(3)] * (CHUNK + 1)
    found = [check_clips(dataset, clips, num_threads, description='check') for num_threads in (1, 3)]
    assert found[0] == found[1] and [len(lines) for lines in found[0]] == [CHUNK + 1, 2 * (CHUNK + 1)]


def test_the_cache_is_in_the_directory_of_the_user(monkeypatch):
    monkeypatch.setenv('TORCH_HOME', '/somewhere')
    assert cache_directory() == Path('/somewhere/hub/mmavs')


@pytest.mark.parametrize('slow', [0, 1e9])
def test_files_are_compared_by_several_threads_only_if_they_are_slow(look, monkeypatch, slow):
    threads, fingerprint = set(), CheckedClips.fingerprint
    monkeypatch.setattr('mmavs.datasets.check_clips.CHUNK', 1)
    monkeypatch.setattr('mmavs.datasets.check_clips.SLOW', slow)
    monkeypatch.setattr(CheckedClips, 'fingerprint',
                        lambda self, clip: threads.add(threading.current_thread()) or fingerprint(self, clip))
    assert look() == ALL and look() == []
    main = threading.main_thread()
    assert main in threads and (len(threads) > 1) == (slow == 0)
