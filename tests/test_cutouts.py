"""Clips of cut-outs: which files are used, visible and sounding objects in the masks, splits, determinism, audio."""
import csv
import filecmp
import json

import cv2
import numpy as np
import pytest
import soundfile

from mmavs.datasets import AVSBenchMS3Dataset, AVSSDataset
from mmavs.synthesis import compose_cutouts
from mmavs.synthesis.backdrops import KINDS, render_backdrop
from mmavs.synthesis.cutout_dataset import fingerprint, list_photos
from mmavs.synthesis.cutout_rendering import place_cutouts, render_cutouts
from mmavs.synthesis.cutout_scenes import CutOutSource, make_cutout_clip
from mmavs.synthesis.cutouts import CutOut, CutOuts, read_cutouts, split_files
from mmavs.synthesis.recording_pretraining import RecordedSeconds, pretrain_on_recordings
from mmavs.synthesis.recordings import change_pitch, change_tempo, play

SIZE = 64
# name, class, RGB, frequency in Hz
THINGS = [('bell', 'bell', (250, 30, 30), 500), ('horn1', 'horn', (30, 250, 30), 1200),
          ('horn2', 'horn', (120, 250, 120), 1500), ('owl1', 'owl', (30, 30, 250), 2500),
          ('owl2', 'owl', (120, 120, 250), 3000)]


def write_cutout(path, color):
    """A disc of a color on transparent ground, 100x100."""
    image = np.zeros((100, 100, 4), np.uint8)
    cv2.circle(image, (50, 50), 45, (*color[::-1], 255), -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def write_tone(path, frequency, seconds=0.8, level=0.3):
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(seconds * 16000)) / 16000
    soundfile.write(path, level * np.sin(2 * np.pi * frequency * t), 16000)


def write_listing(directory, rows):
    with open(directory / 'cutouts.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, ['image', 'audio', 'class', 'size', 'place'])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope='module')
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp('cutouts')
    rows = []
    for name, category, color, frequency in THINGS:
        write_cutout(directory / f'{name}.png', color)
        write_tone(directory / f'{name}.wav', frequency)
        rows.append({'image': f'{name}.png', 'audio': f'{name}.wav', 'class': category, 'size': '1'})
    write_cutout(directory / 'stone.png', (120, 120, 120))
    write_tone(directory / 'hum.wav', 100)
    rows += [dict(image='stone.png', size='0.5'), dict(audio='hum.wav')]
    write_listing(directory, rows)
    return directory


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    directory = tmp_path_factory.mktemp('photos')
    for number in range(5):
        noise = np.random.default_rng(number).integers(0, 255, (90, 120, 3), np.uint8)
        cv2.imwrite(str(directory / f'{number}.png'), noise)
    return directory


def same_trees(first, second):
    names = sorted(path.relative_to(first) for path in first.rglob('*') if path.is_file())
    assert names == sorted(path.relative_to(second) for path in second.rglob('*') if path.is_file())
    return not any(filecmp.cmpfiles(first, second, names, shallow=False)[1:])


def test_rows_are_instances_silent_objects_and_off_screen_audio(directory):
    cutouts = read_cutouts(directory)
    assert cutouts.categories == ('bell', 'horn', 'owl')
    assert [item.name for item in cutouts.sounding['horn']] == ['horn1', 'horn2']
    assert [item.name for item in cutouts.silent] == ['stone'] and cutouts.silent[0].size == 0.5
    assert [item.name for item in cutouts.off_screen] == ['hum']


def test_stamps_are_chosen_by_the_rules_of_their_layout(tmp_path):
    root = tmp_path / 'usr/share/tuxpaint/stamps'
    for name in ('animals/birds/hen', 'animals/birds/rooster', 'animals/dog', 'animals/new_one', 'symbols/a',
                 'animals/cartoon/cat', 'animals/drawing', 'animals/mute'):
        write_cutout(root / f'{name}.png', (200, 100, 50))
        write_tone(root / f'{name}.ogg', 440, level=0 if name.endswith('mute') else 0.3)
        write_tone(root / f'{name}_desc.ogg', 200)
        write_tone(root / f'{name}_desc_fr.ogg', 200)
    for name in ('plants/oak', 'plants/oak_mirror', 'animals/pelican'):
        write_cutout(root / f'{name}.png', (200, 100, 50))
    (root / 'animals/drawing.dat').write_text('tintable\n')
    write_tone(root / 'animals/mosquito.ogg', 440)
    write_tone(root / 'animals/mosquito_es.ogg', 440)
    cutouts = read_cutouts(tmp_path)
    assert cutouts.categories == ('chicken', 'dog', 'new-one')
    assert [item.name for item in cutouts.sounding['chicken']] == ['animals/birds/hen', 'animals/birds/rooster']
    assert {item.name for item in cutouts.silent} == {'plants/oak', 'animals/mute'}
    assert {item.name for item in cutouts.off_screen} == {'animals/mosquito', 'animals/drawing'}


def test_a_held_out_instance_is_in_the_test_split_only(directory):
    cutouts = read_cutouts(directory)
    names = {split: {item.name for items in cutouts.of_split(split, 1).values() for item in items}
             for split in ('train', 'val', 'test')}
    assert names == dict(train={'bell', 'horn1', 'owl1'}, val={'bell', 'horn1', 'owl1'}, test={'horn2', 'owl2'})
    source = CutOutSource(cutouts, {}, 1)
    for split, index in (('train', 0), ('train', 1), ('test', 0), ('test', 1)):
        description = make_cutout_clip(source, split, index, 0, SIZE).description
        used = {part['instance'] for key in ('objects', 'sounds') for part in description[key]}
        assert used <= names[split] | {'stone'}


def hold_out_by(function, cutouts, tmp_path):
    if function == 'compose':
        compose_cutouts(tmp_path / 'out', 'ms3', tmp_path, 1, 0, 1, hold_out=0, size=SIZE)
    else:
        pretrain_on_recordings(dict(type='VGGish'), tmp_path / 'weights.pth', cutouts, hold_out=0)


@pytest.mark.parametrize('function', ['compose', 'pretrain'])
@pytest.mark.parametrize('row, message', [
    (dict(image='e.png', audio='a.wav', **{'class': 'y'}), "a.wav: belongs to the held-out instance 'a' of the class"),
    (dict(image='a.png'), "a.png: belongs to the held-out instance 'a' of the class 'x' and to another row"),
    ({'image': 'a.png', 'audio': 'a.wav', 'class': 'x'}, "a.png: belongs to the held-out instance 'a' of the class"),
    (dict(audio='c.wav'), "c.wav: belongs to the held-out instance 'c'")])
def test_files_of_held_out_instances_are_not_in_another_split(tmp_path, function, row, message):
    for number, name in enumerate('abcde'):
        write_cutout(tmp_path / f'{name}.png', (9, 50 * number, 200))
        write_tone(tmp_path / f'{name}.wav', 440 + 100 * number)
    rows = [{'image': f'{name}.png', 'audio': f'{name}.wav', 'class': category}
            for name, category in zip('abcd', 'xxyy')]
    write_listing(tmp_path, rows)
    read_cutouts(tmp_path).check_hold_out(0)
    write_listing(tmp_path, [*rows, row])
    with pytest.raises(ValueError, match=message):
        hold_out_by(function, read_cutouts(tmp_path), tmp_path)


@pytest.mark.parametrize('function', ['compose', 'pretrain'])
def test_holding_out_needs_classes_with_several_instances(tmp_path, function):
    for name in 'abc':
        write_cutout(tmp_path / f'{name}.png', (9, 50, 200))
        write_tone(tmp_path / f'{name}.wav', 440)
    write_listing(tmp_path, [{'image': f'{name}.png', 'audio': f'{name}.wav', 'class': category}
                             for name, category in zip('abc', 'xxy')])
    with pytest.raises(ValueError, match='classes of cut-outs with several instances: 1, expected at least 2'):
        hold_out_by(function, read_cutouts(tmp_path), tmp_path)


def test_more_classes_than_masks_can_name_are_refused(tmp_path):
    write_cutout(tmp_path / 'a.png', (9, 50, 200))
    write_tone(tmp_path / 'a.wav', 440)
    write_listing(tmp_path, [{'image': 'a.png', 'audio': 'a.wav', 'class': f'c{number}'} for number in range(255)])
    with pytest.raises(ValueError, match='255 classes, expected at most 254'):
        read_cutouts(tmp_path)


def test_fingerprint_differs_for_other_files_and_classes(directory, tmp_path):
    cutouts = read_cutouts(directory)
    assert fingerprint(cutouts) == fingerprint(read_cutouts(directory))
    other = CutOut('bell', 'gong', *(directory / f'bell.{suffix}' for suffix in ('png', 'wav')))
    sounding = cutouts.sounding | {'bell': (other, )}
    assert fingerprint(CutOuts(sounding, cutouts.silent, cutouts.off_screen)) != fingerprint(cutouts)
    write_tone(tmp_path / 'bell.wav', 300)
    moved = CutOut('bell', 'bell', directory / 'bell.png', tmp_path / 'bell.wav')
    sounding = cutouts.sounding | {'bell': (moved, )}
    assert fingerprint(CutOuts(sounding, cutouts.silent, cutouts.off_screen)) != fingerprint(cutouts)


def test_masks_hold_the_visible_part_of_sounding_objects(directory):
    source = CutOutSource(read_cutouts(directory), {})
    silent_seconds = 0
    for index in range(6):
        clip = make_cutout_clip(source, 'train', index, 3, SIZE)
        sounding = {part['category']: part['sounding'] for part in clip.description['sounds'] if part['visible']}
        for second, mask in enumerate(clip.masks):
            expected = {1 + ('bell', 'horn', 'owl').index(name) for name, flags in sounding.items() if flags[second]}
            assert set(np.unique(mask)) - {0} == expected
            silent_seconds += not expected
    assert silent_seconds


def test_an_object_in_front_covers_the_one_behind(directory):
    cutouts = read_cutouts(directory)
    rng = np.random.default_rng(0)
    items = place_cutouts(rng, [cutouts.sounding['bell'][0], cutouts.sounding['owl'][0]], 0.4, 5, SIZE)
    items[1].anchors = items[0].anchors + (0.1, 0)
    owners = render_cutouts(rng, items, render_backdrop(rng, 70, 'room'), 5, SIZE)[1]
    areas = np.array([(owners == number).sum() for number in (1, 2)])
    alone = np.array([(render_cutouts(np.random.default_rng(0), [item], render_backdrop(rng, 70, 'room'), 5, SIZE)[1]
                       > 0).sum() for item in items])
    assert areas[1] >= 0.85 * alone[1] and 0 < areas[0] < 0.85 * alone[0]


@pytest.mark.parametrize('kind', KINDS)
def test_backdrops_are_in_range_and_differ(kind):
    first, second = (render_backdrop(np.random.default_rng(seed), SIZE, kind).image for seed in (0, 1))
    assert first.shape == (SIZE, SIZE, 3) and first.dtype == np.float32
    assert 0 <= first.min() and first.max() <= 1 and first.std() > 0.01 and np.abs(first - second).mean() > 0.02


def test_same_seed_gives_identical_files_with_any_number_of_processes(tmp_path, directory, photos):
    roots = [compose_cutouts(tmp_path / str(workers), 'avss', directory, 2, 1, 1, photos, size=SIZE, workers=workers)
             for workers in (1, 2)]
    assert same_trees(*roots)
    classes = ('background', 'bell', 'horn', 'owl')
    clips = AVSSDataset(str(roots[0]), 'train', metainfo=dict(classes=classes))
    assert len(clips) == 2 and all(len(clip['frame_paths']) == 5 for clip in clips)


def test_ms3_masks_are_binary_and_a_clip_does_not_depend_on_the_others(tmp_path, directory):
    one = compose_cutouts(tmp_path / 'one', 'ms3', directory, 1, 0, 0, size=SIZE)
    two = compose_cutouts(tmp_path / 'two', 'ms3', directory, 2, 0, 1, size=SIZE)
    first, same = (AVSBenchMS3Dataset(root, 'train')[0] for root in (one, two))
    for paths in zip(first['mask_paths'], same['mask_paths'], strict=True):
        masks = [cv2.imread(path, cv2.IMREAD_UNCHANGED) for path in paths]
        assert set(np.unique(masks[0])) <= {0, 255} and np.array_equal(*masks)
    np.testing.assert_array_equal(*(soundfile.read(clip['audio_path'])[0] for clip in (first, same)))


def test_clips_of_the_splits_share_no_photo(tmp_path, directory, photos, monkeypatch):
    monkeypatch.setattr('mmavs.synthesis.cutout_scenes.PHOTO_SHARE', 1)
    root = compose_cutouts(tmp_path, 'ms3', directory, 12, 6, 6, photos, size=32)
    used = {}
    for clip in json.loads((root / 'synthesis.json').read_text())['clips']:
        used.setdefault(clip['split'], set()).add(clip['background'])
    # Five photos: three, one and one.
    assert {split: len(names) for split, names in used.items()} == dict(train=3, val=1, test=1)
    assert len(set.union(*used.values())) == 5


def test_photos_of_the_same_name_in_two_directories_keep_their_order(tmp_path, monkeypatch):
    paths = [tmp_path / f'{directory}/0.jpg' for directory in 'cab']
    for path in paths:
        path.parent.mkdir()
        path.touch()
    for found in (paths, paths[::-1]):
        monkeypatch.setattr(type(tmp_path), 'rglob', lambda self, pattern, found=found: iter(found))
        assert [path.parent.name for path in list_photos(tmp_path)] == ['a', 'b', 'c']


def test_splits_share_no_photo(photos):
    parts = split_files(sorted(photos.iterdir()), 0)
    assert sorted(sum(parts.values(), [])) == sorted(photos.iterdir()) and all(parts.values())
    with pytest.raises(ValueError, match='2 background images, expected at least three'):
        split_files(sorted(photos.iterdir())[:2], 0)


def test_a_source_is_audible_in_each_of_its_seconds_and_in_no_other(directory):
    sounding = np.array([True, False, True, True, False])
    signal = play(directory / 'owl1.wav', sounding, np.array([1, 0.1], np.float32), np.random.default_rng(0))
    levels = np.sqrt((signal.reshape(5, -1)**2).mean(1))
    assert not levels[~sounding].any() and (levels[sounding] > 0.5).all()
    assert np.sqrt((signal**2).sum() / (3 * 16000)) == pytest.approx(1, abs=1e-3)


def test_tempo_keeps_the_pitch_and_pitch_moves_it():
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)

    def peak(signal):
        return np.abs(np.fft.rfft(signal)).argmax() * 16000 / len(signal)

    slower, higher = change_tempo(tone, 0.8), change_pitch(tone, 1.5)
    assert len(slower) == 20000 and peak(slower) == pytest.approx(1000, abs=10)
    assert peak(higher) == pytest.approx(1000 * 2**(1.5 / 12), rel=0.02) and len(higher) < 16000


@pytest.mark.parametrize('change, error, message', [
    (dict(audio=''), ValueError, 'expected all three'),
    (dict(image='gone.png'), FileNotFoundError, 'gone.png does not exist'),
    (dict(size='big'), ValueError, "size is 'big'"),
    (dict(place='sky'), ValueError, "place is 'sky', expected one of ground, held, air, water"),
    ({'class': 'a_b'}, ValueError, "class 'a_b'"),
    (dict(image='opaque.png'), ValueError, 'opaque.png: 100% of the pixels are opaque'),
    (dict(audio='silent.wav'), ValueError, 'silent.wav: the largest sample'),
])
def test_invalid_rows_are_named(tmp_path, change, error, message):
    write_cutout(tmp_path / 'a.png', (9, 99, 200))
    cv2.imwrite(str(tmp_path / 'opaque.png'), np.full((100, 100, 3), 99, np.uint8))
    write_tone(tmp_path / 'a.wav', 440)
    write_tone(tmp_path / 'silent.wav', 440, level=0)
    row = {'image': 'a.png', 'audio': 'a.wav', 'class': 'a', 'size': '', 'place': ''}
    write_listing(tmp_path, [{**row, **change}])
    with pytest.raises(error, match=message):
        read_cutouts(tmp_path)


def test_tool_refuses_options_without_cutouts_and_directories_without_any(run_tool, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_tool('dataset_converters/synthesize_clips', tmp_path / 'out', '--hold-out', 1)
    assert '--hold-out cannot be used without --cutouts' in capsys.readouterr().err
    with pytest.raises(SystemExit, match='error: .*tuxpaint-stamps-default'):
        run_tool('dataset_converters/synthesize_clips', tmp_path / 'out', '--cutouts', tmp_path)


def test_other_classes_than_the_selected_ones_are_off_screen_audio(directory, tmp_path):
    chosen = read_cutouts(directory).select(['bell', 'owl'])
    assert chosen.categories == ('bell', 'owl')
    assert sorted(item.name for item in chosen.off_screen) == ['horn1', 'horn2', 'hum']
    assert all(item.image is None and not item.category for item in chosen.off_screen)
    root = compose_cutouts(tmp_path, 'avss', directory, 2, 0, 0, size=SIZE, categories=['bell', 'owl'])
    assert json.loads((root / 'label2idx.json').read_text()) == dict(background=0, bell=1, owl=2)


@pytest.mark.parametrize(('categories', 'message'), [(['bell', 'tuba'], "class 'tuba', expected some of bell, horn"),
                                                     (['bell'], 'expected at least two')])
def test_a_selection_of_classes_that_are_not_there_is_an_error(directory, categories, message):
    with pytest.raises(ValueError, match=message):
        read_cutouts(directory).select(categories)


def test_a_recording_with_a_long_quiet_part_is_loud_in_each_second_in_which_it_sounds(tmp_path):
    t = np.arange(3 * 16000) / 16000
    # Two loud seconds after a second that is 34 dB quieter, which is no pause.
    soundfile.write(tmp_path / 'late.wav', np.where(t < 1, 0.01, 0.5) * np.sin(2 * np.pi * 700 * t), 16000)
    sounding, response = np.array([True, True, False, False, False]), np.ones(1, np.float32)
    for seed in range(10):
        audio = play(tmp_path / 'late.wav', sounding, response, np.random.default_rng(seed))
        levels = 10 * np.log10((audio.reshape(5, -1)[sounding]**2).mean(1))
        assert levels.min() > -9, seed


def test_seconds_of_recordings_are_labelled_with_the_classes_in_them(directory):
    seconds = RecordedSeconds(read_cutouts(directory))
    waveforms, present = seconds(np.random.default_rng(0), 60)
    assert waveforms.shape == (60, 16000) and present.shape == (60, 3) and waveforms.abs().max() <= 1
    spectra = np.abs(np.fft.rfft(waveforms.numpy()))  # bins of 1 Hz
    # Pitches differ by 1.5 semitones at most: the bell is the only source near 500 Hz, where it is above the noise.
    named = present.numpy().any(1)
    bell = spectra[:, 450:560].max(1) > 0.1 * spectra.max(1)
    assert (bell == present[:, 0].numpy())[named].all() and 0 < bell[named].sum() < named.sum()
    assert set(present.sum(1).tolist()) == {0, 1, 2}
