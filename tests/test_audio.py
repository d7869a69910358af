"""Audio files: decoding, sections, channels, sampling rates and errors; the audio of long clips."""
import struct

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from mmavs.audio.io import AUDIO_SUFFIXES, audio_seconds, read_stereo_waveform, read_waveform, waveform_length
from mmavs.audio.log_mel import min_seconds
from mmavs.audio.resampling import resample
from mmavs.datasets.transforms.audio import LoadAudio, read_center
from mmavs.models.audio_backbones import AudioBackbone, BEATs, VGGish
from mmavs.models.audio_backbones.base import fit_waveforms


def sine(rate, seconds=1.0, frequency=440):
    return np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


def test_int16_samples_are_divided_by_their_full_scale(tmp_path):
    samples = np.array([-32768, -1, 0, 1, 32767], dtype=np.int16)
    soundfile.write(tmp_path / 'x.wav', samples, 16000)
    waveform = read_waveform(tmp_path / 'x.wav')
    assert waveform.dtype == np.float32
    np.testing.assert_array_equal(waveform, samples.astype(np.float32) / 32768)


@pytest.mark.parametrize('suffix', ['wav', 'flac', 'ogg'])
def test_channels_are_averaged(tmp_path, suffix):
    left, right = sine(16000), sine(16000, frequency=880)
    soundfile.write(tmp_path / f'x.{suffix}', 0.5 * np.stack([left, right], 1), 16000)
    expected = 0.25 * (left + right)
    tolerance = 0.05 if suffix == 'ogg' else 1e-4
    np.testing.assert_allclose(read_waveform(tmp_path / f'x.{suffix}'), expected, atol=tolerance)


@pytest.mark.parametrize('rate', [8000, 11025, 22050, 44100, 44101, 48000])
def test_resampling_preserves_a_tone(rate):
    resampled = resample(sine(rate, 2), rate, 16000)
    assert resampled.shape == (32000,) and resampled.dtype == np.float32
    np.testing.assert_allclose(resampled[400:-400], sine(16000, 2)[400:-400], atol=2e-6)


def test_resampling_removes_frequencies_above_the_new_nyquist_frequency():
    assert np.abs(resample(sine(48000, frequency=9000), 48000, 16000)[400:-400]).max() < 1e-4


def test_an_equal_rate_changes_nothing():
    waveform = sine(16000).astype(np.float32)
    np.testing.assert_array_equal(resample(waveform, 16000, 16000), waveform)


def test_float_samples_are_clipped_to_full_scale(tmp_path):
    soundfile.write(tmp_path / 'x.wav', np.array([0.5, 1.5, -3.0]), 16000, subtype='FLOAT')
    np.testing.assert_array_equal(read_waveform(tmp_path / 'x.wav'), np.float32([0.5, 1, -1]))


def test_silence_is_read(tmp_path):
    soundfile.write(tmp_path / 'x.wav', np.zeros(100), 16000)
    np.testing.assert_array_equal(read_waveform(tmp_path / 'x.wav'), np.zeros(100, np.float32))


def write_nan(path):
    soundfile.write(path, np.array([0, np.nan, 0]), 16000, subtype='FLOAT')


def write_unscaled(path):
    soundfile.write(path, 20000 * sine(16000), 16000, subtype='FLOAT')


def write_empty(path):
    soundfile.write(path, np.zeros(0), 16000)


def write_text(path):
    path.write_text('no audio at all')


def write_truncated(path):
    soundfile.write(path, sine(16000), 16000)
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(('write', 'message'), [
    (write_nan, '1 of 3 samples are NaN'),
    (write_unscaled, 'largest sample is 20000'),
    (write_empty, 'holds no sample'),
    (write_text, 'not a readable audio file'),
    (write_truncated, 'truncated'),
])
def test_an_unusable_file_is_refused_by_name(tmp_path, write, message):
    path = tmp_path / 'clip.wav'
    write(path)
    with pytest.raises(ValueError, match=message) as error:
        read_waveform(path)
    assert str(path) in str(error.value)


def test_a_truncated_flac_is_refused(tmp_path):
    path = tmp_path / 'clip.flac'
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, 48000), 16000)
    path.write_bytes(path.read_bytes()[:30000])
    with pytest.raises(ValueError, match='clip.flac'):
        read_waveform(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='absent.wav'):
        read_waveform(tmp_path / 'absent.wav')


@pytest.mark.parametrize('rate', [8000, 16000, 44100, 48000])
@pytest.mark.parametrize(('format', 'subtype'), [('WAV', 'FLOAT'), ('FLAC', 'PCM_16'), ('OGG', 'VORBIS')])
def test_a_section_equals_that_of_the_whole_waveform(tmp_path, rate, format, subtype):
    path = tmp_path / f'x.{format.lower()}'
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (3 * rate, 2))
    soundfile.write(path, samples, rate, format=format, subtype=subtype)
    whole = read_waveform(path)
    assert len(whole) == waveform_length(path) == 48000
    for start, stop in ((0, 16000), (5001, 21000), (20000, None), (47999, 10**9), (10**9, 10**9 + 5)):
        np.testing.assert_array_equal(read_waveform(path, start=start, stop=stop), whole[start:stop])
    stereo = read_stereo_waveform(path)
    np.testing.assert_array_equal(read_stereo_waveform(path, start=5001, stop=6000), stereo[:, 5001:6000])
    np.testing.assert_array_equal(read_center(path, 8000), whole[20000:28000])
    np.testing.assert_array_equal(read_center(path, 50000), np.concatenate([whole, whole[:2000]]))


def test_the_end_of_a_long_soundtrack_is_not_read(tmp_path):
    path = tmp_path / 'x.wav'
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 20 * 44100)
    expected = resample(samples.astype(np.float32), 44100, 16000)[:80000]
    samples[6 * 44100:] = np.nan
    soundfile.write(path, samples, 44100, subtype='FLOAT')
    clip = dict(audio_path=path, frame_paths=[None] * 5, valid=[True] * 5, clip_id='x')
    np.testing.assert_array_equal(LoadAudio()(dict(clip))['waveform'], expected)
    assert LoadAudio().check_files(clip).endswith('x.wav: 20 s of audio for 5 frames')
    with pytest.raises(ValueError, match='are NaN'):
        audio_seconds(path)


# Lengths that programs write if they do not know them: recorders 0, or that of the header; to pipes the largest.
@pytest.mark.parametrize('lengths', [
    (0, 0), (36, 0), (0, 2**32 - 1), (2**32 - 1, 2**32 - 1), (2**32 - 1, 0), (0x7FFFF024, 0x7FFFF000), (16036, 0)])
def test_a_wav_file_without_lengths_is_read_to_its_end(tmp_path, lengths):
    soundfile.write(tmp_path / 'x.wav', 0.5 * sine(8000), 8000)
    expected = read_waveform(tmp_path / 'x.wav')
    data = bytearray((tmp_path / 'x.wav').read_bytes())
    data[4:8], data[40:44] = (struct.pack('<I', length) for length in lengths)
    (tmp_path / 'x.wav').write_bytes(data)
    np.testing.assert_array_equal(read_waveform(tmp_path / 'x.wav'), expected)
    assert audio_seconds(tmp_path / 'x.wav') == 1


def test_chunks_after_an_empty_data_chunk_are_not_samples(tmp_path):
    soundfile.write(tmp_path / 'x.wav', np.zeros(0), 8000)
    data = bytearray((tmp_path / 'x.wav').read_bytes()) + b'LIST' + struct.pack('<I', 5) + b'INFO!\0'
    data[4:8] = struct.pack('<I', len(data) - 8)
    (tmp_path / 'x.wav').write_bytes(data)
    with pytest.raises(ValueError, match='the audio file holds no sample by its header'):
        read_waveform(tmp_path / 'x.wav')


@pytest.mark.parametrize('subtype', ['GSM610', 'G721_32', 'IMA_ADPCM', 'MS_ADPCM', 'ULAW', 'ALAW'])
def test_wav_files_of_telephones_are_read(tmp_path, subtype):
    path = tmp_path / 'x.wav'
    soundfile.write(path, 0.5 * sine(8000), 8000, subtype=subtype)
    waveform = read_waveform(path)
    assert audio_seconds(path) == pytest.approx(1, abs=0.05) and len(waveform) == waveform_length(path)
    # Codecs of 13 to 64 kbit/s: a tone survives, in phase up to the delay of the codec.
    spectrum = np.abs(np.fft.rfft(waveform[:16000]))
    assert spectrum.argmax() == 440 and np.std(waveform) == pytest.approx(0.5 / np.sqrt(2), rel=0.2)
    np.testing.assert_array_equal(read_waveform(path, start=4000, stop=8000), waveform[4000:8000])


def test_suffixes_are_those_of_the_installed_libsndfile(tmp_path):
    assert {'.wav', '.flac', '.ogg', '.aif', '.au', '.caf', '.w64'} <= set(AUDIO_SUFFIXES)
    assert not {'.raw', '.mat', '.m4a', '.mp4'} & set(AUDIO_SUFFIXES)
    for format, suffix in dict(AIFF='.aif', AU='.au', CAF='.caf', W64='.w64', RF64='.rf64', VOC='.voc').items():
        soundfile.write(tmp_path / f'x{suffix}', 0.5 * sine(16000), 16000, format=format, subtype='PCM_16')
        np.testing.assert_allclose(read_waveform(tmp_path / f'x{suffix}')[:16000], 0.5 * sine(16000), atol=1e-4)


class WaveConv(AudioBackbone):
    """Backbone on :func:`fit_waveforms`, as users write them."""

    def __init__(self, **options):
        super().__init__(True, None, **options)
        self.conv = nn.Conv1d(1, 4, 400, 160)

    def encode(self, audio, num_examples, num_samples):
        waveforms, _ = fit_waveforms(audio, num_examples, num_samples, 'WaveConv')
        return self.conv(waveforms.unsqueeze(1)).transpose(1, 2).unflatten(1, (num_examples, 96))


BACKBONES = dict(
    VGGish=lambda **options: VGGish('conv', channels=(4, 4, 4, 4, 4, 8), **options),
    BEATs=lambda **options: BEATs(
        patch_dims=8, embed_dims=16, num_layers=1, num_heads=2, ffn_dims=16, conv_size=8, conv_groups=2, **options),
    WaveConv=WaveConv)


def frames_that_change(backbone, waveform, num_frames):
    with torch.no_grad():
        silence, tokens = (backbone(x[None], num_frames) for x in (torch.zeros_like(waveform), waveform))
    return (tokens - silence).abs().flatten(2).amax(2)[0].gt(1e-4).nonzero().flatten().tolist()


@pytest.mark.parametrize('name', BACKBONES)
def test_frames_of_a_long_clip_get_the_audio_of_their_own_second(name):
    waveform = torch.zeros(60 * 16000)
    for second in (0, 20, 55):
        waveform[int((second + 0.5) * 16000):][:1600] = torch.rand(1600) - 0.5
    assert frames_that_change(BACKBONES[name](), waveform, 60) == [0, 20, 55]
    # Three seconds for each frame
    assert frames_that_change(BACKBONES[name](examples_per_frame=3), waveform, 20) == [0, 6, 18]


@pytest.mark.parametrize('name', BACKBONES)
def test_examples_of_published_clips_are_contiguous(name):
    backbone, waveform = BACKBONES[name](), torch.rand(1, 160000) - 0.5
    for num_frames in (5, 10):
        assert torch.equal(backbone(waveform, num_frames), backbone.encode(waveform, num_frames, None))
    ninth = backbone.encode(waveform[:, 9 * 15360:], 1, None)
    torch.testing.assert_close(backbone(waveform, 10)[:, 9:], ninth)


def test_missing_audio_of_a_long_clip_is_missing_in_its_frames():
    backbone, waveform = VGGish('conv', channels=(4, 4, 4, 4, 4, 8)), torch.rand(1, 12 * 16000) - 0.5
    tokens = backbone(waveform, 12, torch.tensor([int(2.5 * 16000)]))
    zeros = backbone(torch.zeros(1, 1, 1, 96, 64), 1)
    torch.testing.assert_close(tokens[:, 2:], zeros.expand(-1, 10, -1, -1))
    torch.testing.assert_close(tokens[:, 1], backbone(waveform[:, 16000:], 1)[:, 0])
    assert not torch.allclose(tokens[:, 1], zeros[:, 0])


def test_seconds_of_examples():
    assert [min_seconds(n) for n in (1, 10, 11, 60)] == [0.975, 9.615, 10.975, 59.975]
