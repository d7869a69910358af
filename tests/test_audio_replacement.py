"""Wrong sounds: what each kind is, that it is the same every time, and what training with them asks of a model."""
import csv
import os

import numpy as np
import pytest
import soundfile
import torch
from avsbench_tree import write_avss, write_csv, write_image, write_ms3, write_s4, write_wav

from mmavs.datasets import AVSBenchMS3Dataset, AVSBenchS4Dataset, AVSSDataset, NegativeAudio, ReplaceAudio
from mmavs.datasets.samplers import SeededIndex
from mmavs.datasets.wrappers.audio_replacement import AudioCondition, heard_classes, mix_at_snr
from mmavs.datasets.wrappers.replace_audio import write_manifest
from mmavs.engine.launch import build_runner
from mmavs.synthesis import synthesize_clips
from mmavs.synthesis.scenes import CATEGORIES
from mmavs.synthesis.synthesize import _sample
from mmavs.utils.config import load_config

FRAMES = [dict(type='LoadClipFrames'), dict(type='LoadClipMasks')]
PACK = [dict(type='PackClipInputs')]
PIPELINE = [dict(type='CachedTransforms', transforms=[*FRAMES, dict(type='LoadAudio')]), *PACK]


def rms(x):
    return x.double().square().mean().sqrt().item()


def waveform(clip):
    return clip['inputs']['waveform']


@pytest.fixture(scope='module')
def s4_root(tmp_path_factory):
    """S4 with 6 clips in each split, by turns of two categories, each of another loudness."""
    root = write_s4(tmp_path_factory.mktemp('s4'), clips=6, size=(20, 24))
    for i, path in enumerate(sorted(root.rglob('*.wav'))):
        samples = np.random.default_rng(i).normal(0, 0.02 + 0.01 * (i % 6), 5 * 16000)
        soundfile.write(path, samples, 16000, subtype='PCM_16')
    return root


@pytest.fixture(scope='module')
def s4(s4_root):
    """Its test clips, read once."""
    return AVSBenchS4Dataset(str(s4_root), 'test', pipeline=PIPELINE)


@pytest.mark.parametrize('text,kind,level', [
    ('silence', ('silence', None), ''),
    ('noise', ('noise', None), 'own RMS'),
    ('noise:-20', ('noise', -20.), '-20 dBFS'),
    ('mixture:2.5', ('mixture', 2.5), '2.5 dB SNR'),
])
def test_kinds_are_written_with_their_level(text, kind, level):
    assert AudioCondition.parse(text) == kind and AudioCondition.parse(text).level_text == level


@pytest.mark.parametrize('text,message', [
    ('noisy', "'noisy' is no kind of sound, expected one of silence, noise, off-screen"),
    ('mixture', "mixture needs a level in dB SNR, 'mixture:0' for example"),
    ('silence:3', 'silence has no level'),
    ('noise:loud', "the level 'loud' is no number"),
])
def test_misspelt_kinds_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        AudioCondition.parse(text)


def test_only_the_sound_changes(s4):
    plain = s4
    for kind in ('silence', 'noise', 'noise:-20', 'off-screen', 'mixture:0'):
        wrong = ReplaceAudio(s4, kind)
        assert len(wrong) == len(plain) and wrong.metainfo == plain.metainfo
        for own, other in zip(plain, wrong):
            assert waveform(other).shape == waveform(own).shape and waveform(other).dtype == torch.float32
            assert not torch.equal(waveform(other), waveform(own))
            assert torch.equal(own['inputs']['frames'], other['inputs']['frames'])
            assert torch.equal(own['data_samples'].gt_sem_seg, other['data_samples'].gt_sem_seg)
            assert own['data_samples'].clip_id == other['data_samples'].clip_id


def test_noise_is_as_loud_as_the_clip_or_as_stated(s4):
    plain, matched, fixed = s4, ReplaceAudio(s4, 'noise'), ReplaceAudio(s4, 'noise:-20')
    for own, same, other in zip(plain, matched, fixed):
        assert rms(waveform(same)) == pytest.approx(rms(waveform(own)), rel=0.01)
        assert rms(waveform(other)) == pytest.approx(0.1, rel=0.01)
        # White: neighbours are uncorrelated, all samples can be stored with 16 bit.
        assert abs((waveform(other)[1:] * waveform(other)[:-1]).mean() / 0.01) < 0.02
    loud = ReplaceAudio(s4, 'noise:0')[0]
    assert waveform(loud).min() == -1 and waveform(loud).max() == 1 - 2**-15
    assert not any(waveform(clip).any() for clip in ReplaceAudio(s4, 'silence'))


def test_what_a_clip_hears_does_not_depend_on_the_clips_around_it(s4, s4_root):
    for kind in ('noise', 'off-screen', 'mixture:0'):
        everything, again = ReplaceAudio(s4, kind), ReplaceAudio(s4, kind)
        assert everything.manifest == again.manifest
        assert torch.equal(waveform(everything[3]), waveform(again[3]))
    alone = ReplaceAudio(AVSBenchS4Dataset(str(s4_root), 'test', pipeline=PIPELINE, indices=[3]), 'noise')
    assert torch.equal(waveform(alone[0]), waveform(ReplaceAudio(s4, 'noise')[3]))
    # The order of the CSV file does not matter either.
    with open(s4_root / 's4_meta_data.csv') as file:
        header, *rows = csv.reader(file)
    write_csv(s4_root / 'reversed.csv', ','.join(header), rows[::-1])

    class Reversed(AVSBenchS4Dataset):
        ANN_FILE = 'reversed.csv'

    turned = ReplaceAudio(Reversed(str(s4_root), 'test', pipeline=PIPELINE), 'off-screen')
    forward = ReplaceAudio(s4, 'off-screen')
    assert turned.manifest == forward.manifest[::-1] and turned.manifest != forward.manifest


def test_off_screen_sound_is_that_of_a_clip_of_another_category(s4):
    plain, wrong = s4, ReplaceAudio(s4, 'off-screen')
    own = {clip['data_samples'].clip_id: waveform(clip) for clip in plain}
    for clip, row in zip(wrong, wrong.manifest):
        assert row['clip'] == clip['data_samples'].clip_id
        assert row['clip'].split('/')[0] != row['source'].split('/')[0] and row['labels'] == 'disjoint'
        assert torch.equal(waveform(clip), own[row['source']])
    assert len({row['source'] for row in wrong.manifest}) > 2
    assert wrong.get_data_info(0)['audio_clip_id'] == wrong.manifest[0]['source']


def write_labelled_ms3(root, labels):
    """MS3 whose CSV file says what is heard and seen in the test clips."""
    write_ms3(root, clips=len(labels))
    rows = [[f'test_{i}', 'test', *label] for i, label in enumerate(labels)]
    write_csv(root / 'ms3_meta_data.csv', 'video_id,split,heard,visible', rows)
    return AVSBenchMS3Dataset(str(root), 'test', pipeline=PIPELINE)


def test_off_screen_sound_is_neither_heard_nor_seen_in_the_clip(tmp_path, caplog):
    dataset = write_labelled_ms3(tmp_path, [('dog', 'dog_cat'), ('cat', ''), ('dog_horn', ''), ('horn', 'cat')])
    wrong = ReplaceAudio(dataset, 'off-screen')
    # Of clip 0, cat is seen; of clip 3, cat too, and 2 has its horn. 2 may hear the cat only.
    assert {row['clip']: row['source'] for row in wrong.manifest} == {
        'test_0': 'test_3', 'test_1': wrong.manifest[1]['source'], 'test_2': 'test_1', 'test_3': 'test_0'}
    assert wrong.manifest[1]['source'] in ('test_0', 'test_2', 'test_3')


def test_clips_without_such_a_sound_are_left_out(tmp_path):
    dataset = write_labelled_ms3(tmp_path, [('dog', ''), ('dog', 'cat'), ('cat', '')])
    wrong = ReplaceAudio(dataset, 'off-screen')
    assert [clip['data_samples'].clip_id for clip in wrong] == ['test_0', 'test_2'] and len(wrong) == 2
    alike = write_labelled_ms3(tmp_path / 'alike', [('dog', ''), ('dog', '')])
    with pytest.raises(ValueError, match="no clip of the split 'test' has another one that sounds of other classes"):
        ReplaceAudio(alike, 'off-screen')


def test_where_labels_are_missing_tests_say_so_and_training_refuses(tmp_path):
    dataset = AVSBenchMS3Dataset(str(write_ms3(tmp_path, clips=3)), 'test', pipeline=PIPELINE)
    wrong = ReplaceAudio(dataset, 'off-screen')
    assert [row['labels'] for row in wrong.manifest] == ['unknown'] * 3
    assert all(row['clip'] != row['source'] for row in wrong.manifest)
    with pytest.raises(ValueError, match=r'not known what is heard in 3 of 3 clips \(test_0, ...\).*column a_obj'):
        NegativeAudio(dataset)
    assert len(NegativeAudio(dataset, kinds=['silence', 'noise'])) == 3


def test_classes_are_read_off_the_masks_of_avss_and_clips_have_as_many_frames(tmp_path):
    dataset = AVSSDataset(str(write_avss(tmp_path)), 'test', num_frames=10, pipeline=PIPELINE)
    heard = [heard_classes(clip, dataset.metainfo['classes']) for clip in map(dataset.get_data_info, range(3))]
    # avsbench_tree: class 17 in every frame, class i + 5 in frame i of the test split; a_obj says dog.
    assert heard[0] == {'dog', *dataset.metainfo['classes'][5:10]}
    assert heard[2] == {'dog', *dataset.metainfo['classes'][5:15]}
    with pytest.raises(ValueError, match='as many frames'):
        ReplaceAudio(dataset, 'off-screen')


def test_mixture_has_the_stated_ratio(s4):
    plain, wrong = s4, ReplaceAudio(s4, 'mixture:6')
    for own, mixed in zip(plain, wrong):
        added = waveform(mixed) - waveform(own)
        assert 20 * np.log10(rms(waveform(own)) / rms(added)) == pytest.approx(6, abs=0.01)
    # The same distractor as without the clip's own sound.
    assert [row['source'] for row in wrong.manifest] == [
        row['source'] for row in ReplaceAudio(s4, 'off-screen').manifest]
    assert wrong.manifest[0]['level'] == '6 dB SNR'


def test_mixture_stays_within_full_scale_and_means_nothing_in_silence():
    tone = np.sin(np.arange(1000, dtype=np.float32))
    mix = mix_at_snr(tone, tone, 0)
    assert np.abs(mix).max() == pytest.approx(1) and mix.dtype == np.float32
    np.testing.assert_allclose(mix, tone / np.abs(tone).max(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(mix_at_snr(tone, np.zeros_like(tone), 0), tone)
    assert not mix_at_snr(np.zeros_like(tone), tone, 0).any()


def test_sounds_of_absent_classes_come_from_a_folder(s4, tmp_path):
    write_wav(tmp_path / 'thunder/a.wav', seconds=1.5)
    write_wav(tmp_path / 'cow.flac', seconds=7, rate=44100, channels=2)
    wrong = ReplaceAudio(s4, 'absent-class', str(tmp_path))
    files = {os.path.basename(row['source']) for row in wrong.manifest}
    assert files == {'a.wav', 'cow.flac'}
    short = next(i for i, row in enumerate(wrong.manifest) if row['source'].endswith('a.wav'))
    sound = waveform(wrong[short])
    # Repeated, so that no silence gives it away.
    assert sound.shape == (80000, ) and torch.equal(sound[:24000], sound[24000:48000]) and sound[-100:].any()
    with pytest.raises(ValueError, match="'absent-class' needs absent_audio, a folder"):
        ReplaceAudio(s4, 'absent-class')
    with pytest.raises(FileNotFoundError, match='no sound file'):
        ReplaceAudio(s4, 'absent-class', str(tmp_path / 'none'))


def test_wrong_sounds_end_where_the_own_sound_ends(tmp_path):
    root = write_s4(tmp_path, clips=2, size=(20, 24))
    own_file = root / 's4_data/audio_wav/test/dog_barking/test0.wav'
    write_wav(own_file, seconds=3)
    pipeline = [*FRAMES, dict(type='LoadAudio', mark_end=True), *PACK]
    dataset = AVSBenchS4Dataset(str(root), 'test', pipeline=pipeline)
    for kind in ('noise', 'off-screen', 'mixture:0'):
        inputs = ReplaceAudio(dataset, kind)[0]['inputs']
        assert inputs['num_samples'] == 48000
        assert inputs['waveform'][47900:48000].any() and not inputs['waveform'][48000:].any()
    # A shorter sound is marked as such.
    assert ReplaceAudio(dataset, 'off-screen')[1]['inputs']['num_samples'] == 48000
    assert ReplaceAudio(dataset, 'silence')[0]['inputs']['num_samples'] == 48000


def test_data_without_waveforms_are_refused(s4_root):
    for load, found in (([dict(type='LoadAudio', source='log_mel')], 'log-mel examples'), ([], 'no sound')):
        dataset = AVSBenchS4Dataset(str(s4_root), 'test', pipeline=[*FRAMES, *load, *PACK])
        for wrapper, options in ((ReplaceAudio, dict(kind='noise')), (NegativeAudio, {})):
            with pytest.raises(ValueError, match=rf"s4_meta_data\.csv: the pipeline loads {found}.*source='waveform'"):
                wrapper(dataset, **options)


def test_manifest_is_a_csv_file(s4, tmp_path):
    wrong = ReplaceAudio(s4, 'off-screen')
    write_manifest(tmp_path / 'manifest.csv', wrong.manifest)
    with open(tmp_path / 'manifest.csv') as file:
        rows = list(csv.DictReader(file))
    assert rows == [{key: str(value) for key, value in row.items()} for row in wrong.manifest]
    assert list(rows[0]) == ['clip', 'kind', 'source', 'seed', 'level', 'labels']


def test_synthetic_lists_say_what_is_heard_and_seen_and_absent_sounds_are_sounds(tmp_path, run_tool):
    clips = synthesize_clips(str(tmp_path), 'avss', 3, 0, 0, size=32)
    heard = AVSSDataset(str(clips), 'train', metainfo=dict(classes=('background', *CATEGORIES)), pipeline=PIPELINE)
    for clip in map(heard.get_data_info, range(3)):
        scene = _sample('avss', 'train', int(clip['clip_id'][-5:]), 0)[0]
        assert set(clip['heard']) == {source.category for source in scene.sounds}
        assert set(clip['visible']) == {item.category for item in scene.objects}
    run_tool('dataset_converters/synthesize_clips', tmp_path / 'absent', '--absent-sounds', 4)
    files = sorted(path.relative_to(tmp_path / 'absent').as_posix() for path in tmp_path.glob('absent/*/*.wav'))
    assert files == ['organ/002.wav', 'rain/000.wav', 'rain/003.wav', 'whistle/001.wav']
    levels = [np.sqrt(np.mean(soundfile.read(tmp_path / 'absent' / file)[0]**2)) for file in files]
    assert all(level == pytest.approx(10**(-23 / 20), rel=0.05) for level in levels)


# Training


def events_s4(root):
    pipeline = [PIPELINE[0], dict(type='GenerateEventLabels', num_events=23, source='category'),
                dict(type='ClipBroadcaster', share_random_params=True, transforms=[dict(type='RandomFlip', prob=.5)]),
                *PACK]
    return AVSBenchS4Dataset(str(root), 'train', pipeline=pipeline)


def test_negatives_have_empty_masks_in_labelled_frames_and_no_events(s4_root):
    plain, negative = events_s4(s4_root), NegativeAudio(events_s4(s4_root), share=1.)
    for position in range(6):
        index = SeededIndex.draw(position, 100 + position)
        own, clip = plain[index]['data_samples'], negative[index]
        sample = clip['data_samples']
        assert own.gt_sem_seg[0].any() and own.gt_events.any()
        assert not sample.gt_sem_seg[0].any() and (sample.gt_sem_seg[1:] == 255).all()
        assert not sample.gt_events.any() and torch.equal(sample.labelled, own.labelled)
        assert sample.gt_sem_seg.shape == own.gt_sem_seg.shape and sample.clip_id == own.clip_id
        # The same augmentation as without negatives.
        assert torch.equal(clip['inputs']['frames'], plain[index]['inputs']['frames'])
        assert not torch.equal(waveform(clip), waveform(plain[index]))
    assert torch.equal(waveform(NegativeAudio(events_s4(s4_root), share=0.)[0]), waveform(plain[0]))


def test_events_of_negatives_are_those_of_a_clip_in_which_nothing_sounds(tmp_path):
    root = write_avss(tmp_path)
    pipeline = [*FRAMES, dict(type='LoadAudio'),
                dict(type='CachedTransforms',
                     transforms=[dict(type='GenerateEventLabels', num_events=71, source='masks')]), *PACK]
    own = AVSSDataset(str(root), 'train', num_frames=10, pipeline=pipeline)
    negatives = list(NegativeAudio(own, share=1., kinds=['silence']))
    assert own[0]['data_samples'].gt_events[0, 1:].any()
    for path in root.rglob('labels_semantic/*.png'):
        write_image(path, np.zeros((36, 60), np.uint8))
    silent = AVSSDataset(str(root), 'train', num_frames=10, pipeline=pipeline)
    for negative, clip in zip(negatives, silent, strict=True):
        negative, clip = negative['data_samples'], clip['data_samples']
        assert torch.equal(negative.gt_sem_seg, clip.gt_sem_seg) and torch.equal(negative.gt_events, clip.gt_events)
        # Background is an event of labelled frames, others have none.
        assert torch.equal(clip.gt_events[:, 0], clip.labelled.float())


def test_unlabelled_pixels_of_negatives_stay_unlabelled(s4_root):
    crop = dict(type='ClipBroadcaster', transforms=[dict(type='Pad', size=(32, 32), pad_val=dict(img=0, seg=255))])
    dataset = AVSBenchS4Dataset(
        str(s4_root), 'train', pipeline=[*FRAMES, dict(type='LoadAudio'), crop, *PACK])
    masks = NegativeAudio(dataset, share=1.)[0]['data_samples'].gt_sem_seg
    assert not masks[0, :20, :24].any() and (masks[0, 20:] == 255).all() and (masks[0, :, 24:] == 255).all()


def test_negatives_depend_on_the_seed_of_the_index_only(s4_root):
    negative, again = (NegativeAudio(events_s4(s4_root), share=.4) for _ in range(2))
    order = [SeededIndex.draw(i % 6, 1000 + i) for i in range(60)]
    first = [negative[index] for index in order]
    np.random.seed(3)
    for i in np.random.permutation(60):  # as after a resume, or in other workers
        clip = again[order[i]]
        assert torch.equal(waveform(clip), waveform(first[i]))
        assert torch.equal(clip['data_samples'].gt_sem_seg, first[i]['data_samples'].gt_sem_seg)
    plain = events_s4(s4_root)
    drawn = [i for i in range(60) if not torch.equal(waveform(first[i]), waveform(plain[order[i]]))]
    assert drawn == [i for i in range(60) if not first[i]['data_samples'].gt_sem_seg[0].any()]


def test_share_and_kinds_of_negatives_are_as_stated(s4):
    plain = s4
    negative = NegativeAudio(s4, share=.5)
    own = {clip['data_samples'].clip_id: waveform(clip) for clip in plain}
    counts = dict.fromkeys(('own', 'silence', 'noise', 'off-screen'), 0)
    for i in range(480):
        clip = negative[SeededIndex.draw(i % 6, i)]
        sound, name = waveform(clip), clip['data_samples'].clip_id
        category = name.split('/')[0]
        if torch.equal(sound, own[name]):
            kind = 'own'
        elif not sound.any():
            kind = 'silence'
        else:
            sources = [other for other in own if torch.equal(own[other], sound)]
            assert all(other.split('/')[0] != category for other in sources)
            kind = 'off-screen' if sources else 'noise'
        counts[kind] += 1
    # Four standard deviations.
    assert abs(counts['own'] - 240) < 44 and all(abs(counts[kind] - 80) < 33 for kind in list(counts)[1:])


def test_negatives_of_unseeded_samplers_come_from_the_generator_of_the_worker(s4):
    negative = NegativeAudio(s4, share=.5)
    drawn = []
    for _ in range(2):
        np.random.seed(7)
        drawn.append([waveform(negative[i]) for i in range(6)])
    assert all(torch.equal(a, b) for a, b in zip(*drawn))
    silent = [not waveform(negative[i % 6]).any() for i in range(60)]
    assert any(silent) and not all(silent)


@pytest.mark.parametrize('options,message', [
    (dict(share=1.5), 'share is 1.5, expected'),
    (dict(kinds=['silence', 'mixture:0']), "of a mixture the clip's own sound is a part"),
    (dict(kinds=[]), 'expected at least one of'),
])
def test_wrong_arguments_of_negatives_are_refused(s4, options, message):
    with pytest.raises(ValueError, match=message):
        NegativeAudio(s4, **options)


def test_resumed_training_with_negatives_is_equal_to_the_bit(synthetic_root, tmp_path):
    (tmp_path / 'negatives.py').write_text(
        f"_base_ = '{os.path.abspath('tests/configs/vct_tiny_s4.py')}'\n"
        'train_dataloader = dict(dataset=dict(_delete_=True, type="NegativeAudio", share=0.6, '
        'dataset={{_base_.train_dataloader.dataset}}))\n')

    def train(name, iterations, **options):
        config = load_config(str(tmp_path / 'negatives.py'), {
            'train_dataloader.dataset.dataset.data_root': str(synthetic_root / 'Single-source'),
            'train_cfg.max_iters': iterations, 'log_level': 'WARNING', **options})
        config.val_dataloader = config.val_cfg = config.val_evaluator = None
        config.test_dataloader = config.test_cfg = config.test_evaluator = None
        config.work_dir = str(tmp_path / name)
        runner = build_runner(config)
        runner.train()
        assert isinstance(runner.train_dataloader.dataset, NegativeAudio)
        return runner.model.state_dict()

    whole = train('whole', 4)
    train('parts', 2)
    resumed = train('parts', 4, resume=True)
    assert all(torch.equal(resumed[key], value) for key, value in whole.items())
