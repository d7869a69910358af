"""Extraction of log-mel files from the wav files of a dataset."""
import os
import pickle
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from avsbench_tree import write_wav
from small_models import FRAME, small_config

from mmavs.checkpoint.tensor_file import load_tensor
from mmavs.datasets.check import DATASET_TYPES
from mmavs.datasets.log_mel_extraction import extract_log_mel
from mmavs.datasets.transforms import LoadAudio, PackClipInputs
from mmavs.models import VGGish
from mmavs.registry import MODELS
from mmavs.synthesis import synthesize_clips
from mmavs.synthesis.scenes import CATEGORIES

REPOSITORY = Path(__file__).parents[1]
METAINFO = dict(s4=dict(events=CATEGORIES), ms3=None, avss=dict(classes=('background', *CATEGORIES)))
NUM_EXAMPLES = dict(s4=5, ms3=5, avss=10)
TOOL = 'dataset_converters/extract_log_mel'


@pytest.fixture(scope='module')
def synthetic(tmp_path_factory):
    """Data roots of each subset, without log-mel files."""
    out = tmp_path_factory.mktemp('synthetic')
    roots = {subset: synthesize_clips(out, subset, 2, 1, 1, size=FRAME) for subset in NUM_EXAMPLES}
    for root in roots.values():
        for path in Path(root).rglob('*.pkl'):
            path.unlink()
    return roots


@pytest.fixture
def ms3(synthetic, tmp_path):
    """A copy of MS3 for a test to damage."""
    return Path(shutil.copytree(synthetic['ms3'], tmp_path / 'ms3'))


def list_clips(root, subset):
    build = partial(DATASET_TYPES[subset], str(root), metainfo=METAINFO[subset], lazy_init=True)
    return [clip for split in ('train', 'val', 'test') for clip in build(split=split).list_clips()]


def vggish():
    return VGGish(output='conv', channels=(1, ) * 6)


@pytest.mark.parametrize('subset', NUM_EXAMPLES)
def test_files_hold_the_log_mel_that_vggish_computes_from_the_waveform(synthetic, subset):
    root = synthetic[subset]
    done = extract_log_mel(root, subset, METAINFO[subset], overwrite=True)
    assert (done.written, done.kept, done.without_audio, done.problems) == (4, 0, 0, [])
    for clip in list_clips(root, subset):
        published = pickle.loads(Path(clip['log_mel_path']).read_bytes())
        assert published.shape == (NUM_EXAMPLES[subset], 1, 96, 64) and published.dtype == torch.float32
        assert os.path.getsize(clip['log_mel_path']) < 1.05 * published.nelement() * 4
        torch.testing.assert_close(load_tensor(clip['log_mel_path']), published, rtol=0, atol=0)
        stored = LoadAudio('log_mel', short_log_mel='zeros')(dict(clip))['log_mel']
        waveform = torch.from_numpy(LoadAudio()(dict(clip))['waveform'])[None]
        expected = vggish().log_mel_examples(waveform)[0]
        assert len(stored) == len(clip['frame_paths']) == len(expected)
        np.testing.assert_allclose(stored, expected.numpy(), rtol=0, atol=1e-6)
        assert (published[len(clip['frame_paths']):] == 0).all()
    assert not list(Path(root).rglob('*.partial'))


@pytest.mark.parametrize('subset', NUM_EXAMPLES)
def test_the_model_predicts_the_same_from_the_file_and_from_the_waveform(synthetic, subset):
    root = synthetic[subset]
    extract_log_mel(root, subset, METAINFO[subset])
    torch.manual_seed(0)
    model = MODELS.build(small_config(REPOSITORY / f'configs/avsegformer/avsegformer_r50_{subset}.py'))
    model.eval()
    results = []
    for source in ('waveform', 'log_mel'):
        steps = [dict(type='LoadClipFrames'), dict(type='LoadClipMasks'), dict(type='LoadAudio', source=source),
                 PackClipInputs()]
        clip = DATASET_TYPES[subset](str(root), split='val', metainfo=METAINFO[subset], pipeline=steps)[0]
        assert source in clip['inputs']
        batch = dict(
            inputs={key: [value] for key, value in clip['inputs'].items()}, data_samples=[clip['data_samples']])
        with torch.no_grad():
            batch = model.data_preprocessor(batch)
            results.append((model.audio_backbone(batch['inputs'][source], 5), model(**batch, mode='tensor')))
    assert results[0][0].std() > 0
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('subset', ['s4', 'ms3'])
def test_short_audio_of_5_frames_repeats_its_last_example(synthetic, subset, tmp_path):
    root = shutil.copytree(synthetic[subset], tmp_path / subset)
    clip = list_clips(root, subset)[0]
    write_wav(Path(clip['audio_path']), 3.0, rate=44100, channels=2)
    extract_log_mel(root, subset, METAINFO[subset], overwrite=True)
    stored = load_tensor(clip['log_mel_path'])
    assert len(stored) == 5 and not torch.equal(stored[1], stored[2])
    assert torch.equal(stored[2], stored[3]) and torch.equal(stored[2], stored[4])


def test_audio_of_avss_is_padded_with_zeros_or_cut(synthetic, tmp_path):
    root = shutil.copytree(synthetic['avss'], tmp_path / 'avss')
    short, long = list_clips(root, 'avss')[:2]
    write_wav(Path(short['audio_path']), 3.0)
    write_wav(Path(long['audio_path']), 12.0)
    extract_log_mel(root, 'avss', METAINFO['avss'], overwrite=True)
    stored = load_tensor(short['log_mel_path'])
    assert len(stored) == 10 and stored[:3].flatten(1).ne(0).any(1).all() and (stored[3:] == 0).all()
    assert load_tensor(long['log_mel_path']).shape == (10, 1, 96, 64)


def test_existing_files_are_replaced_only_when_asked(ms3, run_tool, capsys):
    paths = [Path(clip['log_mel_path']) for clip in list_clips(ms3, 'ms3')]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    for path in paths:
        path.unlink(missing_ok=True)
    paths[0].write_bytes(b'published')
    for options, written, kept in ((), 3, 1), ((), 0, 4), (('--overwrite', ), 4, 0):
        with pytest.raises(SystemExit) as stop:
            run_tool(TOOL, ms3, '--subset', 'ms3', *options)
        assert not stop.value.code
        assert f'{written} log-mel file(s) written in {ms3}, {kept} kept as they were' in capsys.readouterr().err
        assert (paths[0].read_bytes() == b'published') == (not options)
    assert load_tensor(paths[0]).shape == (5, 1, 96, 64)


def test_each_unusable_wav_file_is_named_and_the_others_are_written(ms3, run_tool, capsys):
    clips = list_clips(ms3, 'ms3')
    cut, short, missing, good = (Path(clip['audio_path']) for clip in clips)
    cut.write_bytes(cut.read_bytes()[:1000])
    soundfile.write(short, np.zeros(8000), 16000)
    missing.unlink()
    with pytest.raises(SystemExit) as stop:
        run_tool(TOOL, ms3, '--subset', 'ms3', '--overwrite')
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert stop.value.code == 1 and len(lines) == 2
    assert lines[0].startswith(f"train {clips[0]['clip_id']}: {cut}: truncated audio file")
    assert lines[1].startswith(f"train {clips[1]['clip_id']}: {short}: 0.500 s of audio is too short")
    assert '1 log-mel file(s) written' in printed.err and '2 wav file(s) that cannot be used' in printed.err
    assert os.path.exists(clips[3]['log_mel_path']) and good.exists()


def test_a_subset_without_log_mel_files_and_a_missing_list_are_errors(tmp_path, run_tool):
    with pytest.raises(ValueError, match="subset is 'vpo-ss', expected s4, ms3, avss"):
        extract_log_mel(tmp_path, 'vpo-ss')
    with pytest.raises(SystemExit, match=r'error: .*ms3_meta_data\.csv'):
        run_tool(TOOL, tmp_path, '--subset', 'ms3')
