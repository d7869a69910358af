"""VPO: both layouts, class indices, mixed audio, stereo and flips, and error messages."""
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from avsbench_tree import random_frame, write_csv, write_image, write_wav
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from mmavs.datasets import ClipDataset, SwapAudio, VPODataset
from mmavs.datasets.check import check_dataset
from mmavs.datasets.check_clips import check_clips
from mmavs.datasets.transforms import (
    CachedTransforms,
    ClipBroadcaster,
    FlipAudio,
    LoadAudio,
    LoadClipFrames,
    LoadClipMasks,
    LoadMixedAudio,
    PackClipInputs,
)
from mmavs.datasets.vpo import CATEGORY_IDS, CLASSES
from mmavs.models.audio_backbones import VGGish
from mmavs.models.data_preprocessor import AVSDataPreprocessor
from mmavs.registry import DATASETS

HEADER = 'cateName,cateId,img_Id,ann_Ids,vgg_file,audio_pos,multi_instance,split'
SIZE = 30, 40
RATE = 16000
AUDIO_DIRECTORY = 'vggsound_bench/VGGSound/audios'


def row(name, image, annotation=0, audio='dog_1', position=0.25, multi_instance=1, split='train'):
    return [name, CATEGORY_IDS.get(name, 1), image, annotation, audio, position, multi_instance, split]


def tone(path, hertz, seconds, rate=RATE, level=0.2):
    """Write a tone with a whole number of periods in each second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, level * np.sin(2 * np.pi * hertz * t), rate, 'FLOAT')


def halves(left, right):
    mask = np.zeros(SIZE, np.uint8)
    mask[5:25, 2:18], mask[5:25, 22:38] = left, right
    return mask


@pytest.fixture
def root(tmp_path):
    """The three subsets in the layout of CAVP, two clips or more of each; image 7 has a car beside an airplane."""
    rng = np.random.default_rng(0)
    vpo = tmp_path / 'VPO'
    ss = [row('dog', 7, 11), row('bird', 8, 12, 'bird_1'), row('dog', 7, 11, 'dog_2', split='val'),
          row('dog', 9, 13, split='test')]
    write_csv(vpo / 'VPO-SS/vpo_ss_data_stereo.csv', HEADER, ss)
    for name, image, annotation in (('dog', 7, 11), ('bird', 8, 12), ('dog', 9, 13)):
        write_image(vpo / f'VPO-SS/data/{name}/{image:012}.jpg', random_frame(rng, *SIZE))
        mask = halves(CATEGORY_IDS[name], 0)
        write_image(vpo / f'VPO-SS/mask/{name}/{image:012}_{annotation:012}.png', mask)
    ms = [row('car', 7, audio='car_1', position=0.25), row('bird', 8, audio='bird_1'),
          row('airplane', 7, audio='plane_1', position=0.75), row('dog', 9, split='val'),
          row('car', 9, audio='car_1', split='val')]
    write_csv(vpo / 'VPO-MS/vpo_ms_data_stereo.csv', HEADER, ms)
    for image, mask in ((7, halves(3, 5)), (8, halves(16, 0)), (9, halves(18, 3))):
        write_image(vpo / f'VPO-MS/data/{image:012}.jpg', random_frame(rng, *SIZE))
        write_image(vpo / f'VPO-MS/mask/{image:012}.png', mask)
    msmi = [row('dog', 7, audio='dog_1', multi_instance=0), row('dog', 21, audio='dog_1', position=0),
            row('dog', 21, audio='dog_2', position=1), row('cat', 22, audio='cat_1', split='test')]
    write_csv(vpo / 'VPO-MSMI/vpo_msmi_data_stereo.csv', HEADER, msmi)
    for image, mask in ((21, halves(18, 18)), (22, halves(17, 0))):
        write_image(vpo / f'VPO-MSMI/data/{image:012}.jpg', random_frame(rng, *SIZE))
        write_image(vpo / f'VPO-MSMI/mask/{image:012}.png', mask)
    for name, hertz, seconds in (('dog_1', 440, 10), ('dog_2', 880, 2), ('bird_1', 3000, 3), ('car_1', 100, 4),
                                 ('plane_1', 200, 4), ('cat_1', 600, 5)):
        tone(tmp_path / AUDIO_DIRECTORY / f'{name}.wav', hertz, seconds)
    return tmp_path


def write_clean(root, header='uid,frame,mask,classes,split,type', channels=2):
    rng, rows = np.random.default_rng(0), []
    clips = (('VPO-SS', 'train', '[9.0]', 9), ('VPO-MS', 'train', '[1, 5]', 1), ('VPO-SS', 'test', '[3]', 3))
    for kind, split, indices, value in clips:
        uid = f'{kind}/{split}_{len(rows)}'
        rows.append([uid, 'a.jpg', 'b.png', indices, split, kind])
        write_image(root / uid / 'frames/a.jpg', random_frame(rng, *SIZE))
        write_image(root / uid / 'labels_semantic/b.png', halves(value, 0))
        write_wav(root / uid / 'mono_audio.wav', 3)
        write_wav(root / uid / 'stereo_audio.wav', 3, channels=channels)
    write_csv(root / 'vpo_data_clean.csv', header, rows)
    return root


def clips_of(dataset):
    return [dataset.get_data_info(i) for i in range(len(dataset))]


# Lists of clips


def test_every_row_of_ss_is_a_clip_and_val_is_test(root):
    train, test = (clips_of(VPODataset(str(root), split, 'vpo-ss')) for split in ('train', 'test'))
    assert [clip['clip_id'] for clip in train] == [
        'dog/000000000007_000000000011/dog_1', 'bird/000000000008_000000000012/bird_1']
    assert [clip['clip_id'] for clip in test] == [
        'dog/000000000007_000000000011/dog_2', 'dog/000000000009_000000000013/dog_1']
    clip = train[0]
    assert (clip['subset'], clip['category'], CLASSES[clip['event_id']]) == ('vpo-ss', 'dog', 'dog')
    assert clip['valid'] == clip['labelled'] == [True] and clip['audio_positions'] is None
    assert all(os.path.isfile(path) for path in clip['frame_paths'] + clip['mask_paths'] + clip['audio_paths'])


def test_rows_of_an_image_are_one_clip_of_ms(root):
    first, second = clips_of(VPODataset(str(root), 'train', 'vpo-ms', audio_mode='stereo'))
    assert first['clip_id'] == '000000000007' and first['category'] is None
    assert [os.path.basename(path) for path in first['audio_paths']] == ['car_1.wav', 'plane_1.wav']
    assert first['audio_positions'] == [0.25, 0.75]
    assert second['category'] == 'bird' and len(second['audio_paths']) == 1


def test_msmi_reads_images_with_one_instance_per_class_from_ms(root):
    from_ms, from_msmi = clips_of(VPODataset(str(root), 'train', 'vpo-msmi', audio_mode='stereo'))
    assert '/VPO/VPO-MS/data/' in from_ms['frame_paths'][0] and '/VPO/VPO-MS/mask/' in from_ms['mask_paths'][0]
    assert '/VPO/VPO-MSMI/' in from_msmi['frame_paths'][0] and from_msmi['audio_positions'] == [0, 1]


def test_val_and_test_rows_of_an_image_are_one_test_clip_and_ids_are_compared_as_numbers(root):
    rows = [row('dog', 9, split='val'), row('car', '9.0', audio='car_1', split='test')]
    write_csv(root / 'VPO/VPO-MS/vpo_ms_data_stereo.csv', HEADER, rows)
    clip, = clips_of(VPODataset(str(root), 'test', 'vpo-ms'))
    assert clip['clip_id'] == '000000000009' and len(clip['audio_paths']) == 2


def test_multi_instance_is_read_in_msmi_only(root):
    rows = [row('dog', 7, multi_instance=0), row('car', 7, audio='car_1', multi_instance=1)]
    write_csv(root / 'VPO/VPO-MS/vpo_ms_data_stereo.csv', HEADER, rows)
    assert len(VPODataset(str(root), 'train', 'vpo-ms')) == 1
    write_csv(root / 'VPO/VPO-MSMI/vpo_msmi_data_stereo.csv', HEADER, rows)
    with pytest.raises(ValueError, match="image 7 have different values in the column 'multi_instance': 0, 1"):
        VPODataset(str(root), 'train', 'vpo-msmi')
    rows[1] = row('car', 7, audio='car_1', multi_instance='0.0')
    write_csv(root / 'VPO/VPO-MSMI/vpo_msmi_data_stereo.csv', HEADER, rows)
    clip, = clips_of(VPODataset(str(root), 'train', 'vpo-msmi'))
    assert '/VPO/VPO-MS/data/' in clip['frame_paths'][0]


def test_repeated_rows_get_clip_ids_of_their_own(root):
    write_csv(root / 'VPO/VPO-SS/vpo_ss_data_stereo.csv', HEADER, [row('dog', 7, 11)] * 2)
    ids = [clip['clip_id'] for clip in clips_of(VPODataset(str(root), 'train', 'vpo-ss'))]
    assert len(set(ids)) == 2


@pytest.mark.parametrize('subset', ['vpo-ss', 'vpo-ms'])
def test_repeated_rows_are_warned_of(root, subset, monkeypatch):
    """In vpo-ss the clip counts twice, in vpo-ms the audio of the object is summed twice."""
    messages = []
    monkeypatch.setattr('mmavs.datasets.vpo.print_log', lambda message, *_: messages.append(message))
    path = root / f"VPO/{subset.upper()}/{subset.replace('-', '_')}_data_stereo.csv"
    VPODataset(str(root), 'train', subset)
    assert messages == []
    write_csv(path, HEADER, [row('dog', 9, 13), row('dog', 9, 13)])
    VPODataset(str(root), 'train', subset)
    assert len(messages) == 1 and f"{path}: 1 row(s) of the split 'train' are repeated" in messages[0]


def test_a_clip_in_two_splits_is_a_problem(root):
    write_csv(root / 'VPO/VPO-SS/vpo_ss_data_stereo.csv', HEADER, [row('dog', 7, 11), row('dog', 7, 11, split='test')])
    lines = check_dataset(root, 'vpo-ss', published=False)
    assert len(lines) == 1
    assert 'the clip dog/000000000007_000000000011/dog_1 is in the splits train and test' in lines[0]


def test_frames_masks_and_audio_may_have_any_suffix_that_is_read(root):
    expected = VPODataset(str(root), 'train', 'vpo-ms', pipeline=[LoadClipMasks(), LoadMixedAudio()])[0]
    frame, mask = (root / f'VPO/VPO-MS/{name}' for name in ('data/000000000007.jpg', 'mask/000000000007.png'))
    frame.rename(frame.with_suffix('.JPEG'))
    write_image(mask.with_suffix('.bmp'), halves(3, 5))
    mask.unlink()
    audio = root / AUDIO_DIRECTORY / 'car_1.wav'
    audio.rename(audio.with_suffix('.WAV'))
    clip = VPODataset(str(root), 'train', 'vpo-ms', pipeline=[LoadClipMasks(), LoadMixedAudio()])[0]
    assert (clip['frame_paths'], clip['audio_paths'][0]) == ([str(frame.with_suffix('.JPEG'))],
                                                             str(audio.with_suffix('.WAV')))
    for key in ('masks', 'waveform'):
        np.testing.assert_array_equal(clip[key], expected[key])
    audio.touch()
    with pytest.raises(FileNotFoundError, match=r'audio .* is not unique: found car_1\.WAV and car_1\.wav'):
        VPODataset(str(root), 'train', 'vpo-ms', pipeline=[LoadMixedAudio()])


def test_numbers_may_be_written_as_floats_and_lists(root):
    write_csv(root / 'VPO/VPO-SS/vpo_ss_data_stereo.csv', HEADER, [row('dog', '7.0', '[11]')])
    assert len(VPODataset(str(root), 'train', 'vpo-ss')) == 1


def test_clean_layout_is_read_by_type(tmp_path):
    root = write_clean(tmp_path, header='a,b,c,d,split,type')
    ss = VPODataset(str(root), 'train', 'vpo-ss', layout='clean', pipeline=[LoadClipMasks(), LoadMixedAudio()])
    assert len(ss) == 1 and ss[0]['category'] == 'dog' and set(np.unique(ss[0]['masks'])) == {0, 9}
    ms, = clips_of(VPODataset(str(root), 'train', 'vpo-ms', layout='clean', audio_mode='stereo'))
    assert ms['category'] is None and ms['audio_paths'][0].endswith('stereo_audio.wav')
    stereo = LoadMixedAudio()(dict(ms))['waveform']
    expected, _ = soundfile.read(ms['audio_paths'][0], dtype='float32')
    np.testing.assert_array_equal(stereo, expected.T)


# Labels


def test_car_beside_airplane_stays_a_car(root):
    dataset = VPODataset(str(root), 'train', 'vpo-ms', pipeline=[LoadClipMasks()])
    mask = dataset[0]['masks'][0]
    car, airplane = CLASSES.index('car'), CLASSES.index('airplane')
    assert (mask[5:25, 2:18] == car).all() and (mask[5:25, 22:38] == airplane).all()
    assert np.bincount(mask.ravel())[[0, car, airplane]].tolist() == [1200 - 640, 320, 320]


def test_every_category_has_its_published_class(tmp_path):
    assert len(CLASSES) == 22 and (CLASSES[1], CLASSES[5], CLASSES[14], CLASSES[21]) == (
        'airplane', 'car', 'male', 'zebra')
    values = np.array([*CATEGORY_IDS.values(), 255, 255], np.uint8).reshape(4, 6)
    write_image(tmp_path / 'mask.png', values)
    clip = dict(mask_paths=[str(tmp_path / 'mask.png')], mask_encoding='category', num_classes=22,
                category_ids=tuple(CATEGORY_IDS.values()))
    assert LoadClipMasks()(clip)['masks'][0].ravel().tolist() == [*range(22), 255, 255]


def test_ids_of_a_dataset_with_other_classes_come_from_its_csv_file(root):
    rows = [['gear', 40, 7, 0, 'car_1', 0.5, 1, 'train'], ['bird', 90, 7, 0, 'bird_1', 0.5, 1, 'train']]
    write_csv(root / 'VPO/VPO-MS/vpo_ms_data_stereo.csv', HEADER, rows)
    write_image(root / 'VPO/VPO-MS/mask/000000000007.png', halves(40, 90))
    metainfo = dict(classes=('background', 'bird', 'cow', 'gear'))
    mask = VPODataset(str(root), 'train', 'vpo-ms', metainfo=metainfo, pipeline=[LoadClipMasks()])[0]['masks'][0]
    assert (mask[5:25, 2:18] == 3).all() and (mask[5:25, 22:38] == 1).all()


# Audio


def test_long_audio_is_cropped_at_its_center_and_short_audio_is_repeated_from_its_beginning(tmp_path):
    ramp = np.arange(10 * RATE) / (20 * RATE)
    soundfile.write(tmp_path / 'long.wav', ramp, RATE, 'FLOAT')
    soundfile.write(tmp_path / 'short.wav', ramp[:2 * RATE], RATE, 'FLOAT')
    load = LoadMixedAudio()
    clip = dict(audio_mode='mono', audio_positions=None)
    long = load(dict(clip, audio_paths=[str(tmp_path / 'long.wav')]))['waveform']
    np.testing.assert_allclose(long, ramp[56000:104000], atol=1e-6)
    short = load(dict(clip, audio_paths=[str(tmp_path / 'short.wav')]))['waveform']
    np.testing.assert_allclose(short, np.concatenate([ramp[:2 * RATE], ramp[:RATE]]), atol=1e-6)
    assert long.shape == short.shape == (48000, ) and long.dtype == np.float32


def test_audio_is_summed_without_averaging_or_clipping(tmp_path):
    for name in 'ab':
        soundfile.write(tmp_path / f'{name}.wav', np.full(3 * RATE, 0.75), RATE, 'FLOAT')
    paths = [str(tmp_path / f'{name}.wav') for name in 'ab']
    mono = LoadMixedAudio()(dict(audio_mode='mono', audio_positions=None, audio_paths=paths))['waveform']
    np.testing.assert_allclose(mono, 1.5)


def test_stereo_places_objects_and_sums_to_mono(root):
    mono, stereo = (
        VPODataset(str(root), 'train', 'vpo-ms', audio_mode=mode, pipeline=[LoadMixedAudio()])[0]['waveform']
        for mode in ('mono', 'stereo'))
    assert mono.shape == (48000, ) and stereo.shape == (2, 48000)
    np.testing.assert_allclose(stereo.sum(0), mono, atol=1e-6)
    spectrum = np.abs(np.fft.rfft(stereo))[:, [300, 600]] / 24000  # car at 100 Hz, airplane at 200 Hz, of amplitude 0.2
    np.testing.assert_allclose(spectrum, [[0.15, 0.05], [0.05, 0.15]], atol=1e-4)


def test_horizontal_flip_exchanges_the_channels(root):
    def load(prob, direction='horizontal', audio_mode='stereo'):
        flip = ClipBroadcaster([dict(type='RandomFlip', prob=prob, direction=direction)], share_random_params=True)
        jitter = ClipBroadcaster([dict(type='mmseg.PhotoMetricDistortion')])
        pipeline = [LoadClipFrames(), LoadClipMasks(), LoadMixedAudio(), flip, FlipAudio(), jitter]
        return VPODataset(str(root), 'train', 'vpo-ms', audio_mode=audio_mode, pipeline=pipeline)[0]

    plain, flipped = load(0.0), load(1.0)
    np.testing.assert_array_equal(flipped['masks'][0], plain['masks'][0][:, ::-1])
    np.testing.assert_array_equal(flipped['waveform'], plain['waveform'][::-1])
    assert plain['audio_positions'] == [0.25, 0.75] and flipped['audio_positions'] == [0.75, 0.25]
    # The same as with mirrored positions.
    mirrored = LoadMixedAudio()(dict(flipped))['waveform']
    np.testing.assert_allclose(flipped['waveform'], mirrored, atol=1e-6)
    np.testing.assert_array_equal(load(1.0, 'vertical')['waveform'], plain['waveform'])
    np.testing.assert_array_equal(load(1.0, audio_mode='mono')['waveform'], load(0.0, audio_mode='mono')['waveform'])


def test_flip_of_frames_and_audio_is_applied_once():
    stereo = np.stack([np.zeros(4, np.float32), np.ones(4, np.float32)])
    once = FlipAudio()(dict(waveform=stereo, flip=True, flip_direction='horizontal'))
    np.testing.assert_array_equal(FlipAudio()(once)['waveform'], stereo[::-1])


def test_flip_audio_without_a_waveform_is_an_error_whether_it_flips_or_not(root):
    for clip in (dict(flip=True, flip_direction='horizontal'), dict(flip=False)):
        with pytest.raises(ValueError, match='no waveform to flip: put it after LoadMixedAudio'):
            FlipAudio()(clip)


def test_clips_form_batches_and_vggish_requires_mono(root):
    pipeline = [LoadClipFrames(), LoadClipMasks(), LoadMixedAudio(), PackClipInputs()]
    vggish = VGGish(channels=(1, ) * 6)
    for mode, shape in (('mono', (2, 48000)), ('stereo', (2, 2, 48000))):
        dataset = VPODataset(str(root), 'train', 'vpo-ms', audio_mode=mode, pipeline=pipeline)
        batch = AVSDataPreprocessor()(pseudo_collate([dataset[0], dataset[1]]))
        waveform = batch['inputs']['waveform']
        assert waveform.shape == shape and batch['inputs']['frames'].shape == (2, 1, 3, 32, 64)
        if mode == 'mono':
            assert vggish(waveform, 1).shape == (2, 1, 1, 128)
        else:
            with pytest.raises(ValueError, match="is mono, .*audio_mode='mono'"):
                vggish(waveform, 1)


def test_swapped_audio_keeps_its_positions_and_is_cached_separately(root):
    dataset = VPODataset(str(root), 'train', 'vpo-ms', audio_mode='stereo',
                         pipeline=[CachedTransforms([LoadMixedAudio()])])
    swapped = SwapAudio(dataset)
    assert swapped.get_data_info(0)['audio_paths'] == dataset.get_data_info(1)['audio_paths']
    assert swapped.get_data_info(1)['audio_positions'] == [0.25, 0.75]
    assert (dataset[0]['waveform'] != swapped[0]['waveform']).any()
    np.testing.assert_array_equal(swapped[0]['waveform'], dataset[1]['waveform'])


# Errors


@pytest.mark.parametrize(('subset', 'mode', 'column'), [
    *(('vpo-ss', 'mono', column) for column in ('cateName', 'cateId', 'img_Id', 'ann_Ids', 'vgg_file', 'split')),
    ('vpo-msmi', 'mono', 'multi_instance'), ('vpo-ms', 'stereo', 'audio_pos')])
def test_a_missing_column_is_named(root, subset, mode, column):
    path = root / f"VPO/{subset.upper()}/{subset.replace('-', '_')}_data_stereo.csv"
    path.write_text(path.read_text().replace(column, 'other', 1))
    with pytest.raises(ValueError, match=rf"{path.name}: no column '{column}', found"):
        VPODataset(str(root), 'train', subset, audio_mode=mode)


def test_stereo_without_positions_suggests_mono(root):
    path = root / 'VPO/VPO-MS/vpo_ms_data_stereo.csv'
    path.write_text(path.read_text().replace('audio_pos', 'other'))
    with pytest.raises(ValueError, match="no column 'audio_pos', found .*; add what is .* or use audio_mode='mono'"):
        VPODataset(str(root), 'train', 'vpo-ms', audio_mode='stereo')


def test_columns_that_are_not_needed_may_be_missing(root):
    path = root / 'VPO/VPO-MS/vpo_ms_data_stereo.csv'
    path.write_text(path.read_text().replace('ann_Ids', 'x').replace('audio_pos', 'y').replace('multi_instance', 'z'))
    assert len(VPODataset(str(root), 'train', 'vpo-ms')) == 2


@pytest.mark.parametrize(('change', 'message'), [
    (dict(cateName='wolf'), "cateName 'wolf' is none of the 22 classes"),
    (dict(cateId=7), "cateId 7 of 'dog', expected 18"),
    (dict(img_Id='a7'), "img_Id is 'a7', expected one whole number"),
    (dict(ann_Ids='[1, 2]'), "ann_Ids is '\\[1, 2\\]', expected one whole number"),
    (dict(audio_pos=1.5), "audio_pos is '1.5' for the image 7, expected a number from 0"),
])
def test_wrong_values_are_named(root, change, message):
    values = dict(zip(HEADER.split(','), row('dog', 7, 11)), **change)
    write_csv(root / 'VPO/VPO-SS/vpo_ss_data_stereo.csv', HEADER, [list(values.values())])
    with pytest.raises(ValueError, match=f'vpo_ss_data_stereo.csv: {message}'):
        VPODataset(str(root), 'train', 'vpo-ss', audio_mode='stereo')


def test_rows_of_an_image_in_two_splits_are_an_error(root):
    rows = [row('dog', 7), row('car', 7, audio='car_1', split='test')]
    write_csv(root / 'VPO/VPO-MS/vpo_ms_data_stereo.csv', HEADER, rows)
    with pytest.raises(ValueError, match="image 7 have different values in the column 'split': test, train"):
        VPODataset(str(root), 'train', 'vpo-ms')


def test_missing_files_are_named(root):
    (root / AUDIO_DIRECTORY / 'plane_1.wav').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 2 clips .*\(1 x audio\).*clip 0+7: .*plane_1\.wav is missing'):
        VPODataset(str(root), 'train', 'vpo-ms')
    (root / 'VPO/VPO-MS/mask/000000000008.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'2 of 2 clips'):
        VPODataset(str(root), 'train', 'vpo-ms')


def test_directory_of_the_audio_can_be_replaced(root):
    (root / AUDIO_DIRECTORY).rename(root / 'audio')
    with pytest.raises(FileNotFoundError, match='x audio'):
        VPODataset(str(root), 'train', 'vpo-ms')
    assert len(VPODataset(str(root), 'train', 'vpo-ms', data_prefix=dict(audio=str(root / 'audio')))) == 2


def test_stereo_mode_with_mono_files_is_an_error(tmp_path):
    root = write_clean(tmp_path, channels=1)
    dataset = VPODataset(str(root), 'train', 'vpo-ss', layout='clean', audio_mode='stereo', pipeline=[LoadMixedAudio()])
    message = r"stereo_audio\.wav: the audio has 1 channel\(s\), expected 2 for stereo; with audio_mode='mono'"
    with pytest.raises(ValueError, match=message):
        dataset[0]
    (problem, ), _ = check_clips(dataset, clips_of(dataset))
    assert 'expected 2 for stereo' in problem
    assert check_dataset(root, 'vpo-ss', layout='clean') == []
    lines = check_dataset(root, 'vpo-ss', layout='clean', audio_mode='stereo')
    assert len(lines) == 2 and all('expected 2 for stereo' in line for line in lines)


def test_the_transform_of_another_dataset_is_named(root):
    with pytest.raises(FileNotFoundError, match='no audio_path, which the pipeline reads: LoadMixedAudio is for VPO'):
        VPODataset(str(root), 'train', 'vpo-ss', pipeline=[LoadAudio()])


@pytest.mark.parametrize('change', [dict(subset='ss'), dict(layout='hf'), dict(audio_mode='left')])
def test_options_are_checked(root, change):
    name, value = next(iter(change.items()))
    with pytest.raises(ValueError, match=f'{name} is {value!r}, expected one of'):
        VPODataset(**{**dict(data_root=str(root), split='train', subset='vpo-ss'), **change})


def test_clean_csv_errors(tmp_path):
    root = write_clean(tmp_path)
    with pytest.raises(ValueError, match="no clip of type 'VPO-MSMI', found 'VPO-MS', 'VPO-SS'"):
        VPODataset(str(root), 'train', 'vpo-msmi', layout='clean')
    write_csv(root / 'vpo_data_clean.csv', 'uid,split,type', [['a', 'train', 'VPO-SS']])
    with pytest.raises(ValueError, match='the columns are uid, split, type, expected'):
        VPODataset(str(root), 'train', 'vpo-ss', layout='clean')
    for indices in ('[22]', '[1.5]', '[-1]', '[1 x]', '[]'):
        write_csv(root / 'vpo_data_clean.csv', 'uid,f,m,c,split,type',
                  [['a', 'a.jpg', 'b.png', indices, 'train', 'VPO-SS']])
        with pytest.raises(ValueError, match=rf'the class indices of a are .{re.escape(indices)}.*below 22'):
            VPODataset(str(root), 'train', 'vpo-ss', layout='clean')
    # As pandas writes it, with the number of the row.
    write_csv(root / 'vpo_data_clean.csv', ',uid,f,m,c,split,type',
              [[0, 'a', 'a.jpg', '3.png', '[9]', 'train', 'VPO-SS']])
    message = "of 0 are '3.png', .* first four columns except split and type, found '', 'uid'"
    with pytest.raises(ValueError, match=message):
        VPODataset(str(root), 'train', 'vpo-ss', layout='clean')


# check_dataset


@pytest.mark.parametrize('subset', ['vpo-ss', 'vpo-ms', 'vpo-msmi'])
def test_complete_dataset_has_no_problem(root, subset):
    assert check_dataset(root, subset) == check_dataset(root, subset, audio_mode='stereo') == []


def test_every_damage_is_reported_in_one_line(root):
    (root / AUDIO_DIRECTORY / 'plane_1.wav').unlink()
    write_image(root / 'VPO/VPO-MS/mask/000000000008.png', halves(16, 99))
    (root / 'VPO/VPO-MS/data/000000000009.jpg').write_bytes(b'not an image')
    lines = check_dataset(root, 'vpo-ms')
    assert len(lines) == 3
    for wanted in ('plane_1.wav is missing', 'mask value 99 is not the id of a class', 'the frame cannot be decoded'):
        assert sum(wanted in line for line in lines) == 1, wanted
    dataset = VPODataset(str(root), 'test', 'vpo-ms', pipeline=[LoadClipFrames()])
    assert isinstance(dataset, ClipDataset) and len(check_clips(dataset, clips_of(dataset))[0]) == 1


def test_waveforms_are_tensors_that_own_their_memory(root):
    pipeline = [LoadClipFrames(), LoadMixedAudio(), FlipAudio(), PackClipInputs()]
    dataset = VPODataset(str(root), 'train', 'vpo-ss', audio_mode='stereo', pipeline=pipeline)
    waveform = dataset[0]['inputs']['waveform']
    assert waveform.dtype == torch.float32 and waveform.shape == (2, 48000) and waveform.is_contiguous()


# Configs


@pytest.mark.parametrize('subset', ['vpo-ss', 'vpo-ms', 'vpo-msmi'])
@pytest.mark.parametrize('size', [224, 512])
def test_config_loads_clips_of_its_subset(root, subset, size):
    config = Config.fromfile(Path(__file__).parents[1] / f'configs/_base_/datasets/{subset}_{size}.py')
    np.random.seed(0)
    for split in ('train', 'val', 'test'):
        options = config[f'{split}_dataloader'].dataset.to_dict()
        assert options['subset'] == subset and options['split'] == ('train' if split == 'train' else 'test')
        options.update(data_root=str(root), audio_mode='stereo')
        clip = DATASETS.build(options)[0]
        sample = clip['data_samples']
        assert clip['inputs']['waveform'].shape == (2, 48000) and sample.gt_sem_seg.any()
        # At 512: crops in training, original size in the test.
        native = size == 512 and split != 'train'
        assert sample.img_shape == sample.out_shape == (SIZE if native else (size, size))
        assert set(sample.gt_sem_seg.unique().tolist()) <= {*range(22), *([255] if size == 512 and not native else [])}
    assert config.test_evaluator == dict(type='DatasetMetric', preset={224: 'ddeseg', 512: 'cavp'}[size])
