"""AVSInferencer and tools/segment_video.py on generated videos.

The model of most tests is that of time_probe.py.
"""
import re
import signal
import threading
import weakref
from fractions import Fraction
from itertools import count
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from doc_pages import blocks, run_shell
from mmengine.registry import INFERENCERS as ROOT_INFERENCERS
from PIL import Image
from small_models import audio_sensitive_model
from time_probe import CLASSES, time_probe
from video_files import rotate, write_test_video

from mmavs.apis import AVSInferencer, inference_clip
from mmavs.cli import main
from mmavs.registry import INFERENCERS
from mmavs.video import AudioTrack, read_frames, sample_frames

TINY = Path(__file__).parents[1] / 'configs/avsegformer/avsegformer_tiny_synthetic.py'


@pytest.fixture
def probe():
    return time_probe()


@pytest.fixture(scope='module')
def usual(tmp_path_factory):
    return write_test_video(tmp_path_factory.mktemp('video') / 'usual.mp4')


def labels(masks):
    """Labels of frame and audio of each mask."""
    return masks[:, -1, 0].tolist(), masks[:, -1, -1].tolist()


def predict(model, video, **options):
    return AVSInferencer(model)(video, **options)['predictions'][0]


def test_frames_get_the_audio_of_their_second(probe, usual):
    result = predict(probe, usual)
    assert labels(result['masks']) == ([0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6])
    assert result['times'].tolist() == [k + 15 / 16 for k in range(6)] and result['fps'] == 1
    assert result['masks'].shape == (6, 48, 64) and result['masks'].dtype == np.uint8
    assert probe.lengths == [5, 5]  # as trained: the last window is moved back


@pytest.mark.parametrize('fps', [2, 'native', Fraction(25, 2), 0.5])
def test_at_any_rate_a_frame_gets_the_audio_of_its_own_time(probe, usual, fps):
    result = predict(probe, usual, fps=fps)
    rate = 10 if fps == 'native' else fps
    times = result['times']
    assert len(times) == 6 * rate and np.all((times >= np.arange(len(times)) / rate) & (times < 6))
    seconds, amplitudes = map(np.array, labels(result['masks']))
    # Frames of the video are 0.1 s apart; the place in the audio lasts 0.04 s.
    sure = (times % 1 > 0.11) & (times % 1 < 0.99)
    assert sure.mean() > 0.7
    assert np.array_equal(seconds[sure], times[sure].astype(int))
    assert np.array_equal(amplitudes[sure], seconds[sure] + 1)
    assert max(probe.lengths) == (1 if rate < 1 else 5)


def test_all_frames_of_a_video_are_taken_once(probe, usual):
    assert len(predict(probe, usual, fps='native')['masks']) == 60
    frames = list(AVSInferencer(probe).stream(usual, fps='native'))
    decoded = np.stack(list(read_frames(usual, ((k + 0.5) / 10 for k in range(60)))))
    assert np.array_equal(np.concatenate([chunk.frames for chunk in frames]), decoded)


def test_a_variable_frame_rate_is_sampled_by_time(probe, tmp_path):
    times = [i / 20 for i in range(20)] + [1 + i / 2 for i in range(8)]
    path = write_test_video(tmp_path / 'vfr.mkv', 5, times=times)
    assert labels(predict(probe, path)['masks']) == ([0, 1, 2, 3, 4], [1, 2, 3, 4, 5])


def test_late_audio_is_preceded_by_silence(probe, tmp_path):
    path = write_test_video(tmp_path / 'late.mp4', audio_from=2.0)
    assert labels(predict(probe, path)['masks']) == ([0, 1, 2, 3, 4, 5], [0, 0, 3, 4, 5, 6])


def test_a_video_without_audio_is_silent_with_one_warning(probe, tmp_path):
    path = write_test_video(tmp_path / 'mute.mp4', 2, audio_from=None)
    with pytest.warns(UserWarning, match=r'mute\.mp4: no audio track') as caught:
        assert labels(predict(probe, path)['masks']) == ([0, 1], [0, 0])
    assert len(caught) == 1


def test_a_rotated_video_is_segmented_upright(probe, tmp_path):
    path = write_test_video(tmp_path / 'phone.mp4', 2)
    rotate(path)
    assert predict(probe, path)['masks'].shape == (2, 64, 48)


@pytest.mark.parametrize(('times', 'seconds', 'expected'), [
    ([0, 0.04, 0.08], [0], [0.08]), (np.arange(16) / 10, [0, 1], [15 / 16, 1.5]), (np.arange(13) / 10, [0], [15 / 16])])
def test_an_incomplete_last_second_counts_from_its_half(probe, tmp_path, times, seconds, expected):
    result = predict(probe, write_test_video(tmp_path / 'short.mp4', 2, times=times))
    assert labels(result['masks'])[0] == seconds and result['times'] == pytest.approx(expected)


@pytest.mark.parametrize('clip_length', [1, 3, 5])
@pytest.mark.parametrize('fps', [1, 'native', 3.7])
def test_the_stream_equals_the_whole(probe, usual, clip_length, fps):
    probe.dataset_meta['clip_length'] = clip_length
    whole = predict(probe, usual, fps=fps, return_prob=True)
    chunks = list(AVSInferencer(probe).stream(usual, fps, return_prob=True))
    assert len(chunks) > 1 and [chunk.start for chunk in chunks] == np.cumsum(
        [0, *(len(chunk.masks) for chunk in chunks[:-1])]).tolist()
    for name in ('masks', 'times', 'foreground_prob'):
        joined = np.concatenate([getattr(chunk, name) for chunk in chunks])
        assert np.array_equal(joined, whole[name])
    assert whole['foreground_prob'].dtype == np.float16


@pytest.mark.parametrize(('fps', 'independent_frames', 'most'), [(1, False, 50), (1, True, 50), (8, False, 12)])
def test_the_stream_keeps_a_bounded_number_of_frames(probe, usual, monkeypatch, fps, independent_frames, most):
    alive = weakref.WeakSet()

    class Frame(np.ndarray):
        __hash__ = object.__hash__

    def endless(*options):
        for k in count():
            frame = np.full((8, 8, 3), k % 256, np.uint8).view(Frame)
            alive.add(frame)
            yield k / fps, frame

    monkeypatch.setattr('mmavs.apis.video_source.sample_frames', endless)
    probe.independent_frames = independent_frames
    stream, start = AVSInferencer(probe).stream(usual, fps), 0
    for _ in range(40):
        chunk = next(stream)
        assert chunk.start == start and 1 <= len(chunk.masks) <= 5
        expected = [k % 256 for k in range(start, start + len(chunk.masks))]
        assert [int(frame[0, 0, 0]) for frame in chunk.frames] == expected
        # At 1 fps: those that are read ahead, and two windows, which make a batch. At 8 fps the frames are read again.
        assert len(alive) <= most
        start += len(chunk.masks)
    stream.close()


def test_frames_that_are_read_again_equal_those_that_are_kept(probe, usual, monkeypatch):
    kept = list(AVSInferencer(probe).stream(usual, fps=4))
    monkeypatch.setattr('mmavs.apis.chunk_prediction.MAX_WAITING_FRAMES', 0)
    again = list(AVSInferencer(probe).stream(usual, fps=4))
    assert sum(len(chunk.frames) for chunk in again) == 24
    for x, y in zip(kept, again, strict=True):
        assert np.array_equal(x.frames, y.frames) and np.array_equal(x.times, y.times)


@pytest.mark.parametrize(('outputs', 'fps', 'times'), [
    (['png', 'npz'], 10, 1), (['png'], 1, 1), (['overlay'], 1, 1), (['overlay', 'png'], 10, 2)])
def test_the_video_is_read_twice_only_for_many_waiting_frames(probe, usual, tmp_path, monkeypatch, outputs, fps, times):
    calls = []

    def counted(*options):
        calls.append(1)
        return sample_frames(*options)

    monkeypatch.setattr('mmavs.apis.video_source.sample_frames', counted)
    AVSInferencer(probe).write(usual, tmp_path, outputs, fps=fps)
    assert len(calls) == times


def test_chunks_of_interleaved_windows_are_small(probe, usual):
    chunks = list(AVSInferencer(probe).stream(usual, fps='native'))
    assert max(len(chunk.masks) for chunk in chunks) == 5 and len(chunks) >= 12


def test_a_stream_that_is_closed_early_leaves_no_thread(probe, usual, monkeypatch):
    endless = lambda *options: ((k / 10, np.zeros((8, 8, 3), np.uint8)) for k in count())  # noqa: E731
    monkeypatch.setattr('mmavs.apis.video_source.sample_frames', endless)
    for fps, threads in ((1, 1), (10, 2)):
        stream = AVSInferencer(probe).stream(usual, fps=fps)
        next(stream)
        assert sum(thread.name.startswith('mmavs') for thread in threading.enumerate()) == threads
        stream.close()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith('mmavs')]


def test_a_pipeline_that_mutes_the_audio_does(probe, usual):
    probe.cfg.test_dataloader.dataset.pipeline.insert(0, dict(type='MuteAudio'))
    assert labels(predict(probe, usual)['masks']) == ([0, 1, 2, 3, 4, 5], [0] * 6)


# ---- A real model ----

@pytest.fixture(scope='module')
def small_model():
    return audio_sensitive_model()


@pytest.mark.parametrize('fps', [1, 2, 'native'])
def test_masks_equal_those_of_inference_clip(small_model, tmp_path, fps):
    path = write_test_video(tmp_path / 'video.mkv', 5, fps=4, rate=22050, audio_codec='pcm_s16le')
    rate, place = (4, 0.5) if fps == 'native' else (fps, 15 / 16)
    result = predict(small_model, path, fps=fps, return_prob=True)
    frames = list(read_frames(path, ((k + place) / rate for k in range(5 * rate))))
    waveform = AudioTrack(path).read(0, 5)
    assert len(result['masks']) == len(frames)
    # Windows of three frames, one second apart, and the audio from 15/16 s before the first frame on.
    for first in range(rate):
        window = list(range(first, first + 3 * rate, rate))
        start = max(0, (first + place) / rate - 15 / 16)
        sample = inference_clip(small_model, [frames[k] for k in window], waveform[round(start * 22050):][:3 * 22050],
                                22050)
        assert np.array_equal(sample.pred_sem_seg.numpy(), result['masks'][window])
        np.testing.assert_allclose(sample.foreground_prob.numpy(), result['foreground_prob'][window], atol=2e-3)
    # Audio of half a second later makes a difference that is far above the tolerance.
    late = inference_clip(small_model, [frames[k] for k in window], waveform[round((start + 0.5) * 22050):][:3 * 22050],
                          22050)
    assert (late.foreground_prob - sample.foreground_prob).abs().max() > 2e-2


def test_a_clip_in_memory_equals_inference_clip(small_model):
    frames = np.random.default_rng(0).integers(0, 256, (4, 40, 56, 3), dtype=np.uint8)
    clip = dict(frames=frames, waveform=np.random.default_rng(1).uniform(-0.5, 0.5, 2 * 8000), rate=8000)
    sample = inference_clip(small_model, **clip, fps=2)
    result, = AVSInferencer(small_model)(clip, fps=2, return_datasamples=True)['predictions']
    assert torch.equal(result.pred_sem_seg, sample.pred_sem_seg) and result.times.tolist() == [0, 0.5, 1, 1.5]
    with pytest.raises(ValueError, match="fps is 'native', but frames in memory"):
        predict(small_model, clip, fps='native')
    with pytest.raises(ValueError, match=r"has the keys \['frames'\], expected frames, waveform and rate"):
        predict(small_model, dict(frames=frames))


# ---- Files ----


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize(('kind', 'copied'), [
    (dict(), True),
    (dict(size=(47, 65), pix_fmt='yuv444p', audio_codec='mp3', rate=48000), True),
    (dict(rate=8000, audio_codec='pcm_s16le'), False),
    (dict(audio_from=2.0), True),
], ids=str)
def test_the_overlay_has_frames_masks_and_the_original_audio(probe, tmp_path, kind, copied):
    suffix = 'mkv' if 'audio_codec' in kind else 'mp4'
    path = write_test_video(tmp_path / f'my video.{suffix}', 4, **kind)
    paths = AVSInferencer(probe).write(path, tmp_path / 'out', ['overlay', 'npz'])
    assert paths == [tmp_path / 'out/overlay.mp4', tmp_path / 'out/masks.npz']
    height, width = kind.get('size', (48, 64))
    shown = list(read_frames(paths[0], (k + 0.5 for k in range(9))))
    assert len(shown) == 4 and shown[0].shape == (height + height % 2, width + width % 2, 3)
    # Second 0 has the background in its left half, later ones are painted over.
    for k, frame in enumerate(shown):
        changed = np.abs(frame[height // 2:height, 5:width // 3].astype(int) - 40 * k).max(-1) > 15
        assert changed.mean() < 0.05 if k == 0 else changed.mean() > 0.5
    original, audio = AudioTrack(path).read(0, 4), AudioTrack(paths[0]).read(0, 4)
    level = lambda x: [np.abs(x[int((k + 0.3) * len(x) / 4):int((k + 0.7) * len(x) / 4)]).max() for k in range(4)]  # noqa: E731, E501
    assert level(audio) == pytest.approx(level(original), abs=0.03)
    assert (packets(paths[0]) == packets(path)) == copied


def test_masks_are_indexed_png_and_npz(probe, usual, tmp_path):
    (tmp_path / 'masks').mkdir()
    (tmp_path / 'masks/00099.png').touch()  # of an earlier, longer run
    AVSInferencer(probe).write(usual, tmp_path, ['png', 'npz'], fps=2)
    expected = predict(probe, usual, fps=2)
    with np.load(tmp_path / 'masks.npz', allow_pickle=False) as archive:
        assert np.array_equal(archive['masks'], expected['masks'])
        assert np.array_equal(archive['times'], expected['times']) and tuple(archive['classes']) == CLASSES
    images = [Image.open(path) for path in sorted((tmp_path / 'masks').iterdir())]
    assert len(images) == 12 and {image.mode for image in images} == {'P'}
    assert np.array_equal(np.stack(images), expected['masks'])
    assert not list(tmp_path.rglob('*.partial'))


def test_a_call_writes_the_same_files(probe, usual, tmp_path):
    inferencer = AVSInferencer(probe)
    result = inferencer([usual], vis_out_dir=tmp_path / 'called', pred_out_dir=tmp_path / 'called')
    inferencer.write(usual, tmp_path / 'written', ['overlay', 'png', 'npz'])
    assert result['visualization'] == [tmp_path / 'called/usual/overlay.mp4']
    files = [path for path in (tmp_path / 'written').rglob('*') if path.is_file()]
    assert len(files) == 8
    for path in files:
        twin = tmp_path / 'called/usual' / path.relative_to(tmp_path / 'written')
        assert path.suffix == '.npz' or twin.read_bytes() == path.read_bytes()


def test_nothing_is_left_of_a_video_that_breaks_off(probe, usual, tmp_path, monkeypatch):

    def broken(*options):
        yield 0.0, np.zeros((8, 8, 3), np.uint8)
        raise ValueError('damaged')

    monkeypatch.setattr('mmavs.apis.video_source.sample_frames', broken)
    with pytest.raises(ValueError, match='damaged'):
        AVSInferencer(probe).write(usual, tmp_path / 'out', ['overlay', 'png', 'npz'])
    assert [path for path in tmp_path.rglob('*') if path.is_file()] == []


def test_unusable_inputs_are_named(probe, tmp_path):
    write_test_video(tmp_path / 'audio.m4a', 1, codec=None)
    with pytest.raises(ValueError, match=r'audio\.m4a: no video stream but audio'):
        predict(probe, tmp_path / 'audio.m4a')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='empty: the directory holds no video file'):
        predict(probe, tmp_path / 'empty')
    with pytest.raises(FileNotFoundError, match=r'absent\.mp4: no such video file'):
        predict(probe, tmp_path / 'absent.mp4')
    with pytest.raises(ValueError, match='fps is 0, expected a positive number'):
        predict(probe, tmp_path / 'audio.m4a', fps=0)
    with pytest.raises(ValueError, match=r"outputs are \['mp4'\], expected a list of overlay, png, npz"):
        AVSInferencer(probe).write('x.mp4', tmp_path, ['mp4'])
    with pytest.raises(ValueError, match='the model is built: load them with init_model'):
        AVSInferencer(probe, 'weights.pth')
    probe.mask_prior = torch.nn.Identity()
    with pytest.raises(ValueError, match='mask_prior is missing'):
        predict(probe, tmp_path / 'audio.m4a')


@pytest.mark.parametrize('fps', [1, 10])
def test_ctrl_c_leaves_nothing_of_the_video_and_no_thread(probe, usual, tmp_path, fps):
    forward, calls = probe.forward, []

    def interrupted(*inputs, **options):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return forward(*inputs, **options)

    probe.forward = interrupted
    with pytest.raises(KeyboardInterrupt):
        AVSInferencer(probe).write(usual, tmp_path / 'out', ['overlay', 'png', 'npz'], fps, batch_size=1)
    assert [path for path in tmp_path.rglob('*') if path.is_file()] == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith('mmavs')]


def test_progress_is_reported_in_seconds_of_the_video(probe, usual, tmp_path):
    reports = []
    AVSInferencer(probe).write(usual, tmp_path, ['npz'], fps=2, on_progress=lambda *report: reports.append(report))
    seconds, durations = zip(*reports)
    assert list(seconds) == sorted(seconds) and seconds[-1] == pytest.approx(5.5 + 15 / 32)
    assert len(set(durations)) == 1 and durations[0] == pytest.approx(6, abs=0.1)


def test_mmengine_builds_the_inferencer_by_its_name(probe, usual):
    assert INFERENCERS.get('AVSInferencer') is AVSInferencer
    inferencer = ROOT_INFERENCERS.build(dict(type='mmavs.AVSInferencer', model=probe))
    assert len(inferencer(usual)['predictions'][0]['masks']) == 6


def test_the_groups_of_keyword_arguments_are_disjoint_and_complete(probe, usual):
    steps = ('preprocess', 'forward', 'visualize', 'postprocess')
    groups = [getattr(AVSInferencer, f'{step}_kwargs') for step in steps]
    assert sorted(set().union(*groups)) == sorted(name for group in groups for name in group)
    assert set().union(*groups) == {'fps', 'return_prob', 'vis_out_dir', 'pred_out_dir'}
    with pytest.raises(TypeError, match='unexpected keyword argument'):
        AVSInferencer(probe)(usual, rate=1)


# ---- tools/segment_video.py ----


def test_the_tool_reports_broken_files_and_segments_the_others(run_tool, small_model, tmp_path, capsys):
    torch.save(dict(state_dict=small_model.state_dict()), tmp_path / 'weights.pth')
    videos = tmp_path / 'my videos'
    videos.mkdir()
    write_test_video(videos / 'a b.mp4', 1)
    write_test_video(videos / 'déjà.mkv', 1, audio_from=None)
    (videos / 'broken.mp4').write_text('not a video')
    (videos / 'notes.txt').write_text('not meant')
    options = ('--model', TINY, '--weights', tmp_path / 'weights.pth', '--out', tmp_path / 'out',
               '--device', 'cpu', '--skip-existing', '--outputs', 'overlay', 'png', 'npz')
    with pytest.warns(UserWarning, match='no audio track'), pytest.raises(SystemExit) as error:
        run_tool('segment_video', videos, *options)
    assert error.value.code == 1
    messages = [line for line in capsys.readouterr().err.splitlines() if not line.startswith('segment: ')]
    assert len(messages) == 2 and f'error: {videos}/broken.mp4: FFmpeg cannot read' in messages[0]
    assert messages[1] == f"2 of 3 video(s) segmented, results in {tmp_path / 'out'}"
    files = {str(path.relative_to(tmp_path / 'out')) for path in (tmp_path / 'out').rglob('*') if path.is_file()}
    names = ('overlay.mp4', 'masks.npz', 'masks/00000.png')
    assert files == {f'{video}/{name}' for video in ('a b', 'déjà') for name in names}

    before = {file: (tmp_path / 'out' / file).stat().st_mtime_ns for file in files}
    (videos / 'broken.mp4').unlink()
    run_tool('segment_video', videos, *options)
    assert {file: (tmp_path / 'out' / file).stat().st_mtime_ns for file in files} == before


# ---- docs/user_guides/inference.md ----


@pytest.fixture
def page(small_model, usual, tmp_path, monkeypatch):
    """The page, with a small model in place of its model, in a directory with its files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'video.mp4').symlink_to(usual)
    torch.save(dict(state_dict=small_model.state_dict()), 'CHECKPOINT')
    text = (TINY.parents[2] / 'docs/user_guides/inference.md').read_text()
    return text.replace('configs/vct/vct_swin-b_avss.py', str(TINY)).replace('vct_swin-b_avss', str(TINY))


def section(page, title):
    """Commands and Python code of a section."""
    code = blocks(page.partition(f'## {title}\n')[2].partition('\n## ')[0])
    return ['\n'.join(text for kind, text in code if kind == language) for language in ('bash', 'python')]


def test_the_lines_about_videos_run(page, tmp_path):
    command, lines = section(page, 'Segment a video')
    assert command.startswith('mmavs infer video.mp4 --model ') and command.count('\n') == 1
    main(command.split()[1:])
    assert len(list((tmp_path / 'mmavs_results/video/masks').iterdir())) == 6
    namespace = {}
    exec(compile(lines, 'inference.md', 'exec'), namespace)
    assert namespace['result']['masks'].shape == (6, 48, 64)
    assert len(namespace['chunk'].masks) in range(1, 7)
    assert {path.name for path in (tmp_path / 'results/video').iterdir()} == {'overlay.mp4', 'masks', 'masks.npz'}


def test_the_lines_about_clips_names_and_figures_run(page, tmp_path, run_tool, capsys):
    frames = np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3), np.uint8)
    namespace = dict(frames=frames, waveform=0.1 * np.sin(np.arange(4 * 44100) / 20))
    for title in ('Segment a clip in memory', 'Use a model by its name', 'Draw the result'):
        commands, lines = section(page, title)
        if commands:
            run_shell(commands, run_tool)
        exec(compile(lines, 'inference.md', 'exec'), namespace)
    assert namespace['sample'].pred_sem_seg.shape == (4, 48, 64)
    assert 'vct_swin-b_avss' in capsys.readouterr().out and namespace['model'].cfg.filename == str(TINY)
    assert Image.open(tmp_path / 'sheet.png').width > 500 and (tmp_path / 'overlay.mp4').is_file()
    assert {title for title in re.findall(r'^## (.*)', page, re.MULTILINE)} == {
        'Segment a video', 'Outputs', 'Segment a clip in memory', 'Frames, seconds and windows',
        'Use a model by its name', 'Precision and compilation', 'Draw the result'}
    for title in ('Outputs', 'Frames, seconds and windows', 'Precision and compilation'):
        assert section(page, title) == ['', '']
