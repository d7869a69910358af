"""Synthetic clips: layouts, determinism, disjoint splits, and masks that require both image and audio."""
import csv
import filecmp
import json
from functools import partial

import cv2
import numpy as np
import pytest
import soundfile
from PIL import Image

from mmavs.datasets import AVSBenchMS3Dataset, AVSBenchS4Dataset, AVSSDataset
from mmavs.models.audio_backbones.vggish import VGGish
from mmavs.synthesis import compose_clips, synthesize_clips
from mmavs.synthesis.composition import cut_pauses
from mmavs.synthesis.objects import OBJECTS
from mmavs.synthesis.rendering import render_frames
from mmavs.synthesis.scenes import (
    CATEGORIES,
    SPLITS,
    object_instance,
    sample_scene,
    sample_twins,
    scene_stream,
    sound_instance,
)
from mmavs.synthesis.sounds import SOUNDS, gate, synthesize_sound
from mmavs.synthesis.synthesize import _sample, make_clip, visible_objects

SIZE = 64


def list_files(directory):
    return sorted(path.relative_to(directory) for path in directory.rglob('*') if path.is_file())


def same_trees(first, second):
    names = list_files(first)
    return names == list_files(second) and not any(filecmp.cmpfiles(first, second, names, shallow=False)[1:])


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp('procedural')
    for subset in ('s4', 'ms3', 'avss'):
        synthesize_clips(root, subset, num_train=3, num_val=3, num_test=3, size=SIZE)
    return root


def test_ms3_dataset_reads_the_clips(data_root):
    clips = AVSBenchMS3Dataset(data_root / 'Multi-sources', 'test')
    assert len(clips) == 3
    for clip in clips:
        assert all(clip['labelled']) and clip['audio_path']
        for frame, mask in zip(clip['frame_paths'], clip['mask_paths'], strict=True):
            assert cv2.imread(frame).shape == (SIZE, SIZE, 3)
            assert set(np.unique(cv2.imread(mask, cv2.IMREAD_UNCHANGED))) <= {0, 255}
        info = soundfile.info(clip['audio_path'])
        assert (info.samplerate, info.channels, info.duration, info.subtype) == (16000, 1, 5.0, 'PCM_16')


def test_s4_dataset_reads_the_clips_and_only_first_training_masks_exist(data_root):
    directory = data_root / 'Single-source'
    metainfo = dict(events=CATEGORIES)
    train = AVSBenchS4Dataset(directory, 'train', metainfo=metainfo)
    assert [clip['category'] for clip in train] == list(CATEGORIES[:3])
    assert len(list(directory.glob('s4_data/gt_masks/train/*/*/*.png'))) == 3
    assert all(all(clip['labelled']) for clip in AVSBenchS4Dataset(directory, 'val', metainfo=metainfo))
    for clip in train:  # The category sounds in the labelled frame.
        assert cv2.imread(clip['mask_paths'][0], cv2.IMREAD_UNCHANGED).any()


def test_avss_dataset_reads_all_parts_and_both_kinds_of_labels_agree(data_root):
    directory = data_root / 'AVSS'
    classes = ('background', *CATEGORIES)
    assert json.loads((directory / 'label2idx.json').read_text()) == {name: i for i, name in enumerate(classes)}
    palette = AVSSDataset.METAINFO['palette']
    train = AVSSDataset(directory, 'train', metainfo=dict(classes=classes))
    assert [clip['clip_id'].split('/')[0] for clip in train] == ['v1s', 'v1m', 'v2']
    assert [sum(clip['labelled']) for clip in train] == [1, 5, 10]
    for clip in train:
        assert soundfile.info(clip['audio_path']).duration == len(clip['frame_paths'])
        path = clip['mask_paths'][0]
        labels = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        assert labels.max() <= len(CATEGORIES) and labels.any()
        colors = cv2.imread(path.replace('labels_semantic', 'labels_rgb'))[..., ::-1]
        np.testing.assert_array_equal(np.array(palette)[labels], colors)


@pytest.mark.parametrize('subset', ['s4', 'ms3', 'avss'])
def test_same_seed_gives_identical_files_with_any_number_of_processes(tmp_path, data_root, subset):
    directory = synthesize_clips(tmp_path, subset, 3, 3, 3, size=SIZE, workers=2)
    assert same_trees(directory, data_root / directory.name)


def test_another_seed_gives_other_clips():
    first, second = (make_clip('ms3', 'train', 0, seed, SIZE) for seed in (0, 1))
    assert (first.frames != second.frames).any() and (first.waveform != second.waveform).any()


def test_instances_of_the_splits_differ_and_do_not_depend_on_the_clip():
    for stream in (object_instance, sound_instance):
        draws = {(split, i): stream(0, split, 'bell', i).random() for split in SPLITS for i in range(9)}
        assert len(set(draws.values())) == 27
        assert stream(0, 'test', 'bell', 3).random() == draws['test', 3]


def test_current_dataset_is_kept_and_other_arguments_replace_it(tmp_path):
    make = partial(synthesize_clips, tmp_path, 'ms3', num_val=0, num_test=0, size=32)
    directory = make(num_train=1)
    before = (directory / 'synthesis.json').stat().st_mtime_ns
    make(num_train=1)
    assert (directory / 'synthesis.json').stat().st_mtime_ns == before
    next(directory.rglob('*.wav')).unlink()  # Incomplete: written again.
    make(num_train=1)
    assert list(directory.rglob('*.wav')) and (directory / 'synthesis.json').stat().st_mtime_ns > before
    make(num_train=2)
    assert len(AVSBenchMS3Dataset(directory, 'train')) == 2


def test_directories_with_other_files_are_not_changed(tmp_path):
    make = partial(synthesize_clips, tmp_path, 'ms3', num_train=1, num_val=0, num_test=0, size=32)
    directory = tmp_path / 'Multi-sources'
    directory.mkdir()
    (directory / 'notes.txt').write_text('mine')
    with pytest.raises(FileExistsError, match='was not written by this tool'):
        make()
    (directory / 'notes.txt').unlink()
    make()
    (directory / 'notes.txt').write_text('mine')
    with pytest.raises(FileExistsError, match='wrote only'):
        make(seed=1)
    assert (directory / 'notes.txt').read_text() == 'mine'


@pytest.mark.parametrize('change, message', [(dict(num_train=0), 'not all 0'), (dict(num_val=-1), '>= 0'),
                                             (dict(seed=-1), 'seed is -1'), (dict(size=8), 'size is 8'),
                                             (dict(subset='vpo'), "subset is 'vpo'")])
def test_arguments_out_of_range_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        synthesize_clips(**{**dict(out=tmp_path, subset='ms3', num_train=1, num_val=0, num_test=0), **change})


def iou(prediction, target):
    union = (prediction | target).sum()
    return (prediction & target).sum() / union if union else 1.0


def test_masks_cannot_be_predicted_without_audio():
    """Visual-only baselines that know the outline of every object stay far below an IoU of 1 on MS3 scenes."""
    scores = dict(all_objects=[], nothing=[], largest=[])
    num_sounding, num_visible, changing = [], [], []
    for index in range(60):
        rng = scene_stream(0, 1, 'test', index)
        scene = sample_scene(rng, 'test', 5, category=CATEGORIES[index % len(CATEGORIES)])
        _, owners = render_frames(scene, 0, rng, SIZE)
        sounding = {source.category: source.sounding for source in scene.sources}
        flags = np.stack([sounding.get(item.category, np.zeros(5, bool)) for item in scene.objects], 1)  # (T, objects)
        num_visible.append(len(scene.objects))
        num_sounding.extend(flags.sum(1))
        changing.append((flags != flags[0]).any())
        for owner, flag in zip(owners, flags, strict=True):
            masks = owner == np.arange(1, len(flag) + 1)[:, None, None]
            assert masks.any((1, 2)).all()
            target = masks[flag].any(0)
            scores['all_objects'].append(iou(owner > 0, target))
            scores['nothing'].append(iou(np.zeros_like(target), target))
            scores['largest'].append(iou(masks[masks.sum((1, 2)).argmax()], target))
    means = {name: np.mean(values) for name, values in scores.items()}
    assert max(means.values()) <= 0.42, means
    assert 2 <= np.mean(num_visible) <= 3.2 and np.mean(changing) > 0.7
    fraction = np.bincount(num_sounding) / len(num_sounding)
    assert fraction[0] <= 0.12 and fraction[1] > 0.5 and fraction[2] > 0.1


def test_masks_hold_sounding_objects_only():
    for index in range(4):
        clip = make_clip('avss', 'val', 3 * index + 1, 0, SIZE)
        sounding = {source['category']: source['sounding'] for source in clip.description['sounds']}
        visible = {item['category'] for item in clip.description['objects']}
        for second, mask in enumerate(clip.masks):
            expected = {1 + CATEGORIES.index(name) for name in visible & set(sounding) if sounding[name][second]}
            assert set(np.unique(mask)) - {0} == expected


def test_twins_are_the_same_object_and_sound_one_at_a_time():
    switching, twin_sounds = [], []
    for index in range(12):
        scene = sample_twins(np.random.default_rng(index), 'train', 5, CATEGORIES[index % 8])
        twins = sorted((item for item in scene.objects if item.category == CATEGORIES[index % 8]),
                       key=lambda item: -item.diameter)
        assert len(twins) == 2 and len(scene.objects) == 3
        assert twins[0].instance == twins[1].instance
        assert 1.7 < twins[0].diameter / twins[1].diameter <= 2
        flags = np.zeros((3, 5), bool)
        for source in scene.sources:
            flags[source.emitter] = source.sounding
            is_large = scene.objects[source.emitter] is twins[0]
            assert (source.pitch < 1) == is_large
            twin_sounds.append(scene.objects[source.emitter] in twins)
        assert flags.sum(0).max() == 1  # Never two at a time.
        switching.append((flags[:, 1:] != flags[:, :-1]).any(0).mean())
    assert np.mean(switching) > 0.5 and np.mean(twin_sounds) > 0.7


def test_masks_of_twins_hold_the_sounding_one():
    clip = make_clip('twins', 'test', 2, 0, SIZE)
    scene, rng = _sample('twins', 'test', 2, 0)
    owners = render_frames(scene, 0, rng, SIZE)[1]
    for second in range(5):
        sounding = [source.emitter for source in scene.sources if source.sounding[second]]
        expected = np.isin(owners[second], [1 + emitter for emitter in sounding])
        assert np.array_equal(clip.masks[second] > 0, expected)


@pytest.mark.parametrize('category', ['bell', 'horn', 'hive', 'bird'])
def test_a_lower_pitch_lowers_every_frequency(category):
    centroids = []
    for pitch in (1.0, 0.6):
        signal = synthesize_sound(category, 3, np.random.default_rng(1), np.random.default_rng(2), pitch)
        assert signal.shape == (48000, ) and np.isclose(np.mean(signal**2), 1, atol=1e-3)
        spectrum = np.abs(np.fft.rfft(signal))**2
        centroids.append((spectrum * np.fft.rfftfreq(48000, 1 / 16000)).sum() / spectrum.sum())
    assert centroids[1] / centroids[0] == pytest.approx(0.6, abs=0.03)


def test_twins_are_read_as_avss(tmp_path):
    directory = synthesize_clips(tmp_path, 'twins', 2, 1, 1, size=SIZE)
    clips = AVSSDataset(str(directory), 'train', metainfo=dict(classes=('background', *CATEGORIES)))
    assert directory.name == 'Twins' and len(clips) == 2
    assert all(len(clip['frame_paths']) == 5 and all(clip['labelled']) for clip in clips)


def test_sources_start_and_stop_at_whole_seconds():
    envelope = gate(np.array([False, True, True, False, True]))
    assert envelope.shape == (80000, ) and envelope.dtype == np.float32
    per_second = envelope.reshape(5, 16000)
    assert not per_second[[0, 3]].any() and (per_second[[1, 2, 4], 200:-200] == 1).all()


@pytest.mark.parametrize('category', SOUNDS)
def test_every_second_of_a_source_is_about_equally_loud(category):
    rng = np.random.default_rng
    signal = synthesize_sound(category, 5, rng(1), rng(2))
    level = np.sqrt((signal.reshape(5, 16000)**2).mean(1))
    assert np.isfinite(signal).all() and (np.abs(level - 1) < 0.25).all()


def timbre_features(split, count):
    """Mean and standard deviation of the log-mel bands of single sources (count * 8, 128), and their categories."""
    import torch
    vggish, examples, labels = VGGish('conv', channels=(1, ) * 6), [], []
    for label, category in enumerate(CATEGORIES):
        for index in range(count):
            rng = np.random.default_rng([9, label, index])
            signal = 0.06 * synthesize_sound(category, 2, sound_instance(0, split, category, index), rng)
            example = vggish.log_mel_examples(torch.from_numpy(signal[None]))[0, 0, 0].numpy()
            examples.append(np.concatenate([example.mean(0), example.std(0)]))
            labels.append(label)
    return np.array(examples), np.array(labels)


def test_categories_of_unseen_instances_are_classified_from_one_second():
    train, train_labels = timbre_features('train', 12)
    test, labels = timbre_features('test', 8)
    centers = np.stack([train[train_labels == label].mean(0) for label in range(len(CATEGORIES))])
    nearest = np.linalg.norm(test[:, None] - centers, axis=-1).argmin(1)
    assert (nearest == labels).mean() >= 0.95


def test_every_category_has_a_timbre():
    assert list(OBJECTS) == list(SOUNDS) and len(OBJECTS) >= 6


def write_csv(path, rows):
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def image_pairs(tmp_path):
    """Two images with a cat (id 3, left) and a dog (id 7, right), a 1 s bark, a 5 s meow."""
    mask = np.zeros((60, 80), np.uint8)
    mask[20:50, 10:30], mask[10:50, 45:70] = 3, 7
    image = np.stack([mask * 30] * 3, -1)
    rows, kinds = [], [('train', '3', ''), ('train', '3;7', 'bark{}.wav'), ('test', '', '')]
    for index, (split, targets, audio_b) in enumerate(kinds):
        cv2.imwrite(str(tmp_path / f'{split}.png'), image)
        cv2.imwrite(str(tmp_path / f'{split}_mask.png'), mask)
        t = np.arange(80000) / 16000
        soundfile.write(tmp_path / f'meow{split}.wav', 0.1 * np.sin(2 * np.pi * 500 * t), 16000)
        soundfile.write(tmp_path / f'bark{split}.wav', 0.02 * np.sin(2 * np.pi * 3000 * t) * (t < 1), 16000)
        rows.append(dict(pair_id=f'p{index}', split=split, kind='made up', image=f'{split}.png',
                         mask=f'{split}_mask.png', target_ids=targets, audio_a=f'meow{split}.wav',
                         audio_b=audio_b.format(split)))
    write_csv(tmp_path / 'pairs.csv', rows)
    write_csv(tmp_path / 'classes.csv', [dict(id='7', **{'class': 'dog'}), dict(id='3', **{'class': 'cat'})])
    return tmp_path, rows


def compose(directory, subset='avss', out='out', **options):
    pairs, classes = directory / 'pairs.csv', directory / 'classes.csv'
    return compose_clips(directory / out, subset, pairs, classes, size=SIZE, **options)


def test_composed_avss_masks_hold_target_classes_in_the_order_of_the_class_list(image_pairs):
    directory = compose(image_pairs[0])
    clips = AVSSDataset(directory, 'train', metainfo=dict(classes=('background', 'dog', 'cat')))
    values = [[set(np.unique(cv2.imread(path, cv2.IMREAD_UNCHANGED))) for path in clip['mask_paths']] for clip in clips]
    assert values == [[{0, 2}] * 5, [{0, 1, 2}] * 5]
    frames = [cv2.imread(path) for path in clips[1]['frame_paths']]
    assert len({frame.tobytes() for frame in frames}) == 5  # The camera moves,
    for frame, path in zip(frames, clips[1]['mask_paths'], strict=True):  # and the mask with it.
        mask = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        assert frame[cv2.erode((mask == 1).astype(np.uint8), np.ones((5, 5))) > 0].min() > 180
    empty = AVSSDataset(directory, 'test', metainfo=dict(classes=('background', 'dog', 'cat')))[0]
    assert not any(cv2.imread(path, cv2.IMREAD_UNCHANGED).any() for path in empty['mask_paths'])


def test_composed_ms3_masks_are_binary_and_recordings_are_mixed_at_equal_level(image_pairs):
    clips = AVSBenchMS3Dataset(compose(image_pairs[0], 'ms3'), 'train')
    assert set(np.unique(cv2.imread(clips[1]['mask_paths'][0], cv2.IMREAD_UNCHANGED))) == {0, 255}
    waveform, _ = soundfile.read(clips[1]['audio_path'])
    spectrum = np.abs(np.fft.rfft(waveform.reshape(5, 16000)))
    # The bark is repeated after its end, therefore it sounds in every second.
    assert (spectrum[:, 2950:3050]**2).sum(1).min() > 0.3 * (spectrum[:, 450:550]**2).sum(1).max()
    assert (spectrum**2)[:, 2950:3050].sum() == pytest.approx((spectrum**2)[:, 450:550].sum(), rel=0.05)


def test_avss_clips_of_ten_frames_are_v2(image_pairs):
    metainfo = dict(classes=('background', 'dog', 'cat'))
    clips = AVSSDataset(compose(image_pairs[0], num_frames=10), 'train', metainfo=metainfo)
    assert clips[0]['clip_id'] == 'v2/p0' and len(clips[0]['frame_paths']) == 10
    with pytest.raises(ValueError, match='num_frames is 10'):
        compose(image_pairs[0], 'ms3', num_frames=10)


def test_composition_is_deterministic_and_written_again_if_an_image_changes(image_pairs):
    directory, _ = image_pairs
    first = compose(directory)
    second = compose(directory, out='again', workers=2)
    assert same_trees(first, second)
    before = (first / 'synthesis.json').stat().st_mtime_ns
    assert (compose(directory) / 'synthesis.json').stat().st_mtime_ns == before
    cv2.imwrite(str(directory / 'test.png'), np.full((60, 80, 3), 200, np.uint8))
    assert (compose(directory) / 'synthesis.json').stat().st_mtime_ns > before


def test_turned_photos_and_palette_masks_compose_as_they_are_displayed(image_pairs):
    directory, _ = image_pairs
    pipeline = [dict(type='LoadClipFrames'), dict(type='LoadClipMasks')]
    options = dict(metainfo=dict(classes=('background', 'dog', 'cat')), pipeline=pipeline)
    expected = AVSSDataset(compose(directory), 'train', **options)[1]
    image, mask, exif = Image.open(directory / 'train.png'), Image.open(directory / 'train_mask.png'), Image.Exif()
    exif[0x0112] = 6  # To be displayed turned to the right.
    Image.fromarray(np.rot90(np.asarray(image))).save(directory / 'train.png', exif=exif)
    mask = mask.convert('P')
    mask.putpalette([200, 1, 3] * 256)
    mask.save(directory / 'train_mask.png')
    clip = AVSSDataset(compose(directory, out='again'), 'train', **options)[1]
    for key in ('frames', 'masks'):
        np.testing.assert_array_equal(clip[key], expected[key])


@pytest.mark.parametrize('change, error, message', [
    (dict(image='gone.png'), FileNotFoundError, "pair 'p0'.*image.*gone.png does not exist"),
    (dict(audio_b='gone.wav'), FileNotFoundError, 'audio_b.*gone.wav does not exist'),
    (dict(split='dev'), ValueError, "split is 'dev', expected one of train, val, test"),
    (dict(split='test'), ValueError, 'used in the splits'),
    (dict(target_ids='3;9'), ValueError, "'3;9' names 9, which is not a class id; the classes are 7 dog, 3 cat"),
    (dict(pair_id='p1'), ValueError, 'must be unique'),
    (dict(pair_id='../p'), ValueError, 'plain file name'),
    (dict(mask='train.png'), ValueError, 'expected one channel'),
    (dict(audio_a='pairs.csv'), ValueError, 'not a readable audio file'),
])
def test_invalid_rows_are_named(image_pairs, change, error, message):
    directory, rows = image_pairs
    write_csv(directory / 'pairs.csv', [{**rows[0], **change}, *rows[1:]])
    with pytest.raises(error, match=message):
        compose(directory)
    assert not (directory / 'out' / 'AVSS').exists()


def test_a_missing_column_is_named(image_pairs):
    directory, rows = image_pairs
    for name in ('target_ids', 'mask'):
        write_csv(directory / 'pairs.csv', [{key: value for key, value in row.items() if key != name} for row in rows])
        with pytest.raises(ValueError, match=f"no column '{name}'"):
            compose(directory)


@pytest.mark.parametrize('value, message', [(5, r'holds the values \[5\], which are not class ids'),
                                            (3, r'the classes \[7\] sound, but the mask holds only \[0, 3\]')])
def test_masks_inconsistent_with_classes_or_targets_are_named(image_pairs, value, message):
    directory, rows = image_pairs
    mask = np.zeros((60, 80), np.uint8)
    mask[:9] = value
    cv2.imwrite(str(directory / 'train_mask.png'), mask)
    write_csv(directory / 'pairs.csv', [{**rows[0], 'target_ids': '7'}])
    with pytest.raises(ValueError, match=message):
        compose(directory)


def test_pauses_are_cut_to_half_a_second_and_short_ones_kept():
    t = np.arange(80000) / 16000
    burst = (0.5 * np.sin(2 * np.pi * 440 * t) * (t < 1)).astype(np.float32)
    assert len(cut_pauses(burst)) == pytest.approx(1.25 * 16000, abs=1600)
    ticking = burst + np.roll(burst, 22400)
    assert len(cut_pauses(ticking)) == pytest.approx(2.65 * 16000, abs=1600)
    silence = np.zeros(16000, np.float32)
    np.testing.assert_array_equal(cut_pauses(silence), silence)


def test_tool_writes_clips_and_reports_errors_in_one_line(tmp_path, run_tool):
    tool = 'dataset_converters/synthesize_clips'
    run_tool(tool, tmp_path, '--size', 32, '--num-train', 1, '--num-val', 0, '--num-test', 0)
    assert len(AVSBenchMS3Dataset(tmp_path / 'Multi-sources', 'train')) == 1
    with pytest.raises(SystemExit, match=r'\Aerror: .*\Z'):
        run_tool(tool, tmp_path, '--size', 32, '--pairs', tmp_path / 'none.csv')


def test_visual_only_baselines_are_scored_on_the_written_clips(run_tool, capsys):
    clip = 'ms3', 'test', 3, 0, 48
    objects, masks = visible_objects(*clip), make_clip(*clip).masks
    assert objects.shape == masks.shape and set(np.unique(objects)) >= {0, 1, 2}
    assert (objects[masks > 0] > 0).all() and ((objects > 0) & (masks == 0)).any()
    run_tool('analysis_tools/visual_only_baselines', '--clips', 2, '--size', 48)
    rows = [line.split('│')[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith('│')]
    assert [row[0].strip() for row in rows] == ['all visible objects', 'the largest object', 'nothing']
    assert all(0 <= float(value) < 0.9 for row in rows for value in row[1:])
