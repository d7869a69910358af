"""Contact sheets and videos: files are readable, have the right size, and contain the frames, masks and audio."""
import av
import cv2
import numpy as np
import pytest
import torch

import mmavs.visualization  # noqa: F401
from mmavs.registry import VISUALIZERS
from mmavs.structures import AVSDataSample
from mmavs.visualization import AVSVisualizer, overlay_masks, play_stills, write_video

RATE = 16000
COLORS = [[40, 40, 40], [200, 60, 60], [60, 200, 60], [60, 60, 200], [200, 200, 60]]


def make_clip(num_frames=5, height=60, width=80):
    """Frames of one color each, with an object in the left half from frame 1 on."""
    frames = np.stack([np.full((height, width, 3), COLORS[t % 5], np.uint8) for t in range(num_frames)])
    sample = AVSDataSample(metainfo=dict(clip_id='clip'))
    masks = torch.zeros(num_frames, 30, 40, dtype=torch.uint8)
    masks[1:, 5:25, 5:20] = 1
    sample.gt_sem_seg, sample.pred_sem_seg = masks, masks.roll(2, 1)
    sample.valid = sample.labelled = torch.ones(num_frames, dtype=torch.bool)
    return frames, sample


def beeps(seconds):
    """A tone that is on in the second half of every second."""
    time = np.arange(seconds * RATE) / RATE
    return (0.5 * np.sin(2 * np.pi * 1000 * time) * (time % 1 >= 0.5)).astype(np.float32)


def envelope(samples):
    return np.sqrt((samples[:len(samples) // 1600 * 1600].reshape(-1, 1600)**2).mean(1))


@pytest.fixture
def visualizer():
    visualizer = AVSVisualizer()
    visualizer.dataset_meta = dict(classes=('background', 'object'), palette=[[0, 0, 0], [255, 255, 255]])
    return visualizer


def read_video(path):
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        video, *audio_streams = container.streams
        samples = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)]) if audio_streams else None
        return np.stack(frames), samples, video, (audio_streams or [None])[0]


def test_overlay_paints_objects_and_leaves_background():
    frames = np.full((1, 40, 40, 3), 100, np.uint8)
    mask = np.zeros((1, 20, 20), np.uint8)
    mask[0, 5:15, 5:15], mask[0, 18:] = 2, 255
    painted = overlay_masks(frames, mask, [[0, 0, 0], [0, 0, 0], [200, 0, 50]], alpha=0.5)
    assert painted[0, 20, 20].tolist() == [150, 50, 75]
    assert painted[0, 2, 2].tolist() == [100, 100, 100]
    assert painted[0, 39, 2, 0] > 150  # unlabelled: faded
    assert painted[0, 10, 20].min() > 150  # contour: light
    assert (frames == 100).all()


def test_masks_of_another_length_are_refused(visualizer):
    frames, sample = make_clip()
    with pytest.raises(ValueError, match="clip 'clip': 4 frames, but gt_sem_seg has 5 entries"):
        visualizer.add_datasample('clip', frames[:4], sample, out_file='x.png')


@pytest.mark.parametrize('num_frames', [1, 5, 10])
def test_contact_sheet_is_a_readable_image_of_all_frames(visualizer, num_frames, tmp_path):
    frames, sample = make_clip(num_frames)
    out_file = tmp_path / 'directory' / 'clip.png'
    visualizer.add_datasample('dog/clip_$1', frames, sample, torch.from_numpy(beeps(num_frames)), out_file=out_file)
    sheet = cv2.imread(str(out_file))[..., ::-1]
    assert sheet.shape[0] > 300 and sheet.shape[1] > 100 * num_frames
    for color in COLORS[:num_frames]:
        assert (sheet == color).all(-1).sum() > 1000


def test_spectrogram_is_aligned_with_the_frames(visualizer):
    frames, sample = make_clip()
    audio, silence = (visualizer.draw_contact_sheet('clip', frames, sample, w) for w in (beeps(5), np.zeros(5 * RATE)))
    # The sheets differ in the second half of each column, which shows the audio.
    columns = (audio.astype(int) != silence).any(-1).sum(0) > 0
    starts = np.flatnonzero(np.diff(columns.astype(int)) == 1)
    starts = starts[np.diff(starts, prepend=-100) > 100]
    frame_columns = np.flatnonzero((audio == COLORS[4]).all(-1).any(0))
    column = len(frame_columns)
    assert len(starts) == 5
    assert np.diff(starts) == pytest.approx(np.diff(starts).mean(), abs=3)
    assert starts[4] == pytest.approx(frame_columns[0] + column / 2, abs=0.06 * column)


def test_sheet_without_ground_truth_or_audio_is_smaller(visualizer):
    frames, sample = make_clip()
    full = visualizer.draw_contact_sheet('clip', frames, sample, beeps(5))
    bare = visualizer.draw_contact_sheet('clip', frames, AVSDataSample())
    assert bare.shape[0] < full.shape[0] / 2 and bare.shape[1] == full.shape[1]


def test_log_mel_is_rendered_without_a_waveform(visualizer):
    frames, sample = make_clip()
    with_log_mel = visualizer.draw_contact_sheet('clip', frames, sample, log_mel=torch.rand(5, 1, 96, 64))
    assert with_log_mel.shape == visualizer.draw_contact_sheet('clip', frames, sample, beeps(5)).shape


def test_padding_frames_are_left_out(visualizer):
    frames, sample = make_clip(10)
    sample.valid = torch.arange(10) < 5
    padded = visualizer.draw_contact_sheet('clip', frames, sample)
    assert padded.shape == visualizer.draw_contact_sheet('clip', *make_clip(5)).shape


def test_classes_of_a_clip_are_in_the_legend(visualizer):
    frames, sample = make_clip()
    plain = visualizer.draw_contact_sheet('clip', frames, sample)
    visualizer.dataset_meta = dict(classes=('background', 'dog', 'cat'), palette=[[0, 0, 0], [0, 200, 100], [9, 9, 99]])
    with_legend = visualizer.draw_contact_sheet('clip', frames, sample)
    heading = slice(0, 60)
    assert (with_legend[heading] == [0, 200, 100]).all(-1).sum() > 100
    assert not (with_legend[heading] == [9, 9, 99]).all(-1).any()
    assert not (plain[heading] == [0, 200, 100]).all(-1).any()


def test_video_shows_each_frame_for_a_second_and_contains_the_audio(visualizer, tmp_path):
    frames, sample = make_clip()
    waveform = beeps(5)
    out_file = tmp_path / 'clip.mp4'
    visualizer.add_datasample('clip', frames, sample, waveform, out_file=out_file)
    shown, samples, video, audio = read_video(out_file)

    assert len(shown) == 5 * visualizer.fps
    assert video.codec_context.name == 'h264' and video.codec_context.pix_fmt == 'yuv420p'
    assert audio.codec_context.name == 'aac' and audio.rate == RATE
    assert float(video.duration * video.time_base) == pytest.approx(5, abs=0.05)
    assert float(audio.duration * audio.time_base) == pytest.approx(5, abs=0.1)
    # The color of frame t fills most of the panels during second t.
    for t, color in enumerate(COLORS):
        for moment in (0.1, 0.9):
            panels = shown[int((t + moment) * visualizer.fps)].astype(int)
            assert (np.abs(panels - color).max(-1) < 25).mean() > 0.2
    assert np.corrcoef(envelope(samples[:len(waveform)]), envelope(waveform))[0, 1] > 0.99


def test_video_without_waveform_has_no_audio_stream(tmp_path):
    path = tmp_path / 'silent.mp4'
    write_video(path, play_stills(np.zeros((2, 32, 48, 3), np.uint8), 2, 8), 8)
    frames, _, _, audio = read_video(path)
    assert frames.shape == (16, 32, 48, 3)
    assert audio is None


def test_playhead_moves_through_its_box():
    stills = np.zeros((2, 10, 104, 3), np.uint8)
    frames = np.stack(list(play_stills(stills, 2, 25, (0, 4, 102, 8))))
    heads = [np.flatnonzero(frame[5, :, 0])[0] for frame in frames]
    assert heads[0] == 0 and heads[25] == 50 and heads[-1] == 98
    assert frames[:, :4].max() == frames[:, 8:].max() == stills.max() == 0


def test_audio_is_cut_or_padded_to_the_duration_of_the_frames(visualizer, tmp_path):
    frames, sample = make_clip(2)
    for seconds in (1, 4):
        out_file = tmp_path / f'{seconds}.mp4'
        visualizer.add_datasample('clip', frames[:2], sample, beeps(seconds), out_file=out_file)
        audio = read_video(out_file)[3]
        assert float(audio.duration * audio.time_base) == pytest.approx(2, abs=0.1)


def test_stereo_waveform_and_unknown_suffix_are_refused(visualizer, tmp_path):
    frames, sample = make_clip()
    with pytest.raises(ValueError, match='one channel'):
        visualizer.add_datasample('clip', frames, sample, np.zeros((2, 100)), out_file=tmp_path / 'clip.png')
    with pytest.raises(ValueError, match=r'clip\.gif: expected a file name that ends with'):
        visualizer.add_datasample('clip', frames, sample, out_file=tmp_path / 'clip.gif')


def test_sheet_without_a_file_goes_to_the_backends(tmp_path):
    visualizer = VISUALIZERS.build(
        dict(type='AVSVisualizer', name='sheets', save_dir=str(tmp_path), vis_backends=[dict(type='LocalVisBackend')]))
    visualizer.add_datasample('dog/clip', *make_clip(), step=3)
    assert [path.name for path in tmp_path.rglob('*.png')] == ['dog_clip_3.png']
