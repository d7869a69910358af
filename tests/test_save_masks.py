"""Predicted masks on disk: PNG and npz, clip by clip, in one process and in two."""
import gc

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from mmengine.evaluator import Evaluator
from PIL import Image

from mmavs.evaluation import SaveMasks
from mmavs.evaluation.metrics.save_masks import check_clip_ids
from mmavs.structures import AVSDataSample

CLASSES, PALETTE = ('background', 'cat', 'dog'), [[0, 0, 0], [10, 200, 30], [255, 1, 2]]


def as_sample(clip_id, masks, **fields):
    return AVSDataSample(metainfo=dict(clip_id=clip_id), pred_frame_seg=torch.from_numpy(masks), **fields)


def random_masks(seed, frames=2, labels=3):
    return np.random.default_rng(seed).integers(0, labels, (frames, 6, 9), dtype=np.uint8)


def save(path, samples, size=None, classes=CLASSES):
    evaluator = Evaluator(SaveMasks(str(path)))
    evaluator.dataset_meta = dict(classes=classes, palette=PALETTE)
    for sample in samples:
        evaluator.process([sample])
    return evaluator.evaluate(len(samples) if size is None else size)


def test_png_files_hold_the_classes_and_the_palette_of_the_dataset(tmp_path):
    masks = random_masks(0)
    assert save(tmp_path / 'out', [as_sample('bell/1', masks)]) == {}
    for t in range(2):
        image = Image.open(tmp_path / f'out/bell/1/{t:05d}.png')
        assert image.mode == 'P' and image.size == (9, 6) and np.array_equal(np.array(image), masks[t])
        assert np.array_equal(np.array(image.convert('RGB')), np.array(PALETTE)[masks[t]])
    assert len([path for path in tmp_path.rglob('*') if path.is_file()]) == 2


def test_png_files_of_a_single_foreground_class_are_black_and_white(tmp_path):
    masks = random_masks(0)
    save(tmp_path / 'out', [as_sample('a', masks)], classes=('background', 'object'))
    image = Image.open(tmp_path / 'out/a/00001.png')
    assert image.mode == 'L' and np.array_equal(np.array(image), np.where(masks[1] > 0, 255, 0))


@pytest.mark.parametrize('path', ['out', 'out.npz'])
def test_padding_frames_are_left_out(tmp_path, path):
    masks = random_masks(0, frames=4)
    save(tmp_path / path, [as_sample('a', masks, valid=torch.tensor([True, True, True, False]))])
    if path == 'out':
        assert len(list((tmp_path / 'out/a').iterdir())) == 3
    else:
        assert np.array_equal(np.load(tmp_path / path)['a'], masks[:3])


def test_any_name_is_an_array_of_the_npz(tmp_path):
    names = ('file', 'allow_pickle', 'bell/1', 'arr_0', '日本')
    save(tmp_path / 'new/masks.npz', [as_sample(name, random_masks(i)) for i, name in enumerate(names)])
    found = np.load(tmp_path / 'new/masks.npz', allow_pickle=False)
    assert sorted(found.files) == sorted(names)
    assert all(np.array_equal(found[name], random_masks(i)) for i, name in enumerate(names))


def test_masks_are_on_disk_before_the_next_clip_is_predicted(tmp_path):
    metric = SaveMasks(str(tmp_path / 'out'))
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process(None, [as_sample('a', random_masks(0)).to_dict()])
    assert len(list((tmp_path / 'out/a').iterdir())) == 2 and metric.results == ['a']
    metric = SaveMasks(str(tmp_path / 'masks.npz'))
    sizes = []
    for i in range(3):
        metric.process(None, [as_sample(str(i), random_masks(i, 50)).to_dict()])
        sizes.append(sum(path.stat().st_size for path in tmp_path.glob('masks.npz.partial')))
        assert metric.results[-1] == str(i)
    assert sizes[0] < sizes[1] < sizes[2] and not (tmp_path / 'masks.npz').exists()


def test_an_earlier_file_survives_a_test_that_fails(tmp_path):
    save(tmp_path / 'masks.npz', [as_sample('a', random_masks(0))])
    with pytest.raises(ValueError, match='masks of 1 different clips were predicted, the dataset has 2'):
        save(tmp_path / 'masks.npz', [as_sample('b', random_masks(1))], size=2)
    assert np.load(tmp_path / 'masks.npz').files == ['a']
    assert [path.name for path in tmp_path.iterdir()] == ['masks.npz']


@pytest.mark.parametrize('path', ['out', 'masks.npz'])
def test_a_test_that_fails_between_clips_leaves_no_partial_file(tmp_path, path, monkeypatch):
    metric = SaveMasks(str(tmp_path / path))
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process(None, [as_sample('a', random_masks(0)).to_dict()])
    with pytest.raises(ValueError, match='more than one clip'):
        metric.process(None, [as_sample('a', random_masks(0)).to_dict()])
    assert len(list(tmp_path.rglob('*.partial'))) == (path == 'masks.npz')
    # The end of the process has the same effect.
    del metric
    gc.collect()
    assert not list(tmp_path.rglob('*.partial')) and not (tmp_path / 'masks.npz').exists()


def test_an_image_that_cannot_be_written_leaves_no_partial_file(tmp_path, monkeypatch):
    def fail(image, path, *arguments):
        path.write_bytes(b'half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Image.Image, 'save', fail)
    with pytest.raises(OSError, match='No space left'):
        save(tmp_path / 'out', [as_sample('a', random_masks(0))])
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]


def test_masks_at_frame_size_must_be_predicted():
    with pytest.raises(ValueError, match="clip 'a' has no pred_frame_seg.*add it to model.outputs"):
        SaveMasks('out').process(None, [AVSDataSample(metainfo=dict(clip_id='a')).to_dict()])


@pytest.mark.parametrize('clip_ids,message', [
    (['a', 'b', 'a'], "^'a': more than one clip"),
    (['a', '../b', '/c'], "^'../b', '/c': .* must not lead out"),
    (['a/../../b'], 'must not lead out'),
    (['a\\b'], 'must not lead out'),
    ([''], 'must not lead out'),
])
def test_names_that_would_lose_data_are_refused(clip_ids, message):
    with pytest.raises(ValueError, match=message):
        check_clip_ids(clip_ids)


def test_two_clips_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'a': more than one clip"):
        save(tmp_path / 'masks.npz', [as_sample('a', random_masks(0)), as_sample('a', random_masks(1))])


def save_on_one_rank(rank, directory):
    torch.distributed.init_process_group('gloo', f'file://{directory}/init', rank=rank, world_size=2)
    # The second process repeats the first clip, as the sampler does with three clips.
    clips = {0: (0, 2), 1: (1, 0)}[rank]
    for path in ('out', 'masks.npz'):
        save(directory / path, [as_sample(f'clip/{i}', random_masks(i)) for i in clips], size=3)
    torch.distributed.destroy_process_group()


def test_two_processes_write_every_clip_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / '.dist_test').touch()  # MMEngine would collect the results through this directory
    mp.start_processes(save_on_one_rank, (tmp_path, ), 2, start_method='fork')
    masks = np.load(tmp_path / 'masks.npz')
    assert sorted(masks.files) == ['clip/0', 'clip/1', 'clip/2']
    for i in range(3):
        assert np.array_equal(masks[f'clip/{i}'], random_masks(i))
        assert np.array_equal(np.array(Image.open(tmp_path / f'out/clip/{i}/00001.png')), random_masks(i)[1])
    assert not list(tmp_path.rglob('*.partial'))
