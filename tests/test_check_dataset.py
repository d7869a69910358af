import os
import pickle
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from avsbench_tree import write_avss, write_csv, write_image, write_ms3, write_s4, write_wav

from mmavs.cli import main
from mmavs.datasets import AVSBenchMS3Dataset, AVSSDataset, VPODataset
from mmavs.datasets.check import PUBLISHED_SIZES, check_dataset
from mmavs.datasets.check_clips import check_clips
from mmavs.datasets.transforms import LoadAudio, LoadClipFrames, LoadClipMasks

TOOL = Path(__file__).parents[1] / 'tools/dataset_converters/check_dataset.py'
WRITERS = dict(s4=write_s4, ms3=write_ms3, avss=write_avss)


def cut(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


@pytest.mark.parametrize('subset', WRITERS)
def test_complete_dataset_has_no_problem_except_its_size(tmp_path, subset):
    root = WRITERS[subset](tmp_path)
    assert check_dataset(root, subset, published=False) == []
    lines = check_dataset(root, subset)
    assert len(lines) == 3
    assert all(line.endswith(f'has {size}') for line, size in zip(lines, PUBLISHED_SIZES[subset].values()))


def test_every_damage_is_reported_in_one_line(tmp_path):
    root = write_ms3(tmp_path, clips=4)
    data = root / 'ms3_data'
    damaged = {
        'visual_frames/train_0/train_0.mp4_1.png': Path.unlink,
        'visual_frames/train_1/train_1.mp4_2.png': cut,
        'gt_masks/train/train_2/train_2_3.png': Path.unlink,
        'gt_masks/val/val_0/val_0_3.png': lambda path: write_image(path, np.ones((40, 48), np.uint8)),
        'audio_wav/val/val_1.wav': Path.unlink,
        'audio_wav/val/val_2.wav': cut,
        'audio_wav/val/val_3.wav': lambda path: write_wav(path, 3.0),
        'audio_log_mel/test/test_0.pkl': cut,
        'audio_log_mel/test/test_1.pkl': lambda path: path.write_bytes(pickle.dumps(torch.zeros(4, 1, 96, 64))),
        'audio_log_mel/test/test_2.pkl': Path.unlink,
    }
    for path, damage in damaged.items():
        damage(data / path)
    lines = check_dataset(root, 'ms3', published=False)
    assert len(lines) == len(damaged)
    for path in damaged:
        assert sum(path in line for line in lines) == 1, path
    assert not any('\n' in line for line in lines)


@pytest.mark.parametrize(('path', 'damage', 'message'), [
    ('visual_frames/val_1/val_1.mp4_2.png', cut, 'the frame cannot be decoded, it is truncated'),
    ('visual_frames/val_1/val_1.mp4_2.png', lambda path: write_image(path, np.zeros((9, 9, 3), np.uint8)), 'differ in'),
    ('gt_masks/val/val_1/val_1_3.png', cut, 'the mask cannot be decoded, it is truncated'),
    ('gt_masks/val/val_1/val_1_{1..5}.png', lambda path: write_image(path, np.zeros((48, 40), np.uint8)), 'aspect'),
    ('gt_masks/val/val_1/val_1_3.png', lambda path: write_image(path, np.full((40, 48), 7, np.uint8)), 'mask value 7 '),
    ('audio_wav/val/val_1.wav', cut, 'truncated audio file'),
    ('audio_wav/val/val_1.wav', lambda path: path.write_bytes(b''), 'not a readable audio file'),
    ('audio_wav/val/val_1.wav', lambda path: write_wav(path, 0.5), '0.500 s of audio is too short'),
    ('audio_wav/val/val_1.wav', lambda path: soundfile.write(path, np.full(80000, np.nan), 16000, 'FLOAT'), 'NaN'),
    ('audio_log_mel/val/val_1.pkl', cut, 'truncated or damaged'),
])
def test_check_before_training_names_the_clip_and_the_file(tmp_path, path, damage, message):
    root = write_ms3(tmp_path)
    source = 'log_mel' if path.endswith('.pkl') else 'waveform'
    dataset = AVSBenchMS3Dataset(
        str(root), 'val', pipeline=[LoadClipFrames(), LoadClipMasks(), LoadAudio(source)])
    clips = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert check_clips(dataset, clips) == ([], [])
    for i in range(1, 6) if '{1..5}' in path else (1, ):
        damage(root / 'ms3_data' / path.replace('{1..5}', str(i)))
    path = path.replace('{1..5}', '1')
    (problem, ), warnings = check_clips(dataset, clips)
    assert problem.startswith('val val_1: ') and str(root / 'ms3_data' / path) in problem and message in problem
    assert warnings == []


def test_check_before_training_warns_of_audio_shorter_than_the_frames(tmp_path):
    root = write_ms3(tmp_path)
    dataset = AVSBenchMS3Dataset(str(root), 'val', pipeline=[LoadAudio()])
    write_wav(root / 'ms3_data/audio_wav/val/val_1.wav', 2.0)
    problems, (warning, ) = check_clips(dataset, [dataset.get_data_info(i) for i in range(2)])
    assert problems == [] and warning.endswith('val_1.wav: 2 s of audio for 5 frames')


def test_clipped_audio_is_reported_and_loud_audio_is_not(tmp_path):
    root = write_ms3(tmp_path)
    write_wav(root / 'ms3_data/audio_wav/val/val_0.wav', level=0.4)
    assert check_dataset(root, 'ms3', published=False) == []
    write_wav(root / 'ms3_data/audio_wav/val/val_1.wav', level=10)
    line, = check_dataset(root, 'ms3', published=False)
    assert 'val_1.wav' in line and line.endswith('the audio is clipped')


def test_differing_sizes_are_reported(tmp_path):
    root = write_ms3(tmp_path)
    write_image(root / 'ms3_data/visual_frames/val_0/val_0.mp4_2.png', np.zeros((30, 30, 3), np.uint8))
    for i in range(1, 6):
        write_image(root / f'ms3_data/gt_masks/train/train_1/train_1_{i}.png', np.zeros((20, 24), np.uint8))
    lines = check_dataset(root, 'ms3', published=False)
    assert len(lines) == 2
    assert lines[0].startswith('train train_1: frames are 5 of 40x48, masks 5 of 20x24')
    assert lines[1].startswith('val val_0: the frame files differ in size: 4 of 40x48, 1 of 30x30')


def test_label_outside_the_classes_is_reported(tmp_path):
    root = write_avss(tmp_path)
    write_image(root / 'v2/val_v2/labels_semantic/7.png', np.full((36, 60), 71, np.uint8))
    assert [line.split(': ', 1)[0] for line in check_dataset(root, 'avss', published=False)] == ['val v2/val_v2']


def test_malicious_pickle_is_reported_and_not_executed(tmp_path):

    class Malicious:

        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'marker'}", )

    root = write_ms3(tmp_path)
    (root / 'ms3_data/audio_log_mel/val/val_1.pkl').write_bytes(pickle.dumps(Malicious()))
    lines = check_dataset(root, 'ms3', published=False)
    assert len(lines) == 1 and 'refused' in lines[0]
    assert not (tmp_path / 'marker').exists()


def test_clip_that_is_listed_twice_or_in_two_splits_is_reported(tmp_path):
    root = write_avss(tmp_path, size=(8, 8))
    # The rows of a clip differ in another column.
    write_csv(root / 'metadata.csv', 'uid,split,label,s_min',
              [['val_v1m', 'val', 'v1m', 0], ['test_v2', 'test', 'v2', 1], ['test_v2', 'test', 'v2', 2],
               ['val_v1m', 'test', 'v1m', 3]])
    assert check_dataset(root, 'avss', published=False) == [
        f"{root}/metadata.csv: the clip v2/test_v2 is listed 2 times in the split 'test'",
        f'{root}/metadata.csv: the clip v1m/val_v1m is in the splits val and test, expected one'
    ]


def test_masks_of_another_aspect_ratio_are_reported_in_every_split(tmp_path):
    root = write_ms3(tmp_path, clips=1)
    for split in ('train', 'val', 'test'):
        for i in range(1, 6):
            write_image(root / f'ms3_data/gt_masks/{split}/{split}_0/{split}_0_{i}.png', np.zeros((48, 40), np.uint8))
    lines = check_dataset(root, 'ms3', published=False)
    assert [line.split(':')[0] for line in lines] == ['train train_0', 'val val_0', 'test test_0']
    assert all(line.endswith('frames are 5 of 40x48, masks 5 of 48x40 (height x width), expected the same aspect ratio')
               for line in lines)


def test_unlabelled_pixels_and_colors_of_no_class_are_reported_unless_the_pipeline_takes_them(tmp_path, capsys):
    root = write_avss(tmp_path / 'a', size=(8, 8))
    write_image(root / 'v2/val_v2/labels_semantic/7.png', np.full((8, 8), 255, np.uint8))
    line, = check_dataset(root, 'avss', published=False)
    assert '7.png: mask value 255 is outside the classes' in line
    assert check_dataset(root, 'avss', published=False, allow_unlabelled=True) == []
    rgb = write_avss(tmp_path / 'b', 'labels_rgb', size=(8, 8))
    write_image(rgb / 'v2/val_v2/labels_rgb/7.png', np.full((8, 8, 3), 9, np.uint8))
    line, = check_dataset(rgb, 'avss', published=False)
    assert '7.png: the color (9, 9, 9)' in line
    # The flags of the suggested command are those of the pipeline.
    (rgb / 'v2/val_v2/audio.wav').unlink()
    with pytest.raises(FileNotFoundError) as error:
        AVSSDataset(str(rgb), 'val', pipeline=[LoadClipMasks(off_palette='background', allow_unlabelled=True)])
    line, = lines_of_suggested_command(error, capsys)
    assert 'audio.wav is missing' in line


def test_missing_mask_priors_are_reported_on_request(tmp_path):
    root = write_ms3(tmp_path, clips=1, mask_prior=True)
    assert check_dataset(root, 'ms3', mask_prior='priors', published=False) == []
    (root / 'priors/val_0/val_0_4_mask_color.png').unlink()
    lines = check_dataset(root, 'ms3', mask_prior='priors', published=False)
    assert len(lines) == 1 and 'val_0_4_mask_color.png is missing' in lines[0]


def test_command_prints_lines_and_exits_with_1_if_there_are_any(tmp_path, capsys, monkeypatch):
    root = write_s4(tmp_path, clips=1)

    def run(*args):
        monkeypatch.setattr(sys, 'argv', ['check_dataset.py', str(root), '--subset', 's4', *args])
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
            code = 0
        except SystemExit as end:
            code = end.code
        return code, capsys.readouterr().out.splitlines()

    assert run('--any-size') == (0, [])
    (root / 's4_data/audio_wav/val/dog_barking/val0.wav').unlink()
    code, lines = run('--any-size')
    assert code == 1 and len(lines) == 1
    (root / 's4_meta_data.csv').write_text('name,split\nx,train\n')
    code, lines = run()
    assert code == 1 and len(lines) == 1 and "no column 'category'" in lines[0]


def lines_of_suggested_command(error, capsys):
    """Lines printed by the command that an error message suggests."""
    program, *arguments = shlex.split(str(error.value).partition('For the whole list run ')[2])
    assert program == 'mmavs'
    with pytest.raises(SystemExit):
        main([*arguments, '--any-size'])
    return capsys.readouterr().out.splitlines()


def test_the_suggested_command_reports_what_is_missing_from_a_layout(tmp_path, capsys):
    root = tmp_path / 'my data'
    write_image(root / 'a/frames/a.jpg', np.zeros((8, 8, 3), np.uint8))
    write_image(root / 'a/labels_semantic/a.png', np.ones((8, 8), np.uint8))
    write_wav(root / 'a/mono_audio.wav', 3)
    write_csv(root / 'vpo_data_clean.csv', 'uid,f,m,c,split,type', [['a', 'a.jpg', 'a.png', '[1]', 'train', 'VPO-SS']])
    with pytest.raises(FileNotFoundError) as error:
        VPODataset(str(root), 'train', 'vpo-ss', layout='clean', audio_mode='stereo',
                   metainfo=dict(classes=['background', 'snow blower']))
    assert str(error.value).endswith("--layout clean --audio-mode stereo --classes background 'snow blower'")
    line, = lines_of_suggested_command(error, capsys)
    assert 'a/stereo_audio.wav is missing' in line


def test_the_suggested_command_reports_missing_mask_priors(tmp_path, capsys):
    root = write_ms3(tmp_path, mask_prior=True)
    (root / 'ms3_data').rename(root / 'ms3_data_384')
    data = root / 'ms3_data_384'
    (data / 'visual_frames').rename(data / 'visual_frames_384')
    for frame in data.glob('visual_frames_384/*/*.png'):
        frame.rename(frame.with_name(frame.name.replace('.mp4', '')))
    for split, size in (('train', 384), ('val', 224), ('test', 224)):
        (data / f'gt_masks_{size}').mkdir(exist_ok=True)
        (data / 'gt_masks' / split).rename(data / f'gt_masks_{size}' / split)
    (root / 'ms3_data').mkdir()
    for audio in ('audio_wav', 'audio_log_mel'):
        (data / audio).rename(root / 'ms3_data' / audio)
    (root / 'priors/val_0/val_0_4_mask_color.png').unlink()
    with pytest.raises(FileNotFoundError) as error:
        AVSBenchMS3Dataset(str(root), 'val', layout='384', data_prefix=dict(mask_prior='priors'))
    assert str(error.value).endswith('--subset ms3 --layout 384 --mask-prior priors')
    line, = lines_of_suggested_command(error, capsys)
    assert 'val_0_4_mask_color.png is missing' in line
