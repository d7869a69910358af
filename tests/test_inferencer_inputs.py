"""What AVSInferencer takes: every kind of input, timestamps, pixel format and audio, on generated files.

Most files are coded without a loss, so frames and audio are known: masks of the file equal those of ``inference_clip``
on the frames and the waveform that the test made.
"""

import http.server
import os
import re
import socket
import threading
from functools import partial

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from small_models import audio_sensitive_model
from video_files import RATE, rotate, same_priority, trim, write_clip, write_test_video

from mmavs.apis import AVSInferencer, inference_clip
from mmavs.apis.video_source import list_inputs, open_source
from mmavs.video import AudioTrack, list_videos, probe_video, read_frames, sample_frames

PLACE = 15 / 16
X264 = dict(codec='libx264rgb', pix_fmt='rgb24', options={'qp': '0'})  # for MP4 and MOV


@pytest.fixture(scope='module')
def inferencer():
    model = audio_sensitive_model()
    model.dataset_meta['clip_length'] = 10
    return AVSInferencer(model)


@pytest.fixture(scope='module')
def frames():
    """20 frames of 5 s, each of another color with a brighter square."""
    random = np.random.default_rng(0)
    frames = np.broadcast_to(random.integers(0, 200, (20, 1, 1, 3), dtype=np.uint8), (20, 48, 64, 3)).copy()
    for k, frame in enumerate(frames):
        frame[2 * k % 30:, 3 * k % 40:][:14, :18] = 255
    return frames


@pytest.fixture(scope='module')
def samples():
    """5 s of audio whose amplitude changes."""
    random, seconds = np.random.default_rng(1), np.repeat([0.1, 0.5, 0.02, 0.7, 0.3], RATE)[:, None]
    return np.float32(np.round(random.uniform(-seconds, seconds) * 32767) / 32768)


def check_equal(inferencer, video, frames, waveform, rate=RATE, fps=1):
    """The masks and probabilities of a video are those of the frames and the waveform; returns the probabilities."""
    result, = inferencer(video, fps=fps, return_prob=True)['predictions']
    expected = inference_clip(inferencer.model, frames, waveform, rate, fps=fps, prob_dtype=torch.float16)
    assert np.array_equal(result['masks'], expected.pred_sem_seg.numpy())
    np.testing.assert_allclose(result['foreground_prob'], expected.foreground_prob.numpy(), atol=1e-3)
    return result['foreground_prob']


def taken(frames, times):
    """The frames that are shown at 15/16 of each second; the last one where the video ends before."""
    times, end = np.array(times) - times[0], times[-1] - times[0]
    return [frames[np.flatnonzero(times <= k + PLACE + 1e-6)[-1]] for k in range(max(1, round(end + 0.25)))]


# ---- Time ----


def test_the_audio_makes_a_difference(inferencer, frames, samples, tmp_path):
    path = write_clip(tmp_path / 'x.mkv', frames, samples)
    prob = check_equal(inferencer, path, frames[3::4], samples)
    other = inference_clip(inferencer.model, frames[3::4], np.roll(samples, RATE // 2), RATE)
    assert np.abs(other.foreground_prob.numpy() - prob).max() > 0.02  # of shifted audio


@pytest.mark.parametrize(('late', 'kept'), [(1.3, None), (0, 2.2), (0, 5)], ids=str)
def test_audio_that_begins_later_or_ends_earlier_is_silent_there(inferencer, frames, samples, tmp_path, late, kept):
    samples = samples if kept is None else samples[:int(kept * RATE)]
    path = write_clip(tmp_path / 'x.mkv', frames, samples, audio_from=late)
    waveform = np.concatenate([np.zeros((int(late * RATE), 1), np.float32), samples, np.zeros((3 * RATE, 1))])
    check_equal(inferencer, path, frames[3::4], waveform[:5 * RATE])


@pytest.mark.parametrize('suffix', ['mkv', 'avi', 'mov'])
def test_audio_may_last_longer_than_the_frames(inferencer, frames, samples, tmp_path, suffix):
    path = write_clip(tmp_path / f'x.{suffix}', frames[:8], samples, **(X264 if suffix == 'mov' else {}))
    check_equal(inferencer, path, frames[3:8:4], samples[:2 * RATE])


def test_audio_before_the_first_frame_is_left_out(inferencer, frames, samples, tmp_path):
    path = write_clip(tmp_path / 'x.mkv', frames[:12], samples, times=1.5 + np.arange(12) / 4)
    check_equal(inferencer, path, frames[3:12:4], samples[int(1.5 * RATE):int(4.5 * RATE)])


def test_a_variable_frame_rate_is_sampled_by_time(inferencer, frames, samples, tmp_path):
    times = np.cumsum([0, *np.random.default_rng(2).choice([0.04, 0.1, 0.7], 11)])
    path = write_clip(tmp_path / 'x.mkv', frames[:12], samples, times=times.round(3))
    expected = taken(frames, times)
    check_equal(inferencer, path, expected, samples[:len(expected) * RATE])


@pytest.mark.parametrize(('video', 'audio'), [(1.5, 0), (0, 1.2), (1.5, 2.0)])
def test_edit_lists_are_followed(inferencer, frames, samples, tmp_path, video, audio):
    path = write_clip(tmp_path / 'x.mov', frames, samples, **X264)
    trim(path, 0, video)
    trim(path, 1, audio)
    frames, samples = frames[int(video * 4):], samples[int(audio * RATE):]
    seconds = len(frames) / 4
    expected = [frames[min(4 * k + 3, len(frames) - 1)] for k in range(int(seconds + 0.5))]
    samples = np.concatenate([samples, np.zeros((5 * RATE, 1), np.float32)])
    check_equal(inferencer, path, expected, samples[:len(expected) * RATE])


@pytest.mark.parametrize('fps', [4, 'native'])
def test_more_frames_per_second_are_interleaved_windows_of_the_training(inferencer, frames, samples, tmp_path, fps):
    path = write_clip(tmp_path / 'x.mov', frames, samples, **X264)
    result, = inferencer(path, fps=fps, return_prob=True)['predictions']
    place = 0.5 if fps == 'native' else PLACE
    assert result['times'].tolist() == [(k + place) / 4 for k in range(20)]
    for first in range(4):
        # A frame of the training is at 15/16 of its second of audio; before time 0 there is none.
        start = max(0, round(((first + place) / 4 - PLACE) * RATE))
        expected = inference_clip(inferencer.model, frames[first::4], samples[start:], RATE)
        np.testing.assert_allclose(result['foreground_prob'][first::4], expected.foreground_prob, atol=1e-3)


# ---- Containers, codecs, audio formats ----


@pytest.mark.parametrize(('suffix', 'kind'), [
    ('mp4', {}), ('m4v', {}), ('mov', dict(audio_codec='pcm_s16le')), ('3gp', dict(codec='mpeg4')),
    ('webm', dict(codec='libvpx-vp9', audio_codec='libopus', rate=48000)),
    ('avi', dict(codec='mpeg4', audio_codec='mp3', rate=44100)), ('flv', dict(codec='flv', rate=44100)),
    ('ts', {}), ('mpg', dict(codec='mpeg2video', fps=25, audio_codec='mp2', rate=44100)),
    ('wmv', dict(codec='wmv2', audio_codec='mp3', rate=44100)), ('mkv', dict(codec='libx265')),
    ('mkv', dict(codec='libsvtav1', audio_codec='flac')),
], ids=str)
def test_containers_and_codecs(tmp_path, suffix, kind):
    with same_priority():
        path = write_test_video(tmp_path / f'x.{suffix}', 4, **kind)
    start = probe_video(path).start
    grays = [frame[24:, 32:].mean() for _, frame in sample_frames(path, 1, PLACE)]
    assert grays == pytest.approx([0, 40, 80, 120], abs=4)
    track = AudioTrack(path, start)
    levels = [np.abs(second[int(0.3 * track.rate):int(0.7 * track.rate)]).max()
              for second in np.split(track.read(0, 4)[:4 * track.rate], 4)]
    assert levels == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.05)


LAYOUTS = {1: 'mono', 2: 'stereo', 3: '2.1', 4: 'quad', 5: '5.0', 6: '5.1', 7: '6.1', 8: '7.1'}


@pytest.mark.parametrize('rate', [8000, 11025, 22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize('channels', [1, 2])
def test_rates_of_audio(inferencer, frames, tmp_path, rate, channels):
    samples = np.random.default_rng(3).uniform(-0.5, 0.5, (2 * rate, channels)).astype(np.float32)
    path = write_clip(tmp_path / 'x.mkv', frames[:8], samples, rate, audio_codec='pcm_f32le', layout=LAYOUTS[channels])
    check_equal(inferencer, path, frames[3:8:4], samples, rate)


@pytest.mark.parametrize('channels', range(3, 9))
def test_numbers_of_channels(inferencer, frames, tmp_path, channels):
    samples = np.random.default_rng(4).uniform(-0.5, 0.5, (2 * RATE, channels)).astype(np.float32)
    path = write_clip(tmp_path / 'x.mkv', frames[:8], samples, audio_codec='pcm_f32le', layout=LAYOUTS[channels])
    check_equal(inferencer, path, frames[3:8:4], samples)


def test_float_audio_beyond_full_scale_is_clipped(inferencer, frames, samples, tmp_path):
    loud = np.concatenate([samples * 4, samples], 1)
    assert (np.abs(loud) > 1).mean() > 0.1
    path = write_clip(tmp_path / 'x.mkv', frames, loud, audio_codec='pcm_f32le', layout='stereo')
    check_equal(inferencer, path, frames[3::4], loud)
    check_equal(inferencer, path, frames[3::4], np.clip(loud, -1, 1))


@pytest.mark.parametrize(('value', 'message'), [
    (np.nan, r'audio track: 1 of \d+ samples are NaN'), (20000, 'audio track: the largest sample is 20000')])
def test_samples_that_are_not_audio_are_an_error(inferencer, frames, samples, tmp_path, value, message):
    samples = samples.copy()
    samples[3000] = value
    path = write_clip(tmp_path / 'x.mkv', frames, samples, audio_codec='pcm_f32le')
    with pytest.raises(ValueError, match=message):
        inferencer(path)
    with pytest.raises(ValueError, match=message):
        inferencer.write(path, tmp_path / 'out')
    assert not [file for file in (tmp_path / 'out').rglob('*') if file.is_file()]


# ---- Video ----


@pytest.mark.parametrize('quarters', [0, 1, 2, 3])
def test_rotated_videos_are_upright(inferencer, frames, samples, tmp_path, quarters):
    path = write_clip(tmp_path / 'x.mov', frames, samples, **X264)
    rotate(path, quarters)
    upright = [np.rot90(frame, -quarters).copy() for frame in frames[3::4]]
    check_equal(inferencer, path, upright, samples)
    assert probe_video(path).size == upright[0].shape[:2]


@pytest.mark.parametrize('size', [(47, 65), (33, 64), (48, 35)])
def test_odd_sizes(inferencer, frames, samples, tmp_path, size):
    frames = frames[:, :size[0], :size[1]] if size[1] < 65 else np.pad(frames, ((0, 0), (0, 0), (0, 1), (0, 0)))[:, :47]
    path = write_clip(tmp_path / 'x.mkv', frames, samples)
    check_equal(inferencer, path, frames[3::4], samples)


def test_pixels_become_square(inferencer, frames, samples, tmp_path):
    path = write_clip(tmp_path / 'x.mov', frames, samples, **X264,
                      setup=lambda context: setattr(context, 'sample_aspect_ratio', 2))
    wide = list(read_frames(path, [k + PLACE for k in range(5)]))
    assert wide[0].shape == (48, 128, 3)
    # A column of the file is two columns wide; swscale interpolates between them.
    np.testing.assert_allclose(wide[0].reshape(48, 64, 2, 3).mean(2)[:, 1:-1], frames[3][:, 1:-1], atol=70)
    assert np.median(np.abs(wide[0].reshape(48, 64, 2, 3).mean(2) - frames[3])) < 1
    check_equal(inferencer, path, wide, samples)


def yuv_frame(y, u, v, bits=8):
    """Frame of one color."""
    frame = av.VideoFrame(64, 48, 'yuv444p' if bits == 8 else f'yuv444p{bits}le')
    for plane, value in zip(frame.planes, (y, u, v)):
        plane.update(np.full(plane.buffer_size * 8 // (8 if bits == 8 else 16), value,
                             np.uint8 if bits == 8 else '<u2').tobytes())
    return frame


def yuv(red, green, blue, matrix, full, bits=8):
    """Y'CbCr of R'G'B' in [0, 1] by the formulas of BT.601, BT.709 or BT.2020."""
    kr, kb = {'601': (0.299, 0.114), '709': (0.2126, 0.0722), '2020': (0.2627, 0.0593)}[matrix]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    scale, chroma = 2**(bits - 8), ((blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr))
    if full:
        return [round((2**bits - 1) * luma), *(round((2**bits - 1) * c + 2**(bits - 1)) for c in chroma)]
    return [round(scale * (219 * luma + 16)), *(round(scale * (224 * c + 128)) for c in chroma)]


COLORS = ((0.9, 0.3, 0.1), (0.2, 0.7, 0.4), (1, 1, 1), (0, 0, 0))
MATRICES = {'601': 5, '709': 1, '2020': 9}  # AVColorSpace


def tags(matrix=2, full=False, primaries=2, transfer=2):
    """Set the tags of a video: AVColorSpace, AVColorRange, AVColorPrimaries, AVColorTransferCharacteristic."""

    def setup(context):
        context.colorspace, context.color_range = matrix, 2 if full else 1
        context.color_primaries, context.color_trc = primaries, transfer

    return setup


@pytest.mark.parametrize('matrix', MATRICES)
@pytest.mark.parametrize('full', [False, True])
@pytest.mark.parametrize('bits', [8, 10])
def test_matrix_and_range_of_the_file_are_used(tmp_path, matrix, full, bits):
    frames = [yuv_frame(*yuv(*color, matrix, full, bits), bits) for color in COLORS]
    path = write_clip(tmp_path / 'x.mp4', frames, fps=1, codec='libx264', options={'qp': '0'},
                      pix_fmt=frames[0].format.name, setup=tags(MATRICES[matrix], full))
    for color, frame in zip(COLORS, read_frames(path, range(4))):
        np.testing.assert_allclose(frame[20, 30], 255 * np.array(color), atol=2)


@pytest.mark.parametrize(('size', 'matrix'), [((48, 64), '601'), ((720, 1280), '709')])
def test_untagged_video_has_the_matrix_of_its_size(tmp_path, size, matrix):
    frame = yuv_frame(*yuv(*COLORS[0], matrix, False)).reformat(width=size[1], height=size[0], threads=1)
    path = write_clip(tmp_path / 'x.mkv', [frame], codec='libx264', options={'qp': '0'}, pix_fmt='yuv444p')
    image, = read_frames(path, [0])
    np.testing.assert_allclose(image[20, 30], 255 * np.array(COLORS[0]), atol=2)


def test_ten_bits_are_rounded(inferencer, frames, samples, tmp_path):
    deep = [av.VideoFrame.from_ndarray(frame, format='rgb24') for frame in frames]
    deep = [frame.reformat(format='gbrp10le', threads=1) for frame in deep]
    path = write_clip(tmp_path / 'x.mkv', deep, samples, pix_fmt='gbrp10le')
    read = list(read_frames(path, [k + PLACE for k in range(5)]))
    np.testing.assert_allclose(read, frames[3::4], atol=1)
    check_equal(inferencer, path, read, samples)


# Signals of BT.2100 and BT.2408: what has this luminance on a display of 1000 cd/m², in cd/m².
SIGNALS = {'pq': {0.5081: 100, 0.5807: 203, 0.4: 32.45}, 'hlg': {0.75: 203, 0.5: 50.7, 0.38: 26.3}}


@pytest.mark.parametrize(('transfer', 'code'), [('pq', 16), ('hlg', 18)])
def test_hdr_is_mapped_to_sdr(inferencer, samples, tmp_path, transfer, code):
    signals = SIGNALS[transfer]
    frames = [yuv_frame(*yuv(s, s, s, '2020', False, 10), 10) for s in signals]
    path = write_clip(tmp_path / 'x.mkv', frames, samples[:3 * RATE], fps=1, codec='libx265', pix_fmt='yuv444p10le',
                      options={'x265-params': 'lossless=1:log-level=none'}, setup=tags(9, False, 9, code))
    shown = [frame for _, frame in sample_frames(path, 1, 0)]
    for frame, nits in zip(shown, signals.values()):
        # BT.1886 of what the EETF of BT.2390 leaves below its knee, with white at 203 cd/m².
        gray = 255 * (nits / 203) ** (1 / 2.4)
        assert np.ptp(frame) <= 1
        if nits < 93:
            assert frame.mean() == pytest.approx(gray, abs=2)
        else:  # compressed, but still bright, and in order
            assert 0.85 * gray < frame.mean() < gray
    assert sorted(signals) == [s for _, s in sorted((frame.mean(), s) for frame, s in zip(shown, signals))]
    check_equal(inferencer, path, shown, samples[:3 * RATE])


def test_the_brightest_light_of_the_file_becomes_white(tmp_path):
    # 300 cd/m² are the PQ signal 0.622. The file states this as its brightest light; or nothing, which means 1000.
    signal, shown = round(0.622 * 876 + 64), []
    for light in ('max-cll=300,100:', ''):
        path = write_clip(tmp_path / 'x.mp4', [yuv_frame(signal, 512, 512, 10)], codec='libx265',
                          options={'x265-params': f'{light}lossless=1:log-level=none'}, pix_fmt='yuv444p10le',
                          setup=tags(9, False, 9, 16))
        shown.append(next(read_frames(path, [0])).mean())
    # 203 cd/m² are 230 without a statement, as in the test above.
    assert shown[0] >= 254 and 230 < shown[1] < 250


def test_hdr_colors_keep_their_hue(tmp_path):
    # BT.709 red in BT.2020 primaries by BT.2087: 0.6274, 0.0691, 0.0164; the PQ signals of these times 80 cd/m².
    signals = [0.4408, 0.2413, 0.1393]
    path = write_clip(tmp_path / 'x.mp4', [yuv_frame(*yuv(*signals, '2020', False, 10), 10)], codec='libx265',
                      options={'x265-params': 'lossless=1:log-level=none'}, pix_fmt='yuv444p10le',
                      setup=tags(9, False, 9, 16))
    image, = read_frames(path, [0])
    np.testing.assert_allclose(image[20, 30], [255 * (80 / 203)**(1 / 2.4), 0, 0], atol=12)


def interlaced_frames(count):
    """A bar that moves by 2 columns from field to field, with the first field in the odd lines."""
    frames = np.zeros((count, 48, 64, 3), np.uint8)
    for k, frame in enumerate(frames):
        frame[1::2, 4 * k:4 * k + 16] = frame[0::2, 4 * k + 2:4 * k + 18] = 220
    return frames


def test_interlaced_frames_are_deinterlaced(inferencer, samples, tmp_path):
    interlaced = interlaced_frames(12)

    def setup(context):
        context.flags |= av.codec.context.Flags.interlaced_dct | av.codec.context.Flags.interlaced_me

    path = write_clip(tmp_path / 'x.mkv', interlaced, samples[:3 * RATE], codec='libx264', pix_fmt='yuv444p',
                      options={'crf': '1', 'x264-params': 'bff=1'}, setup=setup)
    times, shown = zip(*sample_frames(path, 4, 0.5))
    # One frame for each, at its time, and without the comb at the edges of what moves.
    assert times == pytest.approx([(k + 0.5) / 4 for k in range(12)])
    comb = [np.abs(np.diff(frame[8:40, :, 0].astype(int), axis=0)).mean() for frame in shown]
    assert np.abs(np.diff(interlaced[5, 8:40, :, 0].astype(int), axis=0)).mean() > 10 and max(comb[1:-1]) < 2
    # The lines of the first field stay.
    np.testing.assert_allclose(shown[5][11:38:2], interlaced[5][11:38:2], atol=12)
    check_equal(inferencer, path, list(read_frames(path, [k + PLACE for k in range(3)])), samples[:3 * RATE])


@pytest.mark.parametrize(('suffix', 'codec', 'pix_fmt'), [
    ('webm', 'libvpx-vp9', 'yuva420p'), ('webm', 'libvpx', 'yuva420p'), ('mov', 'prores_ks', 'yuva444p10le'),
    ('mov', 'png', 'rgba'), ('mov', 'qtrle', 'argb')])
def test_transparent_videos_lie_over_black(tmp_path, suffix, codec, pix_fmt):
    image = np.full((48, 64, 4), 200, np.uint8)
    image[:, :24, 3], image[:, 24:40, 3], image[:, 40:, 3] = 0, 128, 255
    frame = av.VideoFrame.from_ndarray(image, format='rgba').reformat(format=pix_fmt, threads=1)
    options = {'auto-alt-ref': '0'} if codec == 'libvpx' else {}
    path = write_clip(tmp_path / f'x.{suffix}', [frame] * 4, codec=codec, pix_fmt=pix_fmt, options=options)
    times, shown = zip(*sample_frames(path, 2, 0.5))
    assert times == (0.25, 0.75)
    for frame in shown:
        np.testing.assert_allclose(frame[20, [8, 32, 56]], [[0] * 3, [100] * 3, [200] * 3], atol=4)


# ---- Kinds of inputs ----


@pytest.fixture
def clip_directory(tmp_path, frames, samples):
    """A directory of 5 frames and their audio."""
    directory = tmp_path / 'my clip'
    directory.mkdir()
    for k, frame in enumerate(frames[3::4]):
        Image.fromarray(frame).save(directory / f'frame {8 + k}.png')  # 8, 9, 10: not in the order of their letters
    soundfile.write(directory / 'audio.wav', samples, RATE)
    return directory


@pytest.mark.parametrize('layout', ['one directory', 'avss', 's4', 'ms3'])
def test_a_directory_of_frames_in_the_layouts_of_avsbench(inferencer, clip_directory, frames, samples, layout):
    root = clip_directory.parent
    images, audio = sorted(clip_directory.glob('*.png')), clip_directory / 'audio.wav'
    if layout == 'avss':
        (clip_directory / 'frames').mkdir()
        for path in images:
            path.rename(clip_directory / 'frames' / path.name)
    elif layout in ('s4', 'ms3'):
        place = {'s4': ('test/dog', 'test/dog'), 'ms3': ('', 'test')}[layout]
        target, waveform = root / 'visual_frames' / place[0] / 'x_0', root / 'audio_wav' / place[1] / 'x_0.wav'
        target.parent.mkdir(parents=True)
        waveform.parent.mkdir(parents=True)
        soundfile.write(waveform.with_name('x_1.wav'), samples, RATE)  # of another clip
        audio.rename(waveform)
        clip_directory = clip_directory.rename(target)
    check_equal(inferencer, clip_directory, frames[3::4], samples)
    check_equal(inferencer, clip_directory, frames[3::4], samples, fps=2)
    source = open_source(clip_directory, 1, inferencer.pipeline)
    assert source.duration == 5 and [time for time, _ in source.open_frames()] == [0, 1, 2, 3, 4]


def test_the_overlay_of_a_directory_of_frames_has_its_audio(inferencer, clip_directory, samples, tmp_path):
    inferencer.write(clip_directory, tmp_path / 'out', ['overlay'])
    audio = AudioTrack(tmp_path / 'out/overlay.mp4').read(0, 5)[:, 0]
    levels = np.sqrt((audio.reshape(5, -1)**2).mean(1))
    assert levels == pytest.approx(np.sqrt((samples.reshape(5, -1)**2).mean(1)), abs=0.05)


def test_a_directory_of_frames_without_audio_is_silent_with_one_warning(inferencer, clip_directory, frames):
    (clip_directory / 'audio.wav').unlink()
    with pytest.warns(UserWarning, match='my clip: no audio file, the frames are segmented as silent') as caught:
        check_equal(inferencer, clip_directory, frames[3::4], np.zeros(5 * RATE))
    assert len(caught) == 1


def test_short_audio_of_frames_ends_in_silence_with_a_warning(inferencer, clip_directory, frames, samples):
    soundfile.write(clip_directory / 'audio.wav', samples[:2 * RATE], RATE)
    waveform = np.concatenate([samples[:2 * RATE], np.zeros((3 * RATE, 1), np.float32)])
    with pytest.warns(UserWarning, match=r'audio\.wav: 2\.0 s of audio for 5 frames of 5 s'):
        check_equal(inferencer, clip_directory, frames[3::4], waveform)


def test_unusable_directories_of_frames_are_named(inferencer, clip_directory, samples):
    soundfile.write(clip_directory / 'other.flac', samples, RATE)
    with pytest.raises(ValueError, match=r'my clip: several audio files .*audio\.wav, .*other\.flac; expected one'):
        inferencer(clip_directory)
    (clip_directory / 'other.flac').write_bytes(b'no audio')
    (clip_directory / 'audio.wav').unlink()
    with pytest.raises(ValueError, match=r'other\.flac: not a readable audio file'):
        inferencer(clip_directory)
    (clip_directory / 'other.flac').unlink()
    Image.new('RGB', (65, 48)).save(clip_directory / 'frame 11.png')
    with pytest.raises(ValueError, match=r'frame 11\.png: the frame has the size 65x48, but frame 8\.png 64x48'):
        inferencer(clip_directory)
    (clip_directory / 'frame 11.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'frame 11\.png: the frame cannot be decoded'):
        inferencer(clip_directory)
    with pytest.raises(ValueError, match="my clip: fps is 'native', but frames in a directory"):
        inferencer(clip_directory, fps='native')


def test_a_directory_of_videos_and_images_is_one_of_videos(tmp_path, clip_directory, frames):
    write_clip(clip_directory / 'a.mkv', frames)
    with pytest.warns(UserWarning, match='my clip: the directory holds videos and images, the videos are taken'):
        assert list_inputs(clip_directory) == [clip_directory / 'a.mkv']


def test_patterns_directories_and_lists(tmp_path, clip_directory, monkeypatch):
    (tmp_path / 'deep/er').mkdir(parents=True)
    for name in ('a.mp4', 'b.MKV', 'notes.txt', 'deep/c.mp4', 'deep/er/d.mov', 'deep/er/.hidden.mov'):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)

    def listed(*inputs):
        return [str(path) for path in list_inputs(list(inputs))]

    assert listed('*.mp4') == ['a.mp4'] and listed('*.txt') == ['notes.txt']
    assert listed('*') == ['a.mp4', 'b.MKV', 'my clip']
    assert listed('**') == listed('**/*') == ['a.mp4', 'b.MKV', 'deep/c.mp4', 'deep/er/d.mov', 'my clip']
    assert listed('deep/**/*.mov', '[ab].*') == ['deep/er/d.mov', 'a.mp4', 'b.MKV']
    assert listed('.', 'deep/../deep') == ['a.mp4', 'b.MKV', 'deep/../deep/c.mp4']
    assert listed('http://x/*.mp4?a=b') == ['http://x/*.mp4?a=b']
    with pytest.raises(ValueError, match=r'x\*: no video file and no directory of frames matches this pattern'):
        listed('x*')
    with pytest.raises(ValueError, match=r'\*\.mxf: no video file matches this pattern'):
        list_videos('*.mxf')
    with pytest.raises(ValueError, match=r'er/none: the directory holds no video file .* and no frames'):
        os.mkdir('deep/er/none')
        listed('deep/er/none')
    with pytest.raises(TypeError, match='an input is of type int, expected a path'):
        listed(3)


@pytest.mark.parametrize('name', ['a b.mkv', 'déjà 動画.mkv', '[x] 100%.mkv', 'what?*.mkv', '12:30.mkv', '%03d.mkv',
                                  '-x.mkv', 'no suffix', 'movie.txt', 'wrong.mp3', "it's.mkv"])
def test_any_name_of_a_file(inferencer, frames, samples, tmp_path, monkeypatch, name):
    write_clip(tmp_path / 'x.mkv', frames[:4], samples[:RATE]).rename(tmp_path / name)
    (tmp_path / 'sub').mkdir()
    monkeypatch.chdir(tmp_path)
    for path in (name, f'sub/../{name}'):
        result, = inferencer(path)['predictions']
        assert result['video'] == path and len(result['masks']) == 1


class QuietHandler(http.server.SimpleHTTPRequestHandler):

    def log_message(self, *options):
        pass


@pytest.fixture
def server(tmp_path):
    """HTTP server of tmp_path."""
    handler = partial(QuietHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()
        thread.join()


def test_a_url_is_opened(inferencer, frames, samples, tmp_path, server):
    write_clip(tmp_path / 'x.mkv', frames, samples)
    check_equal(inferencer, f'{server}/x.mkv?token=1', frames[3::4], samples)
    with pytest.raises(ValueError, match=r'absent\.mkv: FFmpeg cannot read this as a video \(.*404'):
        inferencer(f'{server}/absent.mkv')


def test_a_server_that_does_not_answer_is_an_error(inferencer, monkeypatch):
    monkeypatch.setattr('mmavs.video.container.URL_TIMEOUT', 0.3)
    with socket.create_server(('127.0.0.1', 0)) as silent:
        with pytest.raises(ValueError, match=r'x\.mp4: FFmpeg cannot read this as a video \(no answer for 0\.3 s\)'):
            inferencer(f'http://127.0.0.1:{silent.getsockname()[1]}/x.mp4')


def test_a_list_mixes_files_and_clips_in_memory(inferencer, frames, samples, tmp_path):
    path = write_clip(tmp_path / 'x.mkv', frames, samples)
    clip = dict(frames=list(frames[3::4]), waveform=samples, rate=RATE)
    first, second = inferencer([path, clip])['predictions']
    assert np.array_equal(first['masks'], second['masks']) and second['video'] == 'clip'


# ---- Bad input ----


def check_refused(inferencer, path, message, tmp_path):
    """An error of one line that names the file, and no file is left."""
    for call in (lambda: inferencer(path), lambda: inferencer.write(path, tmp_path / 'out', ['overlay', 'png', 'npz'])):
        with pytest.raises((ValueError, OSError), match=re.escape(str(path)) + message) as error:
            call()
        assert '\n' not in str(error.value)
    assert not [file for file in (tmp_path / 'out').rglob('*') if file.is_file()]


def test_files_that_are_not_videos_are_refused(inferencer, samples, tmp_path):
    (tmp_path / 'empty.mp4').touch()
    (tmp_path / 'text.mp4').write_text('not a video' * 1000)
    for name in ('empty.mp4', 'text.mp4'):
        check_refused(inferencer, tmp_path / name, r': FFmpeg cannot read this as a video \(Invalid data', tmp_path)
    os.mkfifo(tmp_path / 'pipe.mp4')  # reading it would wait forever
    check_refused(inferencer, tmp_path / 'pipe.mp4', ': not a regular file', tmp_path)
    write_clip(tmp_path / 'audio.mp4', [], samples, audio_codec='aac')
    check_refused(inferencer, tmp_path / 'audio.mp4', ': no video stream but audio, expected a video', tmp_path)


def test_an_audio_file_with_a_cover_image_is_refused(inferencer, frames, samples, tmp_path):
    path = write_clip(tmp_path / 'song.mp3', frames[:1], samples, codec='png', pix_fmt='rgb24', audio_codec='mp3')
    with av.open(str(path)) as container:
        assert container.streams.video[0].disposition & av.stream.Disposition.attached_pic
    check_refused(inferencer, path, ': no video stream but audio', tmp_path)


@pytest.mark.parametrize('kind', ['mkv', 'mp4', 'fast mp4'])
def test_truncated_videos_are_refused(inferencer, frames, samples, tmp_path, kind):
    suffix = kind.split()[-1]
    path = write_clip(tmp_path / f'x.{suffix}', frames, samples, codec='mpeg4', pix_fmt='yuv420p', audio_codec='aac')
    if kind.startswith('fast'):
        whole = path.rename(tmp_path / 'whole.mp4')
        with av.open(str(whole)) as source, av.open(str(path), 'w', options={'movflags': 'faststart'}) as target:
            streams = [target.add_stream_from_template(stream) for stream in source.streams]
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    target.mux(packet)
    path.write_bytes(path.read_bytes()[:int(path.stat().st_size * 0.6)])
    message = ': (truncated or damaged, it can be read up to [123]|the .* stream is damaged after [123]|FFmpeg cannot)'
    check_refused(inferencer, path, message, tmp_path)


def test_a_transport_stream_may_begin_and_end_anywhere(tmp_path):
    content = write_test_video(tmp_path / 'x.ts', 6).read_bytes()
    (tmp_path / 'cut.ts').write_bytes(content[:int(len(content) * 0.6)])
    grays = [frame[24:, 32:].mean() for _, frame in sample_frames(tmp_path / 'cut.ts', 1, PLACE)]
    assert 2 < len(grays) < 6 and grays == pytest.approx(np.arange(len(grays)) * 40, abs=4)


def test_timestamps_that_jump_back_are_refused(inferencer, tmp_path):
    path = write_test_video(tmp_path / 'x.ts', 3)
    path.write_bytes(path.read_bytes() * 2)
    check_refused(inferencer, path, r': timestamps jump back from 2\.90 s to 0\.00 s', tmp_path)


def test_damage_that_the_decoder_repairs_is_a_warning(frames, tmp_path):
    path = write_clip(tmp_path / 'x.avi', np.repeat(frames, 2, 0), codec='mpeg4', pix_fmt='yuv420p',
                      options={'g': '8', 'qscale': '2'}, fps=8)
    with av.open(str(path)) as container:
        place = [packet.pos for packet in container.demux(video=0) if packet.size][20]
    content = bytearray(path.read_bytes())
    content[place + 60:place + 160] = bytes(100)
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r'x\.avi: the video stream is damaged at 2\.\d\d s') as caught:
        assert len(list(sample_frames(path, 8, 0.5))) == 40
    assert len(caught) == 1


def test_packets_that_cannot_be_decoded_are_an_error(inferencer, frames, samples, tmp_path):
    path = write_clip(tmp_path / 'x.mov', frames, samples, codec='png', pix_fmt='rgb24')
    with av.open(str(path)) as container:
        place = [packet.pos for packet in container.demux(video=0) if packet.size][10]
    content = bytearray(path.read_bytes())
    content[place:place + 50] = bytes(50)
    path.write_bytes(content)
    check_refused(inferencer, path, r': the video stream is damaged after 2\.\d\d s', tmp_path)


def test_one_frame_is_a_video(inferencer, frames, samples, tmp_path):
    path = write_clip(tmp_path / 'x.mkv', frames[:1], samples)
    check_equal(inferencer, path, frames[:1], samples[:RATE])


def test_no_permission_is_an_error_that_names_the_file(inferencer, frames, tmp_path, monkeypatch):
    path = write_clip(tmp_path / 'x.mkv', frames)

    def refuse(*options, **more):
        raise av.error.PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr('mmavs.video.container.av.open', refuse)
    with pytest.raises(PermissionError, match=r'x\.mkv: no permission to read this file'):
        inferencer(path)


@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() != 0, reason='changes the user')
def test_an_unreadable_directory_is_an_error(tmp_path):
    (tmp_path / 'closed').mkdir()
    os.seteuid(65534)
    try:
        with pytest.raises(PermissionError, match='closed'):
            list_inputs(tmp_path / 'closed')
        with pytest.raises(PermissionError, match=r'x\.mp4: no permission to read this file'):
            probe_video(tmp_path / 'closed/x.mp4')
    finally:
        os.seteuid(0)


def test_no_file_stays_open(inferencer, frames, samples, tmp_path):
    path = write_clip(tmp_path / 'x.mkv', frames, samples)
    cut = tmp_path / 'cut.mkv'
    cut.write_bytes(path.read_bytes()[:path.stat().st_size // 2])

    def open_files():
        links = (os.path.realpath(f'/proc/self/fd/{number}') for number in os.listdir('/proc/self/fd'))
        return [link for link in links if link.startswith(str(tmp_path))]

    source = open_source(path, 1, inferencer.pipeline)
    images = source.open_frames()
    next(images)
    source.audio.section(0, 100)
    assert len(open_files()) == 2
    images.close()
    source.close()
    assert open_files() == []
    with pytest.raises(ValueError, match='truncated or damaged'):
        list(sample_frames(cut, 1, PLACE))
    assert open_files() == []
