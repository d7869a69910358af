import gc
import itertools
import os
import shutil

import numpy as np
import pytest
import soundfile
from avsbench_tree import write_avss, write_csv, write_image, write_ms3, write_s4
from mmengine.dataset import Compose
from PIL import Image

from mmavs.datasets import AVSBenchMS3Dataset, AVSBenchS4Dataset, AVSSDataset, SwapAudio
from mmavs.datasets.check import check_dataset
from mmavs.datasets.file_listing import all_unique, list_directory
from mmavs.datasets.transforms import LoadAudio
from mmavs.registry import DATASETS
from mmavs.utils.palette import voc_palette


@pytest.fixture(scope='module')
def s4_root(tmp_path_factory):
    return write_s4(tmp_path_factory.mktemp('s4'))


@pytest.fixture(scope='module')
def avss_root(tmp_path_factory):
    return write_avss(tmp_path_factory.mktemp('avss'))


def test_s4_trains_on_the_first_frame_and_evaluates_all(s4_root):
    train, val = (AVSBenchS4Dataset(str(s4_root), split)[1] for split in ('train', 'val'))
    assert train['clip_id'] == 'male_speech/train1' and train['subset'] == 's4' and train['category'] == 'male_speech'
    assert train['labelled'] == [True, False, False, False, False] and train['valid'] == [True] * 5
    assert [path is not None for path in train['mask_paths']] == train['labelled']
    assert val['labelled'] == [True] * 5
    assert all(os.path.isfile(path) for path in val['frame_paths'] + val['mask_paths'])
    assert os.path.isfile(val['audio_path']) and os.path.isfile(val['log_mel_path'])


def test_s4_events_have_the_order_of_the_prototypes_of_vct(s4_root):
    dataset = AVSBenchS4Dataset(str(s4_root), 'val')
    assert len(dataset.metainfo['events']) == 23
    # helicopter 1, ..., male_speech 9, ..., dog_barking 20, counted from 1
    assert [dataset.get_data_info(i)['event_id'] for i in range(2)] == [19, 8]


def test_s4_of_unknown_category_names_it(tmp_path):
    root = write_s4(tmp_path)
    write_csv(root / 's4_meta_data.csv', 'name,start,category,split', [['x', 0, 'purring', 'train']])
    with pytest.raises(ValueError, match=r's4_meta_data\.csv.*purring.*23 events.*metainfo'):
        AVSBenchS4Dataset(str(root), 'train')
    with pytest.raises(FileNotFoundError, match='1 of 1 clips'):
        AVSBenchS4Dataset(str(root), 'train', metainfo=dict(events=['purring']))


def test_clips_come_in_the_order_of_the_csv_file(tmp_path):
    root = write_ms3(tmp_path, clips=3)
    rows = [['train_2', 'train'], ['val_0', 'val'], ['train_0', 'train'], ['train_1', 'train']]
    write_csv(root / 'ms3_meta_data.csv', 'video_id,split', rows)
    dataset = AVSBenchMS3Dataset(str(root), 'train')
    assert [dataset[i]['clip_id'] for i in range(3)] == ['train_2', 'train_0', 'train_1']
    assert all(dataset[0]['labelled']) and dataset[0]['event_id'] is None


def test_384_layout_of_vct_is_read(tmp_path):
    root = write_ms3(tmp_path)
    data = tmp_path / 'ms3_data_384'
    for split in ('train', 'val'):
        for path in (root / 'ms3_data/gt_masks' / split).glob('*/*.png'):
            size = 384 if split == 'train' else 224
            target = data / f'gt_masks_{size}' / split / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    for path in (root / 'ms3_data/visual_frames').glob('*/*.png'):
        target = data / 'visual_frames_384' / path.parent.name / path.name.replace('.mp4', '')
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        prior = data / 'pre_SAM_mask_384' / path.parent.name / target.name.replace('.png', '_mask_color.png')
        prior.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, prior)
    prefix = dict(mask_prior='ms3_data_384/pre_SAM_mask_384')
    train, val = (AVSBenchMS3Dataset(str(root), split, '384', data_prefix=prefix)[0] for split in ('train', 'val'))
    assert train['frame_paths'][0].endswith('visual_frames_384/train_0/train_0_1.png')
    assert train['mask_paths'][4].endswith('gt_masks_384/train/train_0/train_0_5.png')
    assert val['mask_paths'][4].endswith('gt_masks_224/val/val_0/val_0_5.png')
    assert val['mask_prior_paths'][2].endswith('pre_SAM_mask_384/val_0/val_0_3_mask_color.png')


@pytest.mark.parametrize(('split', 'v1s'), [('train', [True] + [False] * 4), ('val', [True] * 5), ('test', [True] * 5)])
def test_avss_clips_have_the_published_flags(avss_root, split, v1s):
    dataset = AVSSDataset(str(avss_root), split)
    clips = [dataset[i] for i in range(len(dataset))]
    assert [clip['clip_id'] for clip in clips] == [f'{part}/{split}_{part}' for part in ('v1s', 'v1m', 'v2')]
    assert [clip['labelled'] for clip in clips] == [v1s, [True] * 5, [True] * 10]
    assert [clip['valid'] for clip in clips] == [[True] * 5, [True] * 5, [True] * 10]


def test_avss_clips_padded_to_ten_frames(avss_root):
    dataset = AVSSDataset(str(avss_root), 'train', num_frames=10)
    clip = dataset[0]
    assert clip['valid'] == [True] * 5 + [False] * 5 and clip['labelled'] == [True] + [False] * 9
    assert clip['frame_paths'][5:] == [None] * 5 and clip['mask_paths'][1:] == [None] * 9
    assert dataset[2]['valid'] == [True] * 10


def test_avss_reads_indices_or_colors_by_the_directory_of_labels(avss_root, tmp_path):
    pipeline = [dict(type='LoadClipMasks')]
    semantic = AVSSDataset(str(avss_root), 'val', pipeline=pipeline)
    rgb = AVSSDataset(str(write_avss(tmp_path, 'labels_rgb')), 'val', pipeline=pipeline)
    assert semantic[0]['mask_encoding'] == 'index' and rgb[0]['mask_encoding'] == 'palette'
    for i in range(3):
        np.testing.assert_array_equal(semantic[i]['masks'], rgb[i]['masks'])
    assert np.unique(semantic[0]['masks']).tolist() == [0, 4, 5, 6, 7, 8, 17]


def test_avss_of_another_number_of_classes_is_refused(avss_root):
    with pytest.raises(ValueError, match=r'label2idx\.json: 71 classes.*built for 2.*metainfo'):
        AVSSDataset(str(avss_root), 'train', metainfo=dict(classes=['background', 'dog']))


LABELS = '{"background": 0, "hair-dryer": 1, "b": 2}'


@pytest.mark.parametrize(('content', 'message'), [
    (LABELS.encode('utf-8-sig'), None),
    (b'{"b": 2, "Hair_Dryer": 1, "background": 0}', None),
    (b'{"background": 0, ', 'not a JSON file'),
    (b'\xff\xfe{', 'not the classes of the dataset in UTF-8'),
    (b'["background", "hair-dryer", "b"]', 'a JSON object that maps'),
    (b'{"background": 0, "hair-dryer": 1, "b": 1}', 'a JSON object that maps'),
    (b'{"background": 0, "b": 1, "hair-dryer": 2}', "class 1 is 'b', in the dataset it is 'hair-dryer'.*metainfo"),
])
def test_label_file_of_avss_is_compared_with_the_classes(tmp_path, content, message):
    root = write_avss(tmp_path, size=(8, 8))
    (root / 'label2idx.json').write_bytes(content)
    metainfo = dict(classes=['background', 'hair-dryer', 'b'])
    if message is None:
        assert len(AVSSDataset(str(root), 'train', metainfo=metainfo)) == 3
    else:
        with pytest.raises(ValueError, match=rf'label2idx\.json: .*{message}'):
            AVSSDataset(str(root), 'train', metainfo=metainfo)


def test_clip_that_is_listed_twice_is_an_error(tmp_path):
    root = write_ms3(tmp_path, clips=1)
    # The rows differ in another column, as in lists of several segments of a video.
    write_csv(root / 'ms3_meta_data.csv', 'video_id,start,split', [['val_0', 0, 'val'], ['val_0', 5, 'val']])
    with pytest.raises(ValueError, match=r"ms3_meta_data\.csv: 1 clip.*split 'val'.*more than once.*: val_0 \(2 times"):
        AVSBenchMS3Dataset(str(root), 'val')


# Suffixes and surplus files

FRAMES = dict(s4='s4_data/visual_frames/val/dog_barking/val0/val0_1.png',
              ms3='ms3_data/visual_frames/val_0/val_0.mp4_1.png', avss='v1s/val_v1s/frames/0.jpg')
MASKS = dict(s4='s4_data/gt_masks/val/dog_barking/val0/val0_1.png', ms3='ms3_data/gt_masks/val/val_0/val_0_1.png',
             avss='v1s/val_v1s/labels_semantic/0.png')
AUDIO = dict(s4='s4_data/audio_wav/val/dog_barking/val0.wav', ms3='ms3_data/audio_wav/val/val_0.wav',
             avss='v1s/val_v1s/audio.wav')
TYPES = dict(s4=(write_s4, AVSBenchS4Dataset), ms3=(write_ms3, AVSBenchMS3Dataset), avss=(write_avss, AVSSDataset))
LOADERS = [dict(type='LoadClipFrames'), dict(type='LoadClipMasks'), dict(type='LoadAudio')]


@pytest.mark.parametrize('subset', TYPES)
def test_images_and_audio_may_have_any_suffix_that_is_read(tmp_path, subset):
    write, dataset_type = TYPES[subset]
    root = write(tmp_path)
    expected = dataset_type(str(root), 'val', pipeline=LOADERS)[0]
    directory, suffixes = (root / FRAMES[subset]).parent, itertools.cycle(['.bmp', '.PNG', '.tif', '.ppm', '.webp'])
    for path, suffix in zip(sorted(directory.iterdir()), suffixes):
        Image.open(path).save(path.with_suffix(suffix), lossless=True)
        path.unlink()
    mask, audio = root / MASKS[subset], root / AUDIO[subset]
    Image.open(mask).save(mask.with_suffix('.TIFF'))
    soundfile.write(audio.with_suffix('.FLAC'), *soundfile.read(audio))
    mask.unlink(), audio.unlink()
    clip = dataset_type(str(root), 'val', pipeline=LOADERS)[0]
    assert clip['mask_paths'][0].endswith('.TIFF') and clip['audio_path'].endswith('.FLAC')
    for key in ('frames', 'masks', 'waveform'):
        np.testing.assert_array_equal(clip[key], expected[key])
    assert check_dataset(root, subset, published=False) == []


@pytest.mark.parametrize(('files', 'suffix'), [(FRAMES, '.bmp'), (MASKS, '.tif'), (AUDIO, '.flac')])
def test_two_files_of_one_name_are_an_error_that_names_both(tmp_path, files, suffix):
    path = write_ms3(tmp_path, clips=1) / files['ms3']
    path.with_suffix(suffix).touch()
    first, second = sorted((path.name, path.with_suffix(suffix).name))
    with pytest.raises(FileNotFoundError, match=rf'is not unique: found {first} and {second}, expected one'):
        AVSBenchMS3Dataset(str(tmp_path), 'val', pipeline=LOADERS)
    assert any(f'found {first} and {second}' in line for line in check_dataset(tmp_path, 'ms3', published=False))


@pytest.mark.parametrize(('files', 'suffix'), [(FRAMES, '.heic'), (AUDIO, '.m4a')])
def test_file_of_a_format_that_is_not_read_is_named(tmp_path, files, suffix):
    path = write_ms3(tmp_path, clips=1) / files['ms3']
    path.rename(path.with_suffix(suffix))
    with pytest.raises(FileNotFoundError, match=rf'is missing; found {path.stem}{suffix}, .*not in a format'):
        AVSBenchMS3Dataset(str(tmp_path), 'val', pipeline=[LoadAudio()])


def test_hidden_files_are_ignored_and_surplus_files_are_named(tmp_path):
    root = write_ms3(tmp_path, clips=1)
    for path in list(root.rglob('*.png')):
        path.with_name(f'._{path.name}').write_bytes(b'AppleDouble')
    assert len(AVSBenchMS3Dataset(str(root), 'val')) == 1 and check_dataset(root, 'ms3', published=False) == []
    (root / MASKS['ms3']).with_name('preview.png').touch()
    with pytest.raises(FileNotFoundError, match=r'mask count is 6 in .*val_0, expected 5 .*misnamed \(preview\.png\)'):
        AVSBenchMS3Dataset(str(root), 'val')


def test_directories_with_the_same_names_do_not_stand_for_each_other(tmp_path):
    root = write_ms3(tmp_path, clips=2)
    masks = root / 'ms3_data/gt_masks/val'
    for path in (masks / 'val_1').iterdir():  # val_0 and val_1 hold the same names
        path.rename(path.with_name(path.name.replace('val_1', 'val_0')))
    with pytest.raises(FileNotFoundError, match=r'1 of 2 clips .* First: clip val_1: mask .*val_1_1\.png is missing'):
        AVSBenchMS3Dataset(str(root), 'val')


def test_files_of_two_directories_are_not_taken_for_those_of_one(tmp_path):
    for directory in ('a', 'b'):
        write_image(tmp_path / directory / f'{directory}.png', np.zeros((4, 4), np.uint8))
    paths = [str(tmp_path / 'a' / name) for name in ('a.png', 'b.png')]
    assert all_unique(paths[:1], list_directory) and not all_unique(paths, list_directory)
    assert not all_unique([paths[0], str(tmp_path / 'b/a.png')], list_directory)


def test_garbage_is_collected_again_after_the_listing(tmp_path):
    write_ms3(tmp_path, clips=1)
    AVSBenchMS3Dataset(str(tmp_path), 'val')
    assert gc.isenabled()
    (tmp_path / MASKS['ms3']).unlink()
    with pytest.raises(FileNotFoundError):
        AVSBenchMS3Dataset(str(tmp_path), 'val')
    assert gc.isenabled()


def test_a_directory_is_listed_once_and_no_file_is_touched(tmp_path, monkeypatch):
    root, listed = write_ms3(tmp_path, clips=3), []
    listdir = os.listdir
    monkeypatch.setattr(os, 'listdir', lambda directory: listed.append(directory) or listdir(directory))
    monkeypatch.setattr(os.path, 'exists', lambda path: pytest.fail(f'{path} is looked up on the disk'))
    AVSBenchMS3Dataset(str(root), 'val')
    assert len(listed) == len(set(listed)) == 3 + 3 + 1 + 1  # frames, masks, audio, log-mel


def test_voc_palette_has_the_published_colors():
    palette = voc_palette(71)
    expected = {0: [0, 0, 0], 1: [128, 0, 0], 8: [64, 0, 0], 64: [32, 0, 0], 70: [32, 128, 128]}
    assert {i: palette[i] for i in expected} == expected
    assert len({tuple(color) for color in palette}) == 71


@pytest.mark.parametrize('needed', ['split', 'category', 'name'])
def test_csv_without_a_column_names_file_and_column(tmp_path, needed):
    header = [name for name in ('name', 'start', 'category', 'split') if name != needed]
    write_csv(tmp_path / 's4_meta_data.csv', ','.join(header), [['x'] * 3])
    with pytest.raises(ValueError, match=rf"s4_meta_data\.csv: no column '{needed}'.*, found .*; add"):
        AVSBenchS4Dataset(str(tmp_path), 'train')


def test_csv_with_an_empty_value_names_the_line(tmp_path):
    write_csv(tmp_path / 'metadata.csv', 'uid,split,label', [['a', 'train', 'v1s'], ['b', '', 'v2']])
    with pytest.raises(ValueError, match=r"metadata\.csv: line 3 has no value in the column 'split'"):
        AVSSDataset(str(tmp_path), 'train')


def test_unknown_part_of_avss_is_named(tmp_path):
    write_csv(tmp_path / 'metadata.csv', 'uid,split,label', [['a', 'train', 'v3']])
    with pytest.raises(ValueError, match=r'metadata\.csv: found v3 .*expected v1s, v1m or v2'):
        AVSSDataset(str(tmp_path), 'train')


def test_missing_csv_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'ms3_meta_data\.csv: no such file'):
        AVSBenchMS3Dataset(str(tmp_path), 'train')


def test_empty_split_is_an_error(s4_root):
    with pytest.raises(ValueError, match=r"s4_meta_data\.csv: the split 'trian' is empty, found 'train' \(2\)"):
        AVSBenchS4Dataset(str(s4_root), 'trian')


def test_missing_files_are_counted_up_front(tmp_path):
    root = write_ms3(tmp_path, clips=3)
    for path in ('visual_frames/train_1/train_1.mp4_3.png', 'visual_frames/train_1/train_1.mp4_4.png',
                 'gt_masks/train/train_2/train_2_5.png'):
        (root / 'ms3_data' / path).unlink()
    with pytest.raises(FileNotFoundError) as error:
        AVSBenchMS3Dataset(str(root), 'train')
    message = str(error.value)
    assert '2 of 3 clips' in message and '2 x frame, 1 x mask' in message
    assert 'train_1.mp4_3.png is missing' in message and 'mmavs check-data' in message


def test_frame_count_other_than_mask_count_names_the_clip(tmp_path):
    root = write_ms3(tmp_path)
    (root / 'ms3_data/gt_masks/val/val_1/val_1_4.png').unlink()
    match = r'clip val_1: mask .*val_1_4\.png is missing; found 4 of 5 mask files for 5 frames'
    with pytest.raises(FileNotFoundError, match=match):
        AVSBenchMS3Dataset(str(root), 'val')
    write_image(root / 'ms3_data/visual_frames/test_0/test_0.mp4_6.png', np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(FileNotFoundError, match=r'clip test_0: frame count is 6 in .*test_0, expected 5'):
        AVSBenchMS3Dataset(str(root), 'test')


def test_the_audio_that_the_pipeline_reads_must_exist(tmp_path):
    root = write_ms3(tmp_path)
    shutil.rmtree(root / 'ms3_data/audio_log_mel')
    clip = AVSBenchMS3Dataset(str(root), 'train', pipeline=[LoadAudio('waveform')])[0]
    assert clip['log_mel_path'] is None and clip['waveform'].shape == (80000, )
    for pipeline in ([LoadAudio('log_mel')], [Compose([LoadAudio('log_mel')])]):
        with pytest.raises(FileNotFoundError, match=r'2 x audio.*train_0\.pkl is missing'):
            AVSBenchMS3Dataset(str(root), 'train', pipeline=pipeline)


def test_missing_mask_priors_are_an_error_only_with_a_mask_prior_directory(tmp_path):
    root = write_ms3(tmp_path)
    pipeline = [dict(type='LoadMaskPrior')]
    assert 'mask_prior' not in AVSBenchMS3Dataset(str(root), 'train', pipeline=pipeline)[0]
    with pytest.raises(FileNotFoundError, match=r'10 x mask prior.*_mask_color\.png is missing'):
        AVSBenchMS3Dataset(str(root), 'train', data_prefix=dict(mask_prior='priors'), pipeline=pipeline)


def test_swapped_audio_is_that_of_another_category_and_deterministic(tmp_path):
    root = write_s4(tmp_path, clips=4)
    config = dict(type='AVSBenchS4Dataset', data_root=str(root), split='test')
    plain = DATASETS.build(config)
    swapped, again = (DATASETS.build(dict(type='SwapAudio', dataset=dict(config))) for _ in range(2))
    assert len(swapped) == 4 and swapped.metainfo == plain.metainfo
    for i in range(4):
        assert swapped[i]['clip_id'] == plain[i]['clip_id']
        assert swapped[i]['frame_paths'] == plain[i]['frame_paths']
        other = swapped[i]['audio_clip_id']
        assert other.split('/')[0] != plain[i]['category']
        assert os.path.basename(swapped[i]['audio_path']) == other.split('/')[1] + '.wav'
        assert again[i]['audio_path'] == swapped[i]['audio_path']


def test_swapping_needs_two_clips(tmp_path):
    with pytest.raises(ValueError, match='needs two clips'):
        SwapAudio(AVSBenchMS3Dataset(str(write_ms3(tmp_path, clips=1)), 'test'))


def test_differing_frame_sizes_in_a_clip_are_named(tmp_path):
    root = write_ms3(tmp_path)
    path = root / 'ms3_data/visual_frames/train_0/train_0.mp4_2.png'
    Image.new('RGB', (20, 30)).save(path)
    dataset = AVSBenchMS3Dataset(str(root), 'train', pipeline=[dict(type='LoadClipFrames')])
    with pytest.raises(ValueError, match=r'differ in size: .*mp4_1\.png is 40x48, .*mp4_2\.png is 30x20'):
        dataset[0]
