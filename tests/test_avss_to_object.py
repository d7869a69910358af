"""Conversion of AVSBench-semantic to the frames and masks of S4 and MS3 at another size."""
import shutil

import numpy as np
import pytest
from avsbench_tree import SPLITS, random_frame, write_csv, write_image, write_wav
from PIL import Image

from mmavs.datasets import AVSBenchMS3Dataset, AVSBenchS4Dataset
from mmavs.datasets.avss_to_object import convert_avss_to_object
from mmavs.datasets.check import check_dataset
from mmavs.utils.images import read_image
from mmavs.utils.palette import voc_palette

PART = dict(s4='v1s', ms3='v1m')
DIRECTORY = dict(s4='Single-source', ms3='Multi-sources')
TYPES = dict(s4=AVSBenchS4Dataset, ms3=AVSBenchMS3Dataset)
PRIORS = 'pre_SAM_mask/AVSBench_semantic'
SIZE = 20, 36
TOOL = 'dataset_converters/avss_to_object'


@pytest.fixture(scope='module', params=PART)
def trees(request, tmp_path_factory):
    """AVSBench-semantic with a clip in each split, and the lists and audio of a subset of AVSBench-object."""
    subset, root = request.param, tmp_path_factory.mktemp(request.param)
    rng, part, palette = np.random.default_rng(0), PART[subset], np.array(voc_palette(71), np.uint8)
    semantic, names = [], []
    for split in SPLITS:
        name = f'{split}_vid'
        uid = name if split == 'val' else f'{split}_uid'
        semantic.append([name, uid, split, part])
        names.append([name, 'dog_barking', split])
        for i in range(5):
            clip = root / 'AVSS' / part / uid
            write_image(clip / f'frames/{i}.jpg', random_frame(rng, *SIZE))
            if subset == 'ms3' or split != 'train' or i == 0:
                labels = np.zeros(SIZE, np.uint8)
                # 64 has the darkest color, (32, 0, 0).
                labels[2:9, i + 2:20], labels[12:, 22:] = 64, 17
                # Classes in test, colors elsewhere.
                where, values = ('semantic', labels) if split == 'test' else ('rgb', palette[labels])
                write_image(clip / f'labels_{where}/{i}.png', values)
            write_image(root / 'AVSS' / PRIORS / part / uid / f'frames/{i}_mask_color.png', random_frame(rng, *SIZE))
        where = f'{split}/dog_barking/{name}.wav' if subset == 's4' else f'{split}/{name}.wav'
        write_wav(root / DIRECTORY[subset] / f'{subset}_data/audio_wav' / where)
    write_csv(root / 'AVSS/metadata.csv', 'vid,uid,split,label', semantic)
    write_csv(root / DIRECTORY[subset] / f'{subset}_meta_data.csv', 'name,category,split', names)
    return subset, root


def convert(root, subset, **options):
    return convert_avss_to_object(root / 'AVSS', root / DIRECTORY[subset], subset, **options)


def test_result_is_the_layout_that_the_dataset_reads(trees, tmp_path):
    subset, source = trees
    root = shutil.copytree(source, tmp_path / 'data')
    done = convert(root, subset, size=48, mask_prior=PRIORS)
    masks = 5 if subset == 'ms3' else 1
    assert (done.written, done.kept, done.problems) == (3 * 10 + masks + 10, 0, [])
    prefix = f'{subset}_data_48/pre_SAM_mask_48'
    assert check_dataset(root / DIRECTORY[subset], subset, '48', mask_prior=prefix, published=False) == []
    pipeline = [dict(type='LoadClipFrames'), dict(type='LoadClipMasks'), dict(type='LoadMaskPrior')]
    for split in SPLITS:
        clip = TYPES[subset](str(root / DIRECTORY[subset]), split, '48', data_prefix=dict(mask_prior=prefix),
                             pipeline=pipeline)[0]
        original = root / 'AVSS' / PART[subset] / (f'{split}_vid' if split == 'val' else f'{split}_uid')
        side = 48 if split == 'train' else 224
        for i in range(5):
            frame = Image.open(original / f'frames/{i}.jpg').resize((48, 48), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(clip['frames'][i], np.asarray(frame))
            prior = Image.open(root / 'AVSS' / PRIORS / original.relative_to(root / 'AVSS') /
                               f'frames/{i}_mask_color.png').resize((48, 48), Image.Resampling.NEAREST)
            np.testing.assert_array_equal(clip['mask_prior'][i], np.asarray(prior))
            if i < masks or split != 'train':
                expected = np.zeros(SIZE, np.uint8)
                expected[2:9, i + 2:20] = expected[12:, 22:] = 1
                expected = Image.fromarray(expected).resize((side, side), Image.Resampling.NEAREST)
                np.testing.assert_array_equal(clip['masks'][i], np.asarray(expected))


def test_interrupted_conversion_continues_and_keeps_what_exists(trees, tmp_path, run_tool, capsys):
    subset, source = trees
    root = shutil.copytree(source, tmp_path / 'data')
    total = convert(root, subset, size=16).written
    files = sorted((root / DIRECTORY[subset] / f'{subset}_data_16').rglob('*.png'))
    assert len(files) == total and {read_image(path).shape[:2] for path in files} == {(16, 16), (224, 224)}
    files[0].unlink()
    files[1].write_bytes(b'kept')
    with pytest.raises(SystemExit) as end:
        run_tool(TOOL, root / 'AVSS', root / DIRECTORY[subset], '--subset', subset, '--size', 16)
    assert end.value.code == 0 and f'1 file(s) written in {root}' in capsys.readouterr().err
    assert read_image(files[0]).shape[0] in (16, 224) and files[1].read_bytes() == b'kept'
    assert not list(root.rglob('*.partial'))


def test_clips_that_cannot_be_made_are_named_and_the_others_written(trees, tmp_path):
    subset, source = trees
    root = shutil.copytree(source, tmp_path / 'data')
    (root / 'AVSS' / PART[subset] / 'val_vid/frames/2.jpg').unlink()
    rows = [['train_vid', 'train_uid', 'train', PART[subset]], ['val_vid', 'val_vid', 'val', PART[subset]],
            ['test_vid', 'a', 'test', PART[subset]], ['test_vid', 'b', 'test', PART[subset]]]
    write_csv(root / 'AVSS/metadata.csv', 'vid,uid,split,label', rows)
    done = convert(root, subset, size=16)
    missing, ambiguous = done.problems
    assert missing.startswith('val ') and missing.endswith('val_vid/frames/2.jpg is missing')
    assert ambiguous.startswith('test ') and ambiguous.endswith('2 clips in metadata.csv (a, b), expected one')
    assert done.written > 5
    write_csv(root / 'AVSS/metadata.csv', 'vid,uid,split,label', [['x', 'x', 'test', 'v2']])
    with pytest.raises(ValueError, match=rf'metadata\.csv: no clip of the part {PART[subset]}'):
        convert(root, subset)


def test_the_missing_layout_names_its_converter(trees, tmp_path):
    subset, root = trees
    with pytest.raises(FileNotFoundError, match=r"made of AVSBench-semantic by \S+avss_to_object\.py; layout='object'"):
        TYPES[subset](str(root / DIRECTORY[subset]), 'train', '384')
