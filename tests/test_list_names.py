"""Names in lists of clips: what leads out of the data root, repeats or collides is refused when the list is read."""
import warnings
import zipfile

import numpy as np
import pytest
from avsbench_tree import write_csv

from mmavs.datasets import AVSBenchMS3Dataset, AVSBenchS4Dataset, AVSSDataset, VPODataset
from mmavs.datasets.avss_to_object import convert_avss_to_object
from mmavs.datasets.check import check_dataset
from mmavs.datasets.clip_extraction import COLUMNS, extract_clips
from mmavs.datasets.log_mel_extraction import extract_log_mel
from mmavs.datasets.mask_files import MaskFormat, open_masks
from mmavs.synthesis.composition import read_classes, read_pairs
from mmavs.utils.files import stays_below

ESCAPES = ['../../esc', '/esc', 'a/../../esc', './a', 'a//b', 'a/', '..', 'a\\..\\b', 'a\tb']
VPO_HEADER = 'cateName,cateId,img_Id,ann_Ids,vgg_file,audio_pos,multi_instance,split'


def s4(root, names, split='train'):
    rows = [[name, 0, 'dog_barking', split] for name in names]
    write_csv(root / 's4_meta_data.csv', 'name,start,category,split', rows)
    return AVSBenchS4Dataset(str(root), 'train')


def ms3(root, names, split='train'):
    write_csv(root / 'ms3_meta_data.csv', 'video_id,split', [[name, split] for name in names])
    return AVSBenchMS3Dataset(str(root), 'train')


def avss(root, names, split='train'):
    write_csv(root / 'metadata.csv', 'vid,uid,split,label', [['v', name, split, 'v2'] for name in names])
    return AVSSDataset(str(root), 'train')


def vpo(root, names, split='train'):
    write_csv(root / 'VPO/VPO-SS/vpo_ss_data_stereo.csv', VPO_HEADER,
              [['dog', 18, 7, 11, name, 0.5, 1, split] for name in names])
    return VPODataset(str(root), 'train', 'vpo-ss')


def clean(root, names, split='train', column=0):
    fields = [['x', '0.jpg', '0.png', '[18]', split, 'VPO-SS'] for _ in names]
    for row, name in zip(fields, names):
        row[column] = name
    write_csv(root / 'vpo_data_clean.csv', 'uid,frame,mask,classes,split,type', fields)
    return VPODataset(str(root), 'train', 'vpo-ss', layout='clean')


@pytest.mark.parametrize('name', ESCAPES)
def test_names_that_leave_their_directory(name):
    assert not stays_below(name)


def test_names_that_are_too_long_for_a_file_are_refused_when_the_list_is_read(tmp_path):
    assert stays_below('/'.join(['x' * 200] * 3)) and not stays_below('a/' + '\u00e4' * 101)
    with pytest.raises(ValueError, match=r'metadata\.csv: uid is .*whose parts have at most 200 bytes'):
        avss(tmp_path, ['x' * 300])


def test_a_row_without_a_clip_is_refused(tmp_path):
    write_csv(tmp_path / 'ms3_meta_data.csv', 'split,video_id', [['train', 'a'], ['train']])
    with pytest.raises(ValueError, match=r"ms3_meta_data\.csv: 1 row\(s\) have no value in the column 'video_id'"):
        AVSBenchMS3Dataset(str(tmp_path), 'train')


@pytest.mark.parametrize('name', ['a', 'a/b', 'file', 'allow_pickle', '..a', 'a..', '.hidden', '--x 1_2', 'ä (2)'])
def test_names_that_stay_in_their_directory(name):
    assert stays_below(name)


@pytest.mark.parametrize('build', [s4, ms3, avss, vpo, clean])
@pytest.mark.parametrize('name', ['../../esc', '/esc', 'a//b'])
def test_a_name_that_leaves_the_data_root_is_refused_when_the_list_is_read(tmp_path, build, name):
    with pytest.raises(ValueError, match=r'\.csv: \w+ is .*(esc|a//b).*, expected a name that stays in its directory'):
        build(tmp_path, ['good', name])
    with pytest.raises(ValueError, match=r'\.csv: split is .*, expected a name that stays in its directory'):
        build(tmp_path, ['good'], split='../../train')


def test_files_of_the_clean_layout_of_vpo_stay_in_the_directory_of_their_clip(tmp_path):
    for column, name in ((1, 'frame'), (2, 'mask')):
        with pytest.raises(ValueError, match=rf'vpo_data_clean\.csv: {name} is .*, expected a name that stays'):
            clean(tmp_path, ['../../esc'], column=column)


def test_tools_that_write_by_the_names_of_a_list_write_nothing(tmp_path):
    ms3_list, avss_list = tmp_path / 'ms3_meta_data.csv', tmp_path / 'metadata.csv'
    write_csv(ms3_list, ','.join(COLUMNS), [['../../../../esc'] * len(COLUMNS)])
    write_csv(avss_list, 'vid,uid,label', [['x', 'x', 'v1m']])
    write_csv(tmp_path / 'other/metadata.csv', 'vid,uid,label', [['x', '../../esc', 'v1m']])
    write_csv(tmp_path / 'other/ms3_meta_data.csv', 'video_id,split', [['x', 'train']])
    before = sorted(tmp_path.rglob('*'))
    for write in (lambda: extract_log_mel(tmp_path, 'ms3'), lambda: extract_clips([], tmp_path, lambda video: 'train'),
                  lambda: convert_avss_to_object(tmp_path, tmp_path, 'ms3'),
                  lambda: convert_avss_to_object(tmp_path / 'other', tmp_path / 'other', 'ms3')):
        with pytest.raises(ValueError, match=r"\.csv: \w+ is '[./]+esc', expected a name that stays in its directory"):
            write()
    assert sorted(path for path in tmp_path.rglob('*') if path.name != '.clips.lock') == before
    assert [line.partition(',')[0] for line in check_dataset(tmp_path, 'ms3')] == [
        f"{ms3_list}: {COLUMNS[0]} is '../../../../esc'"]


def test_pairs_and_classes_of_composed_clips_stay_beside_their_lists(tmp_path):
    write_csv(tmp_path / 'classes.csv', 'id,class', [[1, '../../esc']])
    with pytest.raises(ValueError, match=r"classes\.csv: class is '../../esc', expected a name that stays"):
        read_classes(tmp_path / 'classes.csv')
    for name in ('../esc.wav', '/esc.wav'):
        write_csv(tmp_path / 'pairs.csv', 'pair_id,split,image,mask,audio_a,audio_b,target_ids,kind',
                  [['p', 'train', 'a.png', 'b.png', 'c.wav', name, '', '']])
        with pytest.raises(ValueError, match=r'pairs\.csv: audio_b is .*esc\.wav., expected a name that stays'):
            read_pairs(tmp_path / 'pairs.csv', {1: 'dog'})


@pytest.mark.parametrize(('build', 'listed'), [(s4, 's4_meta_data'), (ms3, 'ms3_meta_data'), (avss, 'metadata')])
def test_a_clip_that_is_listed_twice_or_in_two_splits_is_refused(tmp_path, build, listed):
    with pytest.raises(ValueError, match=rf'{listed}\.csv: 1 clip.* of the split .train. are listed more than once'):
        build(tmp_path, ['x', 'y', 'x'])
    with pytest.raises(FileNotFoundError, match='2 of 2 clips'):
        build(tmp_path, ['x', 'y'])
    with (tmp_path / f'{listed}.csv').open('a') as file:
        file.write({s4: 'x,0,dog_barking,test', ms3: 'x,test', avss: 'v,x,test,v2'}[build] + '\n')
    with pytest.raises(ValueError, match=rf'{listed}\.csv: 1 clip.* .train. are in another split .*x \(also in test\)'):
        {s4: AVSBenchS4Dataset, ms3: AVSBenchMS3Dataset, avss: AVSSDataset}[build](str(tmp_path), 'train')


def test_names_that_collide_are_one_clip(tmp_path):
    """In S4 the id is the category and the name."""
    rows = [['b/c', 0, 'a', 'train'], ['c', 0, 'a/b', 'train']]
    write_csv(tmp_path / 's4_meta_data.csv', 'name,start,category,split', rows)
    with pytest.raises(ValueError, match=r'listed more than once, keep one row of each: a/b/c \(2 times\)'):
        AVSBenchS4Dataset(str(tmp_path), 'train', metainfo=dict(events=['a', 'a/b']))


def test_two_arrays_of_one_name_in_an_archive_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / 'x.npz', 'w') as archive, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for _ in range(2):
            with archive.open('clip.npy', 'w') as stream:
                np.lib.format.write_array(stream, np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"x\.npz: 'clip' occurs twice"):
        open_masks(tmp_path / 'x.npz', MaskFormat())
