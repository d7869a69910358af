"""What the data path does not do twice: read, decode and copy."""
import mmcv.transforms
import numpy as np
import pytest
import soundfile
import torch
from avsbench_tree import write_ms3, write_wav
from torch.utils.data import DataLoader

from mmavs.audio.io import read_waveform
from mmavs.datasets import AVSBenchMS3Dataset
from mmavs.datasets.transforms import LoadAudio, LoadClipFrames, LoadClipMasks, Pad, formatting
from mmavs.datasets.transforms.formatting import PackClipInputs
from mmavs.models import AVSDataPreprocessor


@pytest.mark.parametrize(('first', 'decoded'), [(0, 16000), (3, 16000), (10, 6400), (11, 0)])
def test_only_the_seconds_of_the_frames_are_decoded(tmp_path, monkeypatch, first, decoded):
    path, counts, read = tmp_path / 'x.wav', [], soundfile.SoundFile.read
    write_wav(path, 10.0)
    whole = np.pad(read_waveform(path), (0, 200000))
    monkeypatch.setattr(soundfile.SoundFile, 'read', lambda self, frames, **options: (
        counts.append(frames) or read(self, frames, **options)))
    clip = dict(audio_path=str(path), log_mel_path=None, clip_id='x', frame_paths=['0.png'], first_frame=first)
    loaded = LoadAudio(mark_end=True)(clip)
    assert sum(counts) == loaded['num_samples'] == decoded
    start = first * 15360
    np.testing.assert_array_equal(loaded['waveform'], whole[start:start + 16000])


@pytest.mark.parametrize('first', [0, 1, 2])
def test_audio_of_less_than_one_example_is_an_error_for_every_frame(tmp_path, first):
    path = tmp_path / 'x.wav'
    clip = dict(audio_path=str(path), log_mel_path=None, clip_id='x', frame_paths=['0.png'], first_frame=first)
    write_wav(path, 0.97)
    with pytest.raises(ValueError, match='0.970 s of audio is too short'):
        LoadAudio()(clip)
    write_wav(path, 0.98)
    assert LoadAudio()(clip)['waveform'].shape == (16000, )


def test_frames_are_packed_in_their_layout_and_in_shared_memory_in_a_worker(tmp_path, monkeypatch):
    pipeline = [LoadClipFrames(), LoadClipMasks(), LoadAudio(), PackClipInputs()]
    dataset = AVSBenchMS3Dataset(str(write_ms3(tmp_path, clips=1)), 'train', pipeline=pipeline)
    here = dataset[0]
    frames = here['inputs']['frames']
    assert frames.shape == (5, 3, 40, 48) and frames.permute(0, 2, 3, 1).is_contiguous() and not frames.is_shared()
    with monkeypatch.context() as patch:
        patch.setattr(formatting, 'get_worker_info', object)
        packed = dataset[0]
    assert packed['inputs']['frames'].is_shared() and packed['data_samples'].gt_sem_seg.is_shared()
    for clip in (packed, *DataLoader(dataset, batch_size=None, num_workers=1)):
        assert torch.equal(clip['inputs']['frames'], frames)
        assert torch.equal(clip['data_samples'].gt_sem_seg, here['data_samples'].gt_sem_seg)


def test_frames_go_to_the_device_as_bytes_and_are_normalized_there(monkeypatch):
    preprocessor, moved = AVSDataPreprocessor(), []
    cast = preprocessor.cast_data
    monkeypatch.setattr(preprocessor, 'cast_data', lambda data: moved.append(data) or cast(data))
    for sizes in ([(64, 64), (64, 64)], [(64, 64), (40, 64)]):
        clips = [torch.randint(256, (2, *size, 3), dtype=torch.uint8).permute(0, 3, 1, 2) for size in sizes]
        moved.clear()
        batch = preprocessor(dict(inputs=[dict(frames=clip) for clip in clips]), training=True)['inputs']['frames']
        assert [data.dtype for data in moved] == [torch.uint8, torch.uint8]
        assert batch.is_contiguous() and batch.shape == (2, 2, 3, 64, 64)
        for frames, clip in zip(batch, clips):
            expected = (clip.float() - preprocessor.mean) / preprocessor.std
            assert torch.equal(frames[..., :clip.shape[-2], :], expected)
            assert not frames[..., clip.shape[-2]:, :].any()


def test_images_that_have_the_size_are_not_copied():
    random = np.random.default_rng(0)
    options = dict(size=(48, 40), pad_val=dict(img=128, seg=255))  # width, height
    for height in (40, 30):
        results = dict(
            img=random.integers(0, 256, (height, 48, 3), np.uint8), gt_seg_map=np.eye(height, 48, dtype=np.uint8))
        padded, expected = Pad(**options)(dict(results)), mmcv.transforms.Pad(**options)(dict(results))
        for key in results:
            np.testing.assert_array_equal(padded[key], expected[key])
            assert (padded[key] is results[key]) == (height == 40)
