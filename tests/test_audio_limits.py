"""Damaged headers and truncated audio files of every format, limits, and what is decoded of long files."""
import os
import struct
import tracemalloc
from unittest import mock

import numpy as np
import pytest
import soundfile

from mmavs.apis.inference import _check_waveform
from mmavs.audio.io import audio_seconds, read_stereo_waveform, read_waveform
from mmavs.audio.resampling import resample, resampled_section
from mmavs.datasets.transforms.audio import LoadAudio
from mmavs.video.audio_track import AudioTrack

FORMATS = [('WAV', 'PCM_16'), ('RF64', 'PCM_16'), ('W64', 'PCM_16'), ('AIFF', 'PCM_16'), ('AU', 'PCM_16'),
           ('CAF', 'PCM_16'), ('FLAC', 'PCM_16'), ('OGG', 'VORBIS'), ('OGG', 'OPUS'), ('MP3', 'MPEG_LAYER_III')]


def noise(*shape):
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape)


def write_wav_with_rate(path, rate):
    soundfile.write(path, noise(1000), 44100)
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack('<I', rate)
    path.write_bytes(content)


@pytest.mark.parametrize('rate', [1, 999, 384001, 10000019, 2**31 - 1])
def test_a_damaged_rate_is_refused_by_every_reader_before_anything_is_allocated(tmp_path, rate):
    write_wav_with_rate(tmp_path / 'x.wav', rate)
    tracemalloc.start()
    for read in (audio_seconds, read_waveform):
        with pytest.raises(ValueError, match=rf'x\.wav: .*{rate} samples per second, expected 1000 to 384000'):
            read(tmp_path / 'x.wav')
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    with pytest.raises(ValueError, match=rf'rate: {rate} samples per second, expected 1000 to 384000'):
        _check_waveform(np.zeros(100), rate, stereo=False)


@pytest.mark.parametrize('rate', [1000, 384000])
def test_the_smallest_and_the_largest_rate_are_read(tmp_path, rate):
    soundfile.write(tmp_path / 'x.wav', noise(rate), rate)
    assert read_waveform(tmp_path / 'x.wav').shape == (16000, ) and audio_seconds(tmp_path / 'x.wav') == 1


def test_more_channels_than_any_recording_has_are_refused(tmp_path):
    for channels in (64, 65):
        soundfile.write(tmp_path / f'{channels}.wav', noise(100, channels), 16000)
    assert read_waveform(tmp_path / '64.wav').shape == (100, )
    with pytest.raises(ValueError, match=r'65\.wav: .*65 channels, expected at most 64'):
        read_waveform(tmp_path / '65.wav')


def test_audio_tracks_of_videos_have_the_same_limits(tmp_path, monkeypatch):
    write_wav_with_rate(tmp_path / 'x.wav', 500)
    with pytest.raises(ValueError, match=r'x\.wav: audio track: 500 samples per second, expected 1000 to 384000'):
        AudioTrack(tmp_path / 'x.wav')
    soundfile.write(tmp_path / 'y.wav', noise(100), 16000)
    monkeypatch.setattr('mmavs.audio.io.MAX_CHANNELS', 0)
    with pytest.raises(ValueError, match=r'y\.wav: audio track: 1 channels, expected at most 0'):
        AudioTrack(tmp_path / 'y.wav')


def test_a_gap_of_hours_in_an_audio_track_is_filled_only_as_far_as_it_is_read(tmp_path):
    soundfile.write(tmp_path / 'x.wav', noise(100), 16000)
    track, late = AudioTrack(tmp_path / 'x.wav'), 16000 * 3600 * 10
    track._blocks = iter([(0, np.full((10, 1), 1, np.float32)), (late, np.full((10, 1), 2, np.float32))])
    tracemalloc.start()
    np.testing.assert_array_equal(track.read_samples(0, 20)[:, 0], [1] * 10 + [0] * 10)
    np.testing.assert_array_equal(track.read_samples(15, 30)[:, 0], [0] * 15)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize('announced', [0, 2**36 - 1, 24 * 3600 * 16000 + 1])
def test_flac_files_that_announce_days_or_no_length_are_refused(tmp_path, announced):
    soundfile.write(tmp_path / 'x.flac', noise(16000), 16000)
    content = bytearray((tmp_path / 'x.flac').read_bytes())
    # STREAMINFO follows 'fLaC' and 4 bytes; the number of samples is the low 36 bits of its bytes 10 to 18.
    packed = int.from_bytes(content[18:26], 'big') >> 36 << 36 | announced
    content[18:26] = packed.to_bytes(8, 'big')
    (tmp_path / 'x.flac').write_bytes(content)
    for read in (audio_seconds, read_waveform, lambda path: read_waveform(path, stop=100)):
        with pytest.raises(ValueError, match=r'x\.flac: the header announces .* or states no length, expected .* 24 h'):
            read(tmp_path / 'x.flac')


@pytest.mark.parametrize(('container', 'subtype'), FORMATS)
@pytest.mark.parametrize('share', [0.5, 0.95])
def test_truncated_files_of_every_format_are_refused(tmp_path, container, subtype, share):
    path = tmp_path / 'x.audio'
    soundfile.write(path, noise(48000, 2), 48000, format=container, subtype=subtype)
    assert audio_seconds(path) == 1 and len(read_waveform(path)) == 16000
    path.write_bytes(path.read_bytes()[:int(path.stat().st_size * share)])
    for read in (audio_seconds, read_waveform, read_stereo_waveform):
        with pytest.raises(ValueError, match=r'x\.audio: (truncated|not a readable audio file .*malformed)'):
            read(path)


@pytest.mark.parametrize(('container', 'header'), [
    ('AU', lambda data: data[:8] + b'\xff' * 4 + data[12:]), ('AIFF', lambda data: data[:4] + b'\0' * 4 + data[8:])])
def test_files_that_were_written_to_a_pipe_are_no_truncated_ones(tmp_path, container, header):
    soundfile.write(tmp_path / 'x.audio', noise(1600), 16000, format=container, subtype='PCM_16')
    (tmp_path / 'x.audio').write_bytes(header((tmp_path / 'x.audio').read_bytes()))
    assert audio_seconds(tmp_path / 'x.audio') == 0.1


def test_every_exception_of_the_decoder_is_one_error_with_the_name(tmp_path, monkeypatch):
    soundfile.write(tmp_path / 'x.wav', noise(1600), 16000)
    for error in (MemoryError(), ValueError('array is too big'), ValueError('frames must be specified')):
        for method in ('read', '_open'):
            failing = mock.Mock(side_effect=error)
            with monkeypatch.context() as context, pytest.raises(ValueError, match=r'x\.wav: not a readable .*\(\w+'):
                context.setattr(soundfile.SoundFile, method, failing)
                read_waveform(tmp_path / 'x.wav')
            assert failing.called


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'x.wav')
    with pytest.raises(ValueError, match=r'x\.wav: not a regular file'):
        read_waveform(tmp_path / 'x.wav')


@pytest.mark.parametrize(('rate', 'suffix'), [(48000, 'wav'), (44101, 'wav'), (48000, 'flac'), (48000, 'mp3')])
def test_of_a_long_soundtrack_only_what_five_frames_take_is_decoded(tmp_path, monkeypatch, rate, suffix):
    soundfile.write(tmp_path / f'x.{suffix}', noise(rate * 40), rate)
    decoded, read = [], soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, 'read', lambda *args, **kwargs: decoded.append(
        read(*args, **kwargs)) or decoded[-1])
    clip = dict(audio_path=tmp_path / f'x.{suffix}', frame_paths=[None] * 5, valid=[True] * 5, clip_id='x')
    assert LoadAudio()(dict(clip))['waveform'].shape == (80000, )
    assert sum(map(len, decoded)) < 6.1 * rate
    decoded.clear()
    LoadAudio().check_files(clip)
    assert sum(map(len, decoded)) < 6.1 * rate


def test_more_samples_than_fit_in_memory_are_not_read_at_once(tmp_path, monkeypatch):
    soundfile.write(tmp_path / 'x.wav', noise(1000), 16000)
    monkeypatch.setattr('mmavs.audio.io.MAX_SAMPLES', 500)
    with pytest.raises(ValueError, match=r'x\.wav: .* more than 500 samples'):
        read_waveform(tmp_path / 'x.wav')
    assert read_waveform(tmp_path / 'x.wav', start=500).shape == (500, )


def test_odd_rates_are_resampled_in_bounded_memory_as_exactly_as_common_ones(monkeypatch):
    waveform = noise(383999).astype(np.float32)
    tracemalloc.start()
    interpolated = {rate: resample(waveform[:rate], rate, 16000) for rate in (44101, 383999)}
    assert tracemalloc.get_traced_memory()[1] < 2**27
    tracemalloc.stop()
    begin, end, skip = resampled_section(2000, 3000, 44101, 16000)
    np.testing.assert_array_equal(resample(waveform[:44101][begin:end], 44101, 16000)[skip:skip + 1000],
                                  interpolated[44101][2000:3000])
    monkeypatch.setattr('mmavs.audio.resampling.MAX_FACTOR', 10**6)
    np.testing.assert_allclose(interpolated[44101], resample(waveform[:44101], 44101, 16000), atol=1e-6)
