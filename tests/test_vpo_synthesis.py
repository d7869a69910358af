"""Synthetic clips in both layouts of VPO: loading, masks of sounding objects, and positions of their audio."""
import csv
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
from test_synthesis import compose, image_pairs, same_trees, write_csv  # noqa: F401 (image_pairs is a fixture)

from mmavs.datasets import VPODataset
from mmavs.datasets.check import check_dataset
from mmavs.datasets.transforms import LoadClipMasks, LoadMixedAudio
from mmavs.synthesis import compose_clips, synthesize_clips
from mmavs.synthesis.scenes import CATEGORIES
from mmavs.synthesis.synthesize import make_clip

SUBSETS = ('vpo-ss', 'vpo-ms', 'vpo-msmi')
METAINFO = dict(classes=('background', *CATEGORIES))
PIPELINE = [LoadClipMasks(), LoadMixedAudio()]
SIZE = 64


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp('vpo')
    for subset in SUBSETS:
        for layout in ('cavp', 'clean'):
            synthesize_clips(root, subset, num_train=6, num_val=1, num_test=2, size=SIZE, layout=layout)
    return root


def read(root, subset, split='train', layout='cavp', audio_mode='mono', **options):
    directory = root / (subset if layout == 'cavp' else f'{subset}_clean')
    dataset = VPODataset(str(directory), split, subset, layout, audio_mode, **dict(metainfo=METAINFO), **options)
    return [dataset[i] for i in range(len(dataset))]


@pytest.mark.parametrize('subset', SUBSETS)
def test_both_layouts_hold_the_same_clips(data_root, subset):
    for audio_mode in ('mono', 'stereo'):
        for split, count in (('train', 6), ('test', 3)):
            cavp, clean = (read(data_root, subset, split, layout, audio_mode, pipeline=PIPELINE)
                           for layout in ('cavp', 'clean'))
            assert len(cavp) == len(clean) == count
            for first, second in zip(cavp, clean, strict=True):
                assert first['category'] == second['category']
                np.testing.assert_array_equal(first['masks'], second['masks'])
                # Each file is rounded to 16 bit on its own.
                np.testing.assert_allclose(first['waveform'], second['waveform'], atol=4 / 32768)
                frames = [cv2.imread(clip['frame_paths'][0]) for clip in (first, second)]
                np.testing.assert_array_equal(*frames)


@pytest.mark.parametrize('layout', ['cavp', 'clean'])
@pytest.mark.parametrize('subset', SUBSETS)
def test_written_datasets_are_complete_and_consistent(data_root, subset, layout):
    directory = data_root / (subset if layout == 'cavp' else f'{subset}_clean')
    for audio_mode in ('mono', 'stereo'):
        assert check_dataset(directory, subset, layout, audio_mode, metainfo=METAINFO) == []


def test_masks_hold_the_sounding_classes_at_the_position_of_their_audio(data_root):
    for subset in SUBSETS:
        for clip in read(data_root, subset, audio_mode='stereo', pipeline=PIPELINE):
            mask, = clip['masks']
            names = {Path(path).stem for path in clip['audio_paths']}
            assert len(names) == len(clip['audio_positions']) >= 1
            classes = sorted(set(np.unique(mask)) - {0})
            if subset == 'vpo-ss':
                assert [METAINFO['classes'][c] for c in classes] == [clip['category']]
            if len(clip['audio_paths']) == 1:
                middle = np.flatnonzero((mask > 0).any(0)).mean() / SIZE
                assert middle == pytest.approx(clip['audio_positions'][0], abs=0.15)


def test_one_of_two_instances_may_sound_alone():
    """The masks of VPO-MSMI distinguish instances that only the position of the audio distinguishes."""
    alone = both = 0
    for index in range(24):
        clip = make_clip('vpo-msmi', 'train', index, 0, SIZE)
        categories = [item['category'] for item in clip.description['objects']]
        repeated = {name for name in categories if categories.count(name) > 1}
        assert bool(repeated) == (index % 3 < 2)
        for name in repeated:
            flags = [item['sounding'] for item in clip.description['objects'] if item['category'] == name]
            alone, both = alone + (sum(flags) == 1), both + (sum(flags) == 2)
        assert {1 + CATEGORIES.index(name) for name in clip.targets} == set(np.unique(clip.masks)) - {0}
    assert alone >= 4 and both >= 2


def test_images_contain_silent_objects():
    silent = []
    for index in range(24):
        objects = make_clip('vpo-ms', 'test', index, 0, 32).description['objects']
        silent.append(sum(not item['sounding'] for item in objects))
    assert np.mean(silent) > 0.8 and max(silent) >= 2


def test_object_audio_is_three_seconds_and_sums_to_the_mix():
    for subset, index in ((subset, index) for subset in SUBSETS for index in range(6)):
        clip = make_clip(subset, 'val', index, 0, 32)
        assert clip.frames.shape == (1, 32, 32, 3) and clip.waveform.shape == (48000, )
        np.testing.assert_allclose(sum(audio.waveform for audio in clip.object_audio), clip.waveform, atol=1e-6)
        assert np.abs(clip.waveform).max() <= 1


def test_msmi_refers_to_images_of_ms(data_root):
    with open(data_root / 'vpo-msmi/VPO/VPO-MSMI/vpo_msmi_data_stereo.csv') as file:
        flags = [row['multi_instance'] for row in csv.DictReader(file) if row['split'] == 'train']
    assert set(flags) == {'0', '1'}
    directories = [clip['frame_paths'][0].split('/')[-3] for clip in read(data_root, 'vpo-msmi')]
    assert directories == ['VPO-MSMI', 'VPO-MSMI', 'VPO-MS'] * 2


@pytest.mark.parametrize('layout', ['cavp', 'clean'])
def test_same_seed_gives_identical_files_with_any_number_of_processes(tmp_path, data_root, layout):
    directory = synthesize_clips(tmp_path, 'vpo-msmi', 6, 1, 2, size=SIZE, workers=2, layout=layout)
    assert same_trees(directory, data_root / directory.name)
    before = (directory / 'synthesis.json').stat().st_mtime_ns
    synthesize_clips(tmp_path, 'vpo-msmi', 6, 1, 2, size=SIZE, layout=layout)
    assert (directory / 'synthesis.json').stat().st_mtime_ns == before


def test_layouts_belong_to_vpo(tmp_path):
    for subset, layout in (('ms3', 'cavp'), ('vpo-ss', 'object')):
        with pytest.raises(ValueError, match=f"layout is '{layout}'"):
            synthesize_clips(tmp_path, subset, 1, 0, 0, size=32, layout=layout)


# Images and recordings


@pytest.mark.parametrize('layout', ['cavp', 'clean'])
def test_composed_images_keep_their_shape_and_recordings_their_position(image_pairs, layout):  # noqa: F811
    directory, _ = image_pairs
    data = compose(directory, 'vpo-ms', layout=layout)
    metainfo = dict(classes=('background', 'dog', 'cat'))
    dataset = VPODataset(str(data), 'train', 'vpo-ms', layout, 'stereo', metainfo=metainfo, pipeline=PIPELINE)
    cat, both = (dataset[i] for i in range(2))
    assert cv2.imread(cat['frame_paths'][0]).shape == (48, SIZE, 3)  # of 60 x 80
    assert set(np.unique(cat['masks'])) == {0, 2} and set(np.unique(both['masks'])) == {0, 1, 2}
    # The cat (500 Hz) is at a quarter of the width, the dog (3000 Hz) at 0.72.
    spectrum = np.stack([np.abs(np.fft.rfft(channel)) for channel in both['waveform']])
    for hertz, position in ((500, 0.25), (3000, 0.71875)):
        left, right = spectrum[:, 3 * hertz - 60:3 * hertz + 60].sum(1)
        assert right / (left + right) == pytest.approx(position, abs=0.01)
    assert cat['category'] == 'cat' and both['category'] is None


def test_pairs_without_a_recording_for_each_target_are_left_out(image_pairs):  # noqa: F811
    directory, rows = image_pairs
    assert [clip['name'] for clip in json.loads((compose(directory, 'vpo-ms') / 'synthesis.json').read_text())['clips']
            ] == ['p0', 'p1']
    assert [clip['name'] for clip in json.loads((compose(directory, 'vpo-ss') / 'synthesis.json').read_text())['clips']
            ] == ['p0']
    write_csv(directory / 'pairs.csv', rows[2:])
    with pytest.raises(ValueError, match='pairs.csv: none of the 1 pairs has a recording for each of its targets'):
        compose(directory, 'vpo-ms')
    with pytest.raises(ValueError, match="subset is 'vpo-msmi'"):
        compose(directory, 'vpo-msmi')
    with pytest.raises(ValueError, match='num_frames is 5, expected 1'):
        compose(directory, 'vpo-ms', num_frames=5)


def test_photos_and_recordings_give_a_complete_dataset(tmp_path):
    source = Path(os.environ.get('MMAVS_REAL_MINI', Path(__file__).parents[2] / 'shared/data/real_mini'))
    if not (source / 'pairs.csv').is_file():
        pytest.skip(f'{source}: no photos and recordings')
    with open(source / 'pairs.csv') as file:
        rows = list(csv.DictReader(file))
    rows = [row for row in rows if row['split'] == 'test'][::9] + [row for row in rows if row['audio_b']][:3]
    (tmp_path / 'source').symlink_to(source)
    for row in rows:
        row.update({key: f'source/{row[key]}' for key in ('image', 'mask', 'audio_a', 'audio_b') if row[key]})
    write_csv(tmp_path / 'pairs.csv', rows)
    directory = compose_clips(tmp_path, 'vpo-ms', tmp_path / 'pairs.csv', source / 'classes.csv', size=96)
    with open(source / 'classes.csv') as file:
        metainfo = dict(classes=('background', *(row['class'] for row in csv.DictReader(file))))
    assert check_dataset(directory, 'vpo-ms', audio_mode='stereo', metainfo=metainfo) == []
    clips = [clip for split in ('train', 'test') for clip in VPODataset(
        str(directory), split, 'vpo-ms', audio_mode='stereo', metainfo=metainfo, pipeline=PIPELINE)]
    assert len(clips) == sum(bool(row['target_ids']) for row in rows)
    for clip in clips:
        assert clip['masks'][0].any() and clip['waveform'].any() and np.isfinite(clip['waveform']).all()
        assert soundfile.info(clip['audio_paths'][0]).duration == 3
    assert any(soundfile.info(path).channels == 1 for path in clips[-1]['audio_paths'])
