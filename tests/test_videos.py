"""Videos: frames and audio by their timestamps, and clips that are cut from them."""
import os
import re
from fractions import Fraction
from itertools import count

import av
import numpy as np
import pytest
import soundfile
from PIL import Image
from video_files import RATE, rotate, write_test_video

from mmavs.audio.resampling import resample
from mmavs.datasets import AVSBenchMS3Dataset
from mmavs.datasets.clip_extraction import distribute, extract_clips, read_splits
from mmavs.datasets.transforms import LoadAudio, LoadClipFrames, LoadClipMasks, PackClipInputs
from mmavs.video import AudioTrack, ResampledAudio, list_videos, probe_video, read_frames, sample_frames


def grays(path, times):
    """Gray value of the frames at given times, below and right of the white corner."""
    frames = read_frames(path, times)
    return [round(float(frame[frame.shape[0] // 2:, frame.shape[1] // 2:].mean())) for frame in frames]


def amplitudes(samples, rate):
    """Peak of the audio in the middle of each second."""
    seconds = (samples[int((s + 0.3) * rate):int((s + 0.7) * rate)] for s in range(len(samples) // rate))
    return [float(np.abs(second).max()) for second in seconds]


@pytest.fixture(scope='module')
def usual(tmp_path_factory):
    return write_test_video(tmp_path_factory.mktemp('video') / 'usual.mp4')


def test_frames_and_audio_of_a_usual_video_are_in_their_seconds(usual):
    properties = probe_video(usual)
    assert properties.size == (48, 64) and properties.frame_rate == 10 and properties.audio_rate == RATE
    assert properties.duration == pytest.approx(6, abs=0.1)
    assert grays(usual, (k + 0.5 for k in count())) == pytest.approx([0, 40, 80, 120, 160, 200], abs=3)
    # Several times at which one frame is shown, and times after the end.
    assert grays(usual, [1.0, 1.01, 1.09, 4.95, 7, 8]) == pytest.approx([40, 40, 40, 160], abs=3)
    samples = AudioTrack(usual).read(0, 6)
    assert samples.shape == (6 * RATE, 1)
    assert amplitudes(samples[:, 0], RATE) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], abs=0.03)


def test_audio_that_is_read_in_parts_equals_the_whole(usual):
    whole, track = AudioTrack(usual).read(0, 6), AudioTrack(usual)
    # Overlapping windows, as neighboring frames need them.
    for begin, end in ((0, 0.975), (0.96, 1.935), (1.92, 2.9), (4, 8)):
        part = track.read(begin, end)
        expected = whole[round(begin * RATE):round(end * RATE)]
        np.testing.assert_array_equal(part[:len(expected)], expected)
        # The codec pads its last block.
        assert len(part) == round((end - begin) * RATE) and not part[len(expected) + 2048:].any()
    with pytest.raises(ValueError, match='in order'):
        track.read(0, 1)


@pytest.mark.parametrize('rate', [48000, 22050, 8000])
def test_resampled_sections_equal_the_resampled_whole(tmp_path, rate):
    path = write_test_video(tmp_path / 'video.mkv', 4, audio_from=0.5, rate=rate, audio_codec='pcm_s16le')
    track = AudioTrack(path)
    whole = resample(track.read(0, 4)[:, 0], rate, RATE)
    audio = ResampledAudio(AudioTrack(path), RATE)
    # Windows overlap; a later one may begin earlier, after what was forgotten.
    for start, stop in ((0, 20000), (16000, 36000), (15000, 35000), (40000, 80000), (63000, 70000), (70000, 90000)):
        np.testing.assert_allclose(audio.section(start, stop), whole[start:stop], atol=1e-6)
        audio.forget(start - 1000)
    assert track.num_samples is None or track.num_samples == 4 * rate
    with pytest.raises(ValueError, match='forgotten'):
        audio.section(0, 10)


def test_one_frame_is_sampled_for_each_interval(usual):

    def sampled(fps, position):
        frames = sample_frames(usual, Fraction(fps), position)
        return [round(float(frame[24:, 32:].mean())) for _, frame in frames]

    assert sampled(1, 15 / 16) == pytest.approx([0, 40, 80, 120, 160, 200], abs=3)
    # The last interval of 4 s is reached half: its frame is the last one of the video.
    assert sampled('1/4', 15 / 16) == pytest.approx([120, 200], abs=3)
    assert sampled('1/5', 15 / 16) == pytest.approx([160], abs=3)
    assert sampled('1/50', 15 / 16) == pytest.approx([200], abs=3)
    assert len(sampled(10, 0.5)) == 60


def test_videos_of_a_directory_are_listed(tmp_path):
    for name in ('b.MP4', 'a c.mkv', '._a.mp4', 'notes.txt', 'a.wav'):
        (tmp_path / name).touch()
    (tmp_path / 'x.mp4').mkdir()
    assert list_videos(tmp_path) == [tmp_path / 'a c.mkv', tmp_path / 'b.MP4']
    assert list_videos(tmp_path / 'notes.txt') == [tmp_path / 'notes.txt']
    with pytest.raises(ValueError, match='the directory holds no video file'):
        list_videos(tmp_path / 'x.mp4')


def test_timestamps_decide_in_a_variable_frame_rate(tmp_path):
    # 20 frames in the first second, then one every half a second.
    times = [i / 20 for i in range(20)] + [1 + i / 2 for i in range(8)]
    path = write_test_video(tmp_path / 'vfr.mkv', 5, times=times)
    assert grays(path, (k + 0.9 for k in range(5))) == pytest.approx([0, 40, 80, 120, 160], abs=3)


@pytest.mark.parametrize('suffix', ['mp4', 'mkv'])
def test_late_audio_begins_with_silence(tmp_path, suffix):
    path = write_test_video(tmp_path / f'late.{suffix}', audio_from=2.0)
    samples = AudioTrack(path, probe_video(path).start).read(0, 6)[:, 0]
    assert amplitudes(samples, RATE) == pytest.approx([0, 0, 0.3, 0.4, 0.5, 0.6], abs=0.03)


def test_rotated_video_is_upright(tmp_path):
    path = write_test_video(tmp_path / 'phone.mp4', 1, audio_from=None)
    rotate(path)
    frame, = read_frames(path, [0.0])
    assert probe_video(path).size == frame.shape[:2] == (64, 48)
    # The white corner goes from the upper left to the upper right.
    assert frame[:10, -10:].min() > 200 and frame[:10, :10].max() < 60


def test_pixels_that_are_not_square_are_stretched(tmp_path):
    path = write_test_video(tmp_path / 'wide.mkv', 1, audio_from=None, sample_aspect_ratio=Fraction(4, 3))
    frame, = read_frames(path, [0.0])
    assert probe_video(path).size == frame.shape[:2] == (48, 85)


@pytest.mark.parametrize('kind', [
    dict(size=(47, 65), pix_fmt='yuv444p'),
    dict(pix_fmt='yuv420p10le'),
    dict(codec='mpeg4'),
    dict(rate=8000, audio_codec='pcm_s16le'),
    dict(rate=48000, audio_codec='mp3'),
], ids=str)
def test_sizes_depths_and_codecs(tmp_path, kind):
    path = write_test_video(tmp_path / 'video.mkv', 3, **kind)
    properties = probe_video(path)
    assert properties.size == kind.get('size', (48, 64)) and properties.audio_rate == kind.get('rate', RATE)
    assert grays(path, [0.5, 1.5, 2.5]) == pytest.approx([0, 40, 80], abs=4)
    samples = AudioTrack(path, properties.start).read(0, 3)[:, 0]
    assert amplitudes(samples, properties.audio_rate) == pytest.approx([0.1, 0.2, 0.3], abs=0.04)


def test_unusable_files_are_named(tmp_path, usual):
    (tmp_path / 'garbage.mp4').write_text('not a video')
    (tmp_path / 'empty.mp4').touch()
    (tmp_path / 'half.mp4').write_bytes(usual.read_bytes()[:4000])
    for name in ('garbage', 'empty', 'half'):
        with pytest.raises(ValueError, match=rf'{name}\.mp4: FFmpeg cannot read this as a video'):
            probe_video(tmp_path / f'{name}.mp4')
    write_test_video(tmp_path / 'audio.m4a', codec=None)
    with pytest.raises(ValueError, match=r'audio\.m4a: no video stream but audio'):
        probe_video(tmp_path / 'audio.m4a')
    write_test_video(tmp_path / 'silent.mp4', 1, audio_from=None)
    assert probe_video(tmp_path / 'silent.mp4').audio_rate is None
    with pytest.raises(ValueError, match=r'silent\.mp4: no audio track'):
        AudioTrack(tmp_path / 'silent.mp4')
    with pytest.raises(FileNotFoundError, match=r'nothing\.mp4: no such video'):
        next(read_frames(tmp_path / 'nothing.mp4', [0.0]))


# ---- Clips of videos ----


@pytest.fixture
def videos(tmp_path):
    directory = tmp_path / 'videos'
    directory.mkdir()
    write_test_video(directory / 'long take.mp4', 11)
    write_test_video(directory / 'short.mkv', 3)
    write_test_video(directory / 'mute.mp4', 5, audio_from=None)
    return sorted(directory.iterdir())


def test_videos_become_clips_that_the_dataset_reads(tmp_path, videos):
    masks = tmp_path / 'masks'
    for name, seconds in (('long take', 10), ('mute', 5)):
        (masks / name).mkdir(parents=True)
        for second in range(seconds):
            Image.fromarray(np.full((48, 64), 255 * (second % 2), np.uint8)).save(masks / name / f'{second}.png')
    done = extract_clips(videos, tmp_path / 'own', lambda video: 'test', masks)
    assert (done.written, done.kept) == (3, 0)
    problem, = done.problems
    assert re.search(r'short\.mkv: too short \(3\.\d\d s\), a clip needs 5 s', problem)
    assert done.silent == [str(tmp_path / 'videos/mute.mp4')]

    pipeline = [LoadClipFrames(), LoadClipMasks(), LoadAudio(), PackClipInputs()]
    dataset = AVSBenchMS3Dataset(str(tmp_path / 'own'), 'test', pipeline=pipeline)
    assert [clip['clip_id'] for clip in (dataset.get_data_info(i) for i in range(3))] == [
        'long take_00000', 'long take_00005', 'mute_00000']
    second = dataset[1]
    frames, waveform = second['inputs']['frames'], second['inputs']['waveform'].numpy()
    assert frames[:, :, 24:, 32:].float().mean((1, 2, 3)).tolist() == pytest.approx(
        [40 * s % 256 for s in range(5, 10)], abs=6)
    assert amplitudes(waveform, RATE) == pytest.approx([0.6, 0.1, 0.2, 0.3, 0.4], abs=0.04)
    assert second['data_samples'].gt_sem_seg[:, 0, 0].tolist() == [1, 0, 1, 0, 1]
    silent, rate = soundfile.read(tmp_path / 'own/ms3_data/audio_wav/test/mute_00000.wav')
    assert not silent.any() and len(silent) == 5 * rate


def test_extraction_goes_on_and_keeps_splits(tmp_path, videos):
    long, mute, _ = videos
    extract_clips([long], tmp_path / 'own', lambda video: 'val')
    frame = tmp_path / 'own/ms3_data/visual_frames/long take_00000/long take_00000.mp4_1.png'
    before = frame.stat().st_mtime_ns
    done = extract_clips([long, mute], tmp_path / 'own', lambda video: 'train')
    assert (done.written, done.kept) == (1, 2) and frame.stat().st_mtime_ns == before
    rows = (tmp_path / 'own/ms3_meta_data.csv').read_text().splitlines()
    assert [row.split(',')[:2] for row in rows[1:]] == [
        ['long take_00000', 'val'], ['long take_00005', 'val'], ['mute_00000', 'train']]


def test_clips_get_masks_that_were_drawn_after_the_extraction(tmp_path, videos):
    mute, masks = videos[1], tmp_path / 'masks'
    extract_clips([mute], tmp_path / 'own', lambda video: 'val')
    (masks / 'mute').mkdir(parents=True)
    for second in range(5):
        Image.new('L', (64, 48), 255).save(masks / f'mute/{second}.png')
    first, second = (extract_clips([mute], tmp_path / 'own', lambda video: 'test', masks) for _ in range(2))
    assert (first.written, first.labelled, first.kept, first.problems) == (0, 1, 0, [])
    assert (second.written, second.labelled, second.kept) == (0, 0, 1)
    clip = AVSBenchMS3Dataset(str(tmp_path / 'own'), 'val', pipeline=[LoadClipMasks()])[0]
    assert [mask.min() for mask in clip['masks']] == [1] * 5


def test_clips_without_all_masks_and_videos_of_one_name_are_problems(tmp_path, videos):
    (tmp_path / 'masks/mute').mkdir(parents=True)
    Image.new('L', (64, 48)).save(tmp_path / 'masks/mute/0.png')
    done = extract_clips(videos[1:2], tmp_path / 'own', lambda video: 'test', tmp_path / 'masks')
    assert done.written == 0
    assert done.problems == [f'mute_00000: 4 of 5 masks are missing, first {tmp_path}/masks/mute/1.png']
    assert not (tmp_path / 'own/ms3_meta_data.csv').exists()
    with pytest.raises(ValueError, match=r'a/x\.mp4 and b/x\.mkv have the same name'):
        extract_clips(['a/x.mp4', 'b/x.mkv'], tmp_path, lambda video: 'test')


def test_videos_are_distributed_by_name(tmp_path):
    names = [tmp_path / f'{i}.mp4' for i in range(20)]
    splits = [distribute(names)(name) for name in names]
    assert [splits.count(split) for split in ('train', 'val', 'test')] == [16, 2, 2]
    assert [distribute(names[::-1])(name) for name in names] == splits
    assert sorted(distribute(names[:3])(name) for name in names[:3]) == ['test', 'train', 'val']
    assert {distribute(names[:2])(name) for name in names[:2]} == {'train'}


def test_splits_are_read_from_a_list(tmp_path):
    (tmp_path / 'splits.csv').write_text('video,split\na.mp4,train\nb,test\n')
    split_of = read_splits(tmp_path / 'splits.csv')
    assert split_of(tmp_path / 'a.mp4') == 'train' and split_of(tmp_path / 'b.mov') == 'test'
    with pytest.raises(ValueError, match=r'c\.mp4: not in the list of splits'):
        split_of(tmp_path / 'c.mp4')
    (tmp_path / 'splits.csv').write_text('video,split\na.mp4,training\n')
    with pytest.raises(ValueError, match="the split of a.mp4 is 'training'"):
        read_splits(tmp_path / 'splits.csv')


@pytest.mark.parametrize(('codec', 'kind'), [(b'V_MPEG4', 'video'), (b'A_AAC', 'audio')])
def test_a_stream_of_an_unknown_codec_is_named(tmp_path, codec, kind):
    path = write_test_video(tmp_path / 'rare.mkv', 2)
    path.write_bytes(path.read_bytes().replace(codec, codec[:2] + b'Z' * (len(codec) - 2)))
    with pytest.raises(ValueError, match=rf'rare\.mkv: FFmpeg has no decoder for the {kind} stream'):
        probe_video(path)


def test_texts_of_any_encoding_are_ignored(tmp_path):
    path = tmp_path / 'title.mkv'
    with av.open(str(path), 'w') as container:
        container.metadata['title'] = 'Qqqq'
        stream = container.add_stream('ffv1', rate=1)
        stream.width, stream.height, stream.pix_fmt = 16, 16, 'yuv420p'
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format='rgb24')))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b'Qqqq', b'Q\xff\xfeq'))
    assert probe_video(path).size == (16, 16)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'x.mp4')
    with pytest.raises(ValueError, match=r'x\.mp4: not a regular file, expected a video'):
        probe_video(tmp_path / 'x.mp4')
