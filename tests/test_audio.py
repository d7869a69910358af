"""Audio files: decoding, channels, sampling rates and errors."""
import numpy as np
import pytest
import soundfile

from mmavs.audio.io import read_waveform
from mmavs.audio.resampling import resample


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
