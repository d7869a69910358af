"""Audio conditions: definition, reproducibility, and targets of training with negative audio."""
import csv
import os

import numpy as np
import pytest
import soundfile
import torch
from avsbench_tree import write_avss, write_csv, write_image, write_ms3, write_s4, write_wav

from mmavs.datasets import AVSBenchMS3Dataset, AVSBenchS4Dataset, AVSSDataset, NegativeAudio, ReplaceAudio, SingleFrames
from mmavs.datasets.samplers import SeededIndex
from mmavs.datasets.wrappers.audio_conditions import AudioCondition, mix_at_snr, sounding_classes
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
    """S4 with 6 clips in each split, of two alternating categories, each of another loudness."""
    root = write_s4(tmp_path_factory.mktemp('s4'), clips=6, size=(20, 24))
    for i, path in enumerate(sorted(root.rglob('*.wav'))):
        samples = np.random.default_rng(i).normal(0, 0.02 + 0.01 * (i % 6), 5 * 16000)
        soundfile.write(path, samples, 16000, subtype='PCM_16')
    return root


@pytest.fixture(scope='module')
def s4(s4_root):
    """Its test clips, cached."""
    return AVSBenchS4Dataset(str(s4_root), 'test', pipeline=PIPELINE)


@pytest.mark.parametrize('text,kind,level', [
    ('silence', ('silence', None), ''),
    ('noise', ('noise', None), 'original RMS'),
    ('noise:-20', ('noise', -20.), '-20 dBFS'),
    ('mixture:2.5', ('mixture', 2.5), '2.5 dB SNR'),
])
def test_conditions_are_described_with_their_level(text, kind, level):
    assert AudioCondition.parse(text) == kind and AudioCondition.parse(text).level_text == level


@pytest.mark.parametrize('text,message', [
    ('noisy', "'noisy' is not an audio condition, expected one of silence, noise, off-screen"),
    ('mixture', "mixture needs a level in dB SNR, 'mixture:0' for example"),
    ('silence:3', 'silence has no level'),
    ('noise:loud', "the level 'loud' is not a number"),
])
def test_invalid_conditions_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        AudioCondition.parse(text)


def test_only_the_audio_changes(s4):
    plain = s4
    for kind in ('silence', 'noise', 'noise:-20', 'off-screen', 'mixture:0'):
        replaced = ReplaceAudio(s4, kind)
        assert len(replaced) == len(plain) and replaced.metainfo == plain.metainfo
        for original, other in zip(plain, replaced):
            assert waveform(other).shape == waveform(original).shape and waveform(other).dtype == torch.float32
            assert not torch.equal(waveform(other), waveform(original))
            assert torch.equal(original['inputs']['frames'], other['inputs']['frames'])
            assert torch.equal(original['data_samples'].gt_sem_seg, other['data_samples'].gt_sem_seg)
            assert original['data_samples'].clip_id == other['data_samples'].clip_id


def test_noise_has_the_level_of_the_original_audio_or_the_stated_one(s4):
    plain, matched, fixed = s4, ReplaceAudio(s4, 'noise'), ReplaceAudio(s4, 'noise:-20')
    for original, same, other in zip(plain, matched, fixed):
        assert rms(waveform(same)) == pytest.approx(rms(waveform(original)), rel=0.01)
        assert rms(waveform(other)) == pytest.approx(0.1, rel=0.01)
        # White: neighboring samples are uncorrelated, and all can be stored with 16 bit.
        assert abs((waveform(other)[1:] * waveform(other)[:-1]).mean() / 0.01) < 0.02
    loud = ReplaceAudio(s4, 'noise:0')[0]
    assert waveform(loud).min() == -1 and waveform(loud).max() == 1 - 2**-15
    assert not any(waveform(clip).any() for clip in ReplaceAudio(s4, 'silence'))


def test_audio_of_a_clip_does_not_depend_on_its_position_in_the_list(s4, s4_root):
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


def test_off_screen_audio_comes_from_a_clip_of_another_category(s4):
    plain, replaced = s4, ReplaceAudio(s4, 'off-screen')
    original = {clip['data_samples'].clip_id: waveform(clip) for clip in plain}
    for clip, row in zip(replaced, replaced.manifest):
        assert row['clip'] == clip['data_samples'].clip_id
        assert row['clip'].split('/')[0] != row['source'].split('/')[0] and row['class_overlap'] == 'disjoint'
        assert torch.equal(waveform(clip), original[row['source']])
    assert len({row['source'] for row in replaced.manifest}) > 2
    assert replaced.get_data_info(0)['audio_clip_id'] == replaced.manifest[0]['source']


def write_labelled_ms3(root, labels, column='sounding'):
    """MS3 whose CSV file lists the sounding and the visible classes of the test clips."""
    write_ms3(root, clips=len(labels))
    rows = [[f'test_{i}', 'test', *label] for i, label in enumerate(labels)]
    write_csv(root / 'ms3_meta_data.csv', f'video_id,split,{column},visible', rows)
    return AVSBenchMS3Dataset(str(root), 'test', pipeline=PIPELINE)


@pytest.mark.parametrize('column', ['sounding', 'heard', 'a_obj'])
def test_off_screen_audio_is_of_classes_neither_sounding_nor_visible_in_the_clip(tmp_path, column):
    labels = [('dog', 'dog_cat'), ('cat', ''), ('dog_horn', ''), ('horn', 'cat')]
    dataset = write_labelled_ms3(tmp_path, labels, column)
    replaced = ReplaceAudio(dataset, 'off-screen')
    # The cat is visible in the clips 0 and 3, and the horn of 3 sounds in 2. For 2, only the audio of the cat is left.
    assert {row['clip']: row['source'] for row in replaced.manifest} == {
        'test_0': 'test_3', 'test_1': replaced.manifest[1]['source'], 'test_2': 'test_1', 'test_3': 'test_0'}
    assert replaced.manifest[1]['source'] in ('test_0', 'test_2', 'test_3')


def test_clips_without_off_screen_audio_are_left_out(tmp_path):
    dataset = write_labelled_ms3(tmp_path, [('dog', ''), ('dog', 'cat'), ('cat', '')])
    replaced = ReplaceAudio(dataset, 'off-screen')
    assert [clip['data_samples'].clip_id for clip in replaced] == ['test_0', 'test_2'] and len(replaced) == 2
    alike = write_labelled_ms3(tmp_path / 'alike', [('dog', ''), ('dog', '')])
    with pytest.raises(ValueError, match="no clip of the split 'test' has another clip with disjoint sounding classes"):
        ReplaceAudio(alike, 'off-screen')


def test_unknown_classes_are_recorded_in_tests_and_refused_in_training(tmp_path):
    dataset = AVSBenchMS3Dataset(str(write_ms3(tmp_path, clips=3)), 'test', pipeline=PIPELINE)
    replaced = ReplaceAudio(dataset, 'off-screen')
    assert [row['class_overlap'] for row in replaced.manifest] == ['unknown'] * 3
    assert all(row['clip'] != row['source'] for row in replaced.manifest)
    with pytest.raises(ValueError, match=r'sounding classes of 3 of 3 clips \(test_0, ...\) are unknown.*column a_obj'):
        NegativeAudio(dataset)
    assert len(NegativeAudio(dataset, kinds=['silence', 'noise'])) == 3


def test_sounding_classes_of_avss_come_from_its_masks_and_other_clips_have_as_many_frames(tmp_path):
    dataset = AVSSDataset(str(write_avss(tmp_path)), 'test', num_frames=10, pipeline=PIPELINE)
    sounding = [sounding_classes(clip, dataset.metainfo['classes']) for clip in map(dataset.get_data_info, range(3))]
    # avsbench_tree: class 17 in every frame, class i + 5 in frame i of the test split; a_obj is dog.
    assert sounding[0] == {'dog', *dataset.metainfo['classes'][5:10]}
    assert sounding[2] == {'dog', *dataset.metainfo['classes'][5:15]}
    with pytest.raises(ValueError, match='as many frames'):
        ReplaceAudio(dataset, 'off-screen')


def test_mixture_has_the_stated_ratio(s4):
    plain, replaced = s4, ReplaceAudio(s4, 'mixture:6')
    for original, mixed in zip(plain, replaced):
        added = waveform(mixed) - waveform(original)
        assert 20 * np.log10(rms(waveform(original)) / rms(added)) == pytest.approx(6, abs=0.01)
    # The same distractor as without the original audio.
    assert [row['source'] for row in replaced.manifest] == [
        row['source'] for row in ReplaceAudio(s4, 'off-screen').manifest]
    assert replaced.manifest[0]['level'] == '6 dB SNR'


def test_mixture_stays_within_full_scale_and_is_the_signal_if_either_is_silent():
    tone = np.sin(np.arange(1000, dtype=np.float32))
    mix = mix_at_snr(tone, tone, 0)
    assert np.abs(mix).max() == pytest.approx(1) and mix.dtype == np.float32
    np.testing.assert_allclose(mix, tone / np.abs(tone).max(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(mix_at_snr(tone, np.zeros_like(tone), 0), tone)
    assert not mix_at_snr(np.zeros_like(tone), tone, 0).any()


def test_audio_of_absent_classes_comes_from_a_directory(s4, tmp_path):
    write_wav(tmp_path / 'thunder/a.wav', seconds=1.5)
    write_wav(tmp_path / 'cow.flac', seconds=7, rate=44100, channels=2)
    replaced = ReplaceAudio(s4, 'absent-class', str(tmp_path))
    files = {os.path.basename(row['source']) for row in replaced.manifest}
    assert files == {'a.wav', 'cow.flac'}
    short = next(i for i, row in enumerate(replaced.manifest) if row['source'].endswith('a.wav'))
    repeated = waveform(replaced[short])
    # Without silence at the end, which would reveal it.
    assert repeated.shape == (80000, ) and repeated[-100:].any()
    assert torch.equal(repeated[:24000], repeated[24000:48000])
    with pytest.raises(ValueError, match="'absent-class' needs absent_audio, a directory"):
        ReplaceAudio(s4, 'absent-class')
    with pytest.raises(FileNotFoundError, match='no audio file'):
        ReplaceAudio(s4, 'absent-class', str(tmp_path / 'none'))


def test_negative_audio_takes_the_former_name_of_absent_audio(s4, tmp_path):
    write_wav(tmp_path / 'thunder.wav', level=0.3)
    options = dict(share=1., kinds=['absent-class'])
    new, old = (NegativeAudio(s4, **options, **{key: str(tmp_path)}) for key in ('absent_audio', 'absent_sounds'))
    assert torch.equal(waveform(new[0]), waveform(old[0])) and rms(waveform(new[0])) > 0.2


def test_replaced_audio_ends_where_the_original_audio_ends(tmp_path):
    root = write_s4(tmp_path, clips=2, size=(20, 24))
    shorter = root / 's4_data/audio_wav/test/dog_barking/test0.wav'
    write_wav(shorter, seconds=3)
    pipeline = [*FRAMES, dict(type='LoadAudio', mark_end=True), *PACK]
    dataset = AVSBenchS4Dataset(str(root), 'test', pipeline=pipeline)
    for kind in ('noise', 'off-screen', 'mixture:0'):
        inputs = ReplaceAudio(dataset, kind)[0]['inputs']
        assert inputs['num_samples'] == 48000
        assert inputs['waveform'][47900:48000].any() and not inputs['waveform'][48000:].any()
    # Audio of another clip that is shorter than the original.
    assert ReplaceAudio(dataset, 'off-screen')[1]['inputs']['num_samples'] == 48000
    assert ReplaceAudio(dataset, 'silence')[0]['inputs']['num_samples'] == 48000


def test_pipelines_without_waveforms_are_refused(s4_root):
    for load, found in (([dict(type='LoadAudio', source='log_mel')], 'log-mel examples'), ([], 'no audio')):
        dataset = AVSBenchS4Dataset(str(s4_root), 'test', pipeline=[*FRAMES, *load, *PACK])
        for wrapper, options in ((ReplaceAudio, dict(kind='noise')), (NegativeAudio, {})):
            with pytest.raises(ValueError, match=rf"s4_meta_data\.csv: the pipeline loads {found}.*source='waveform'"):
                wrapper(dataset, **options)


def test_manifest_is_a_csv_file(s4, tmp_path):
    replaced = ReplaceAudio(s4, 'off-screen')
    write_manifest(tmp_path / 'manifest.csv', replaced.manifest)
    with open(tmp_path / 'manifest.csv') as file:
        rows = list(csv.DictReader(file))
    assert rows == [{key: str(value) for key, value in row.items()} for row in replaced.manifest]
    assert list(rows[0]) == ['clip', 'kind', 'source', 'seed', 'level', 'class_overlap']


def test_synthetic_clips_list_their_sounding_and_visible_classes(tmp_path):
    clips = synthesize_clips(str(tmp_path), 'avss', 3, 0, 0, size=32)
    dataset = AVSSDataset(str(clips), 'train', metainfo=dict(classes=('background', *CATEGORIES)), pipeline=PIPELINE)
    for clip in map(dataset.get_data_info, range(3)):
        scene = _sample('avss', 'train', int(clip['clip_id'][-5:]), 0)[0]
        assert set(clip['sounding']) == {source.category for source in scene.sources}
        assert set(clip['visible']) == {item.category for item in scene.objects}


@pytest.mark.parametrize('flag', ['--absent-audio', '--absent-sounds'])
def test_tool_writes_audio_of_absent_classes(tmp_path, run_tool, flag):
    run_tool('dataset_converters/synthesize_clips', tmp_path / 'absent', flag, 4)
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


def test_negative_audio_empties_the_masks_of_labelled_frames_and_the_events(s4_root):
    plain, negative = events_s4(s4_root), NegativeAudio(events_s4(s4_root), share=1.)
    for position in range(6):
        index = SeededIndex.draw(position, 100 + position)
        original, clip = plain[index]['data_samples'], negative[index]
        sample = clip['data_samples']
        assert original.gt_sem_seg[0].any() and original.gt_events.any()
        assert not sample.gt_sem_seg[0].any() and (sample.gt_sem_seg[1:] == 255).all()
        assert not sample.gt_events.any() and torch.equal(sample.labelled, original.labelled)
        assert sample.gt_sem_seg.shape == original.gt_sem_seg.shape and sample.clip_id == original.clip_id
        # The same augmentation as without negative audio.
        assert torch.equal(clip['inputs']['frames'], plain[index]['inputs']['frames'])
        assert not torch.equal(waveform(clip), waveform(plain[index]))
    assert torch.equal(waveform(NegativeAudio(events_s4(s4_root), share=0.)[0]), waveform(plain[0]))


def test_events_of_negative_audio_are_those_of_a_clip_without_sounding_objects(tmp_path):
    root = write_avss(tmp_path)
    pipeline = [*FRAMES, dict(type='LoadAudio'),
                dict(type='CachedTransforms',
                     transforms=[dict(type='GenerateEventLabels', num_events=71, source='masks')]), *PACK]
    original = AVSSDataset(str(root), 'train', num_frames=10, pipeline=pipeline)
    negatives = list(NegativeAudio(original, share=1., kinds=['silence']))
    assert original[0]['data_samples'].gt_events[0, 1:].any()
    for path in root.rglob('labels_semantic/*.png'):
        write_image(path, np.zeros((36, 60), np.uint8))
    silent = AVSSDataset(str(root), 'train', num_frames=10, pipeline=pipeline)
    for negative, clip in zip(negatives, silent, strict=True):
        negative, clip = negative['data_samples'], clip['data_samples']
        assert torch.equal(negative.gt_sem_seg, clip.gt_sem_seg) and torch.equal(negative.gt_events, clip.gt_events)
        # Background is an event of labelled frames, others have none.
        assert torch.equal(clip.gt_events[:, 0], clip.labelled.float())


@pytest.mark.parametrize('cached', [True, False])
def test_negative_audio_of_single_frames(tmp_path, cached):
    steps = [*FRAMES, dict(type='LoadAudio')]
    if cached:
        steps = [dict(type='CachedTransforms', transforms=steps)]
    root = write_ms3(tmp_path)
    clips = AVSBenchMS3Dataset(str(root), 'train', pipeline=[*steps, *PACK])
    negative = NegativeAudio(SingleFrames(clips), share=1., kinds=['noise'])
    whole = AVSBenchMS3Dataset(str(root), 'train', pipeline=[*FRAMES, dict(type='LoadAudio'), *PACK])
    assert len(negative) == 5 * len(whole)
    for i, frame in enumerate(negative):
        clip = whole[i // 5]
        assert torch.equal(frame['inputs']['frames'][0], clip['inputs']['frames'][i % 5])
        assert waveform(frame).shape == (16000, )
        assert not torch.equal(waveform(frame), waveform(clip)[i % 5 * 16000:][:16000])
        assert clip['data_samples'].gt_sem_seg[i % 5].any() and not frame['data_samples'].gt_sem_seg.any()


def test_unlabelled_pixels_stay_unlabelled_with_negative_audio(s4_root):
    crop = dict(type='ClipBroadcaster', transforms=[dict(type='Pad', size=(32, 32), pad_val=dict(img=0, seg=255))])
    dataset = AVSBenchS4Dataset(
        str(s4_root), 'train', pipeline=[*FRAMES, dict(type='LoadAudio'), crop, *PACK])
    masks = NegativeAudio(dataset, share=1.)[0]['data_samples'].gt_sem_seg
    assert not masks[0, :20, :24].any() and (masks[0, 20:] == 255).all() and (masks[0, :, 24:] == 255).all()


def test_negative_audio_depends_on_the_seed_of_the_index_only(s4_root):
    negative, again = (NegativeAudio(events_s4(s4_root), share=.4) for _ in range(2))
    order = [SeededIndex.draw(i % 6, 1000 + i) for i in range(60)]
    first = [negative[index] for index in order]
    np.random.seed(3)
    for i in np.random.permutation(60):  # as after a resume, or in other workers
        clip = again[order[i]]
        assert torch.equal(waveform(clip), waveform(first[i]))
        assert torch.equal(clip['data_samples'].gt_sem_seg, first[i]['data_samples'].gt_sem_seg)
    plain = events_s4(s4_root)
    negatives = [i for i in range(60) if not torch.equal(waveform(first[i]), waveform(plain[order[i]]))]
    assert negatives == [i for i in range(60) if not first[i]['data_samples'].gt_sem_seg[0].any()]


def test_negative_audio_has_the_stated_share_and_kinds(s4):
    plain = s4
    negative = NegativeAudio(s4, share=.5)
    original = {clip['data_samples'].clip_id: waveform(clip) for clip in plain}
    counts = dict.fromkeys(('original', 'silence', 'noise', 'off-screen'), 0)
    for i in range(480):
        clip = negative[SeededIndex.draw(i % 6, i)]
        audio, name = waveform(clip), clip['data_samples'].clip_id
        category = name.split('/')[0]
        if torch.equal(audio, original[name]):
            kind = 'original'
        elif not audio.any():
            kind = 'silence'
        else:
            sources = [other for other in original if torch.equal(original[other], audio)]
            assert all(other.split('/')[0] != category for other in sources)
            kind = 'off-screen' if sources else 'noise'
        counts[kind] += 1
    # Four standard deviations.
    assert abs(counts['original'] - 240) < 44 and all(abs(counts[kind] - 80) < 33 for kind in list(counts)[1:])


def test_negative_audio_of_unseeded_samplers_comes_from_the_generator_of_the_worker(s4):
    negative = NegativeAudio(s4, share=.5)
    runs = []
    for _ in range(2):
        np.random.seed(7)
        runs.append([waveform(negative[i]) for i in range(6)])
    assert all(torch.equal(a, b) for a, b in zip(*runs))
    silent = [not waveform(negative[i % 6]).any() for i in range(60)]
    assert any(silent) and not all(silent)


@pytest.mark.parametrize('options,message', [
    (dict(share=1.5), 'share is 1.5, expected'),
    (dict(kinds=['silence', 'mixture:0']), 'a mixture contains the original audio'),
    (dict(kinds=[]), 'expected at least one of'),
])
def test_invalid_arguments_of_negative_audio_are_refused(s4, options, message):
    with pytest.raises(ValueError, match=message):
        NegativeAudio(s4, **options)


def test_resumed_training_with_negative_audio_is_equal_to_the_bit(synthetic_root, tmp_path):
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
