"""Contact sheets, videos and figures: they contain all frames, classes and names, and the audio at its time."""
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch

from mmavs.datasets import AVSSDataset, VPODataset
from mmavs.registry import VISUALIZERS
from mmavs.structures import AVSDataSample
from mmavs.utils.palette import voc_palette
from mmavs.visualization import AVSVisualizer, FrameRow, overlay_masks, play_stills, write_video
from mmavs.visualization.avs_visualizer import draw_spectrogram
from mmavs.visualization.canvas import Page, text_width, wrap_text
from mmavs.visualization.colors import DISTINCT_COLORS, color_distances, drawing_palette, find_distinct_colors, oklab
from mmavs.visualization.comparison_figure import ComparedClip, FeatureMap, MethodResult, draw_comparison
from mmavs.visualization.frame_grid import Block
from mmavs.visualization.object_names import ObjectName, locate_names
from mmavs.visualization.waveform import to_mono

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


def beeps(seconds, rate=RATE):
    """A tone that is on in the second half of every second."""
    time = np.arange(seconds * rate) / rate
    return (0.5 * np.sin(2 * np.pi * 1000 * time) * (time % 1 >= 0.5)).astype(np.float32)


def envelope(samples):
    return np.sqrt((samples[:len(samples) // 1600 * 1600].reshape(-1, 1600)**2).mean(1))


def make_visualizer(num_classes):
    visualizer = AVSVisualizer()
    classes = ('background', 'object') if num_classes == 2 else AVSSDataset.METAINFO['classes'][:num_classes]
    visualizer.dataset_meta = dict(classes=classes)
    return visualizer


@pytest.fixture
def visualizer():
    return make_visualizer(2)


def read_video(path):
    with av.open(str(path)) as container:
        frames = [frame.reformat(format='rgb24', threads=1).to_ndarray() for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        video, *audio_streams = container.streams
        samples = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)]) if audio_streams else None
        return np.stack(frames), samples, video, (audio_streams or [None])[0]


def count(sheet, color):
    return int((sheet == color).all(-1).sum())


# ---- colors ----


def test_oklab_has_the_published_values():
    # White and pure red, as on the page of the color space's author.
    np.testing.assert_allclose(oklab([[255, 255, 255], [255, 0, 0]]), [[1, 0, 0], [0.628, 0.225, 0.126]], atol=1e-3)


def test_committed_colors_are_those_of_the_search():
    assert find_distinct_colors(len(DISTINCT_COLORS)) == DISTINCT_COLORS
    assert len(set(DISTINCT_COLORS)) == 254


@pytest.mark.parametrize(('num_classes', 'distance'), [(9, 0.2), (22, 0.12), (71, 0.07), (255, 0.04)])
def test_colors_of_any_two_classes_differ(num_classes, distance):
    palette = drawing_palette(None, num_classes)
    assert len(palette) == 255 and color_distances(palette[:num_classes]).min() > distance


def test_only_a_palette_with_similar_or_missing_colors_is_replaced():
    own = [(0, 0, 0), (200, 60, 60), (60, 60, 200)]
    distinct = drawing_palette(None, 71)
    assert drawing_palette(own, 3)[:3] == own
    assert drawing_palette(voc_palette(71), 71) == drawing_palette(own, 71) == distinct
    assert color_distances(voc_palette(71)).min() < 0.01
    assert len(set(drawing_palette(own, 3))) == 255


# ---- overlays ----


def test_overlay_paints_objects_and_leaves_background():
    frames = np.full((1, 40, 40, 3), 100, np.uint8)
    mask = np.zeros((1, 20, 20), np.uint8)
    mask[0, 5:15, 5:15], mask[0, 18:] = 2, 255
    painted = overlay_masks(frames, mask, [[0, 0, 0], [0, 0, 0], [200, 0, 50]], alpha=0.5)
    assert painted[0, 20, 20].tolist() == [150, 50, 75]
    assert painted[0, 2, 2].tolist() == [100, 100, 100]
    assert painted[0, 39, 2, 0] > 150  # unlabelled: faded
    assert np.abs(painted[0, 10, 20] - [200., 0, 50]).max() < 15  # outline: the color of the class
    assert (frames == 100).all()


@pytest.mark.parametrize('background', [(0, 0, 0), (255, 255, 255), (200, 0, 50), (0, 200, 0)])
def test_outline_is_visible_on_any_background(background):
    frames = np.full((1, 80, 80, 3), background, np.uint8)
    mask = np.zeros((1, 80, 80), np.uint8)
    mask[0, 20:60, 20:60] = 1
    painted = overlay_masks(frames, mask, [[0, 0, 0], [200, 0, 50]])[0].astype(int)
    outside = painted[40, 14:20]
    assert np.abs(outside - background).max() > 150
    assert painted[40, 8].tolist() == list(background)


def test_class_without_a_color_is_an_error():
    with pytest.raises(ValueError, match='a mask holds class 3, but the palette has 2 colors'):
        overlay_masks(np.zeros((1, 8, 8, 3), np.uint8), np.full((1, 8, 8), 3, np.uint8), [[0, 0, 0], [1, 1, 1]])


def test_names_are_written_inside_their_objects():
    mask = np.zeros((40, 60), np.uint8)
    cv2.circle(mask, (20, 20), 15, 2, -1)
    cv2.circle(mask, (20, 20), 9, 0, -1)  # a ring: its center is not inside
    mask[30:38, 45:58], mask[0, 59], mask[:2, :4] = 1, 2, 255
    names, = locate_names(mask[None], ('background', 'dog'))
    assert [name.text for name in names] == ['class 2', 'dog']  # the largest first; no name for a speck
    assert [mask[int(name.y * 40), int(name.x * 60)] for name in names] == [2, 1]


def test_names_stay_inside_the_image_and_do_not_overlap():
    page = Page(2, 2)
    names = [ObjectName('a very long name of a class', 0.9, 0.5), ObjectName('cat', 0, 0), ObjectName('dog', 0.5, 0.52)]
    texts = page.add_names(0.5, 0.5, 1, 1, names)
    boxes = [text.get_window_extent(page.figure.canvas.get_renderer()) for text in texts]
    assert len(boxes) == 3 and texts[0].get_text().endswith('…')
    for box in boxes:
        assert box.x0 >= 58 and box.x1 <= 182  # the image spans 60 to 180
    assert not boxes[0].overlaps(boxes[2])


def test_masks_of_another_length_are_refused(visualizer):
    frames, sample = make_clip()
    with pytest.raises(ValueError, match="clip 'clip': 4 frames, but gt_sem_seg has 5 entries"):
        visualizer.add_datasample('clip', frames[:4], sample, out_file='x.png')


# ---- contact sheets ----


@pytest.mark.parametrize('num_frames', [1, 5, 12])
def test_contact_sheet_is_a_readable_image_of_all_frames(visualizer, num_frames, tmp_path):
    frames, sample = make_clip(num_frames)
    out_file = tmp_path / 'directory' / 'clip.png'
    visualizer.add_datasample('dog/clip_$1', frames, sample, beeps(num_frames), RATE, out_file=out_file)
    sheet = cv2.imread(str(out_file))[..., ::-1]
    assert 400 <= sheet.shape[1] <= 1700 and sheet.shape[0] > 300
    cells = 0
    for color in COLORS[:num_frames]:
        # Frames are as wide as their columns, and none is hidden.
        cells += count(sheet, color) / (138 * 103 * -(-num_frames // 5))
    assert cells > 1.2 * min(num_frames, 5)
    assert list(tmp_path.rglob('*.partial')) == []


@pytest.mark.parametrize(('seconds', 'last'), [(5, 4), (12, 1)], ids=['one row', 'second of two rows'])
def test_spectrogram_is_aligned_with_the_frames(visualizer, seconds, last):
    frames, sample = make_clip(seconds)
    sheet, silent = (visualizer.draw_contact_sheet('clip', frames, sample, w, RATE)
                     for w in (beeps(seconds), np.zeros(seconds * RATE)))
    changed = (sheet != silent).any(-1)
    if seconds == 12:
        # Two rows of 6; the last frame has the color of frame 1.
        sheet, changed = (image[image.shape[0] // 2 + 30:] for image in (sheet, changed))
    # The audio changes the second half of each column.
    starts = np.flatnonzero(np.diff(changed.any(0).astype(int)) == 1)
    starts = starts[np.diff(starts, prepend=-100) > 60]
    found = np.flatnonzero((sheet == COLORS[last]).all(-1).sum(0) > 20)
    frame_columns = found[found > found[-1] - np.diff(starts).mean()]
    column = len(frame_columns)
    assert len(starts) == (5 if seconds == 5 else 6)
    assert np.diff(starts) == pytest.approx(np.diff(starts).mean(), abs=3)
    assert starts[-1] == pytest.approx(frame_columns[0] + column / 2, abs=0.06 * column)


def test_a_minute_of_frames_takes_ten_columns():
    row = FrameRow('frame', np.zeros((60, 2, 2, 3), np.uint8))
    assert [part.num_frames for part in Block([row], np.arange(61.)).split(10)] == [10] * 6


def test_long_clip_is_split_into_even_rows_with_the_spectrogram_of_their_time():
    images = np.arange(23)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    log_mel = np.repeat(np.arange(23.), 100)[None]
    parts = Block([FrameRow('frame', images, [str(t) for t in range(23)])], np.arange(24.), log_mel).split(10)
    assert [part.num_frames for part in parts] == [8, 8, 7]
    assert [part.times[0] for part in parts] == [0, 8, 16]
    for part in parts:
        start, end = part.times[0], part.times[-1]
        assert np.unique(part.log_mel).tolist() == list(np.arange(start, end))
        assert part.rows[0].captions[0] == f'{start:g}' and part.rows[0].images[0].max() == start
        assert part.peak == 22  # one scale of brightness for the clip


def test_frame_of_vpo_shows_its_three_seconds():
    visualizer = AVSVisualizer()
    visualizer.dataset_meta = VPODataset.METAINFO
    frames, sample = make_clip(1)
    late = beeps(3) * (np.arange(3 * RATE) >= 2 * RATE)
    sheet, silent = (visualizer.draw_contact_sheet('clip', frames, sample, w, RATE) for w in (late, 0 * late))
    columns = np.flatnonzero((sheet != silent).any((0, 2)))
    # The spectrogram spans columns 130 to 450 of the sheet.
    assert 130 + 2 / 3 * 320 < columns[0] and columns[-1] < 455
    log_mel = torch.rand(3, 1, 96, 64)
    drawn = draw_spectrogram(3, log_mel=log_mel)
    np.testing.assert_array_equal(drawn[:, :288], log_mel.flatten(0, 2).T)
    assert drawn.shape == (64, 300)


def test_classes_have_colors_names_and_entries_of_the_legend():
    frames = np.full((2, 210, 300, 3), 128, np.uint8)
    sample = AVSDataSample()
    masks = np.arange(1, 71).reshape(2, 35, 1)
    sample.gt_sem_seg = torch.from_numpy(np.repeat(masks, 20, 2).astype(np.uint8))
    visualizer = make_visualizer(71)
    legend = visualizer.legend(sample.gt_sem_seg.numpy())
    assert [name for name, _ in legend] == list(AVSSDataset.METAINFO['classes'][1:])
    sheet = visualizer.draw_contact_sheet('clip', frames, sample)
    first_row = np.flatnonzero((sheet == 128).all(-1).sum(1) > 400)[0]
    for _, color in legend:
        assert count(sheet[:first_row], color) > 80
    row = visualizer.mask_row('ground truth', frames, sample.gt_sem_seg.numpy())
    assert {name.text for names in row.names for name in names} == set(AVSSDataset.METAINFO['classes'][1:])


def test_single_foreground_class_has_no_legend_and_no_names(visualizer):
    masks = make_clip()[1].gt_sem_seg.numpy()
    row = visualizer.mask_row('ground truth', np.zeros((5, 9, 9, 3), np.uint8), masks)
    assert visualizer.legend(masks) == [] and row.names == ()
    # A class that the dataset does not have is not taken for it.
    assert visualizer.legend(2 * masks) == [('class 2', visualizer.palette[2])]


def test_long_titles_are_wrapped():
    title = 'a title with words and/one_very_long_identifier' + 'x' * 60
    lines = wrap_text(title, 2.0)
    assert ''.join(lines).replace(' ', '') == title.replace(' ', '') and len(lines) > 3
    assert all(text_width(line) <= 2.0 for line in lines)
    assert wrap_text('two words', 9) == ['two words'] and wrap_text('', 1) == []


def test_sheet_without_ground_truth_or_audio_is_smaller(visualizer):
    frames, sample = make_clip()
    full = visualizer.draw_contact_sheet('clip', frames, sample, beeps(5), RATE)
    bare = visualizer.draw_contact_sheet('clip', frames, AVSDataSample())
    assert bare.shape[0] < full.shape[0] / 2 and bare.shape[1] <= full.shape[1]


def test_padding_frames_are_left_out(visualizer):
    frames, sample = make_clip(10)
    sample.valid = torch.arange(10) < 5
    padded = visualizer.draw_contact_sheet('clip', frames, sample)
    assert padded.shape == visualizer.draw_contact_sheet('clip', *make_clip(5)).shape


def test_prediction_alone_is_drawn(visualizer):
    frames, sample = make_clip()
    predicted = AVSDataSample()
    predicted.pred_sem_seg = sample.pred_sem_seg
    sheet = visualizer.draw_contact_sheet('clip', frames, predicted)
    assert (np.abs(sheet - np.array(visualizer.palette[1], float)).max(-1) < 40).sum() > 200


# ---- audio ----


def test_audio_is_drawn_at_its_rate(visualizer):
    frames, sample = make_clip()
    sheets = [visualizer.draw_contact_sheet('clip', frames, sample, beeps(5, rate), rate) for rate in (RATE, 48000)]
    assert np.abs(sheets[0].astype(int) - sheets[1]).mean() < 0.5
    with pytest.raises(ValueError, match='the sampling rate of the waveform is missing'):
        visualizer.draw_contact_sheet('clip', frames, sample, beeps(5))


@pytest.mark.parametrize('convert', [
    lambda x: np.stack([x, x]), lambda x: np.stack([x, x], 1), lambda x: (x * 32768).astype(np.int16), torch.from_numpy
], ids=['channels first', 'channels last', 'int16', 'tensor'])
def test_waveform_of_any_layout_becomes_one_channel(convert):
    np.testing.assert_allclose(to_mono(convert(beeps(1))), beeps(1), atol=1e-4)


def test_waveform_of_three_dimensions_and_unknown_suffix_are_refused(visualizer, tmp_path):
    frames, sample = make_clip()
    with pytest.raises(ValueError, match=r'the waveform has shape \(1, 2, 100\)'):
        visualizer.add_datasample('clip', frames, sample, np.zeros((1, 2, 100)), RATE, out_file=tmp_path / 'clip.png')
    with pytest.raises(ValueError, match=r'clip\.gif: expected a file name that ends with'):
        visualizer.add_datasample('clip', frames, sample, out_file=tmp_path / 'clip.gif')


# ---- videos ----


def test_video_shows_each_frame_for_a_second_and_contains_the_audio(visualizer, tmp_path):
    frames, sample = make_clip()
    waveform = beeps(5)
    out_file = tmp_path / 'clip.mp4'
    visualizer.add_datasample('clip', frames, sample, waveform, RATE, out_file=out_file)
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


@pytest.mark.parametrize(('fps', 'rate'), [(np.int64(5), 5), (29.97, Fraction(2997, 100)), (np.float32(12.5), 12.5),
                                           (Fraction(30000, 1001), Fraction(30000, 1001))])
def test_frames_of_odd_size_and_fractional_rates_are_written(tmp_path, fps, rate):
    images = [np.full((63, 41, 3), 200, np.uint8)] * 3
    # 12345 Hz is not a rate of AAC.
    write_video(tmp_path / 'odd.mp4', images, fps, (beeps(1, 12345) * 30000).astype(np.int16), np.int64(12345))
    frames, samples, video, audio = read_video(tmp_path / 'odd.mp4')
    assert frames.shape == (3, 64, 42, 3) and np.abs(frames.astype(int) - 200).max() <= 4
    assert video.average_rate == rate
    assert float(audio.duration * audio.time_base) == pytest.approx(1, abs=0.1)
    assert np.corrcoef(envelope(samples[:RATE]), envelope(beeps(1)))[0, 1] > 0.95


@pytest.mark.parametrize(('frames', 'fps', 'message'), [
    ([], 5, 'there are no frames'),
    ([np.zeros((4, 4, 3))], 5, r'frame 0 has shape \(4, 4, 3\) and type float64, expected \(H, W, 3\) uint8'),
    ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)], 5, 'expected one size'),
    ([np.zeros((4, 4, 3), np.uint8)], 0, 'fps is 0, expected a positive number'),
])
def test_video_of_bad_frames_is_an_error(tmp_path, frames, fps, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / 'clip.mp4', frames, fps)
    assert not (tmp_path / 'clip.mp4').exists()


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
        visualizer.add_datasample('clip', frames[:2], sample, beeps(seconds), RATE, out_file=out_file)
        audio = read_video(out_file)[3]
        assert float(audio.duration * audio.time_base) == pytest.approx(2, abs=0.1)


# ---- backends ----


def test_sheet_without_a_file_goes_to_the_backends(tmp_path):
    visualizer = VISUALIZERS.build(
        dict(type='AVSVisualizer', name='sheets', save_dir=str(tmp_path), vis_backends=[dict(type='LocalVisBackend')]))
    visualizer.add_datasample('dog/clip', *make_clip(), step=3)
    assert [path.name for path in tmp_path.rglob('*.png')] == ['dog_clip_3.png']


# ---- comparison of methods ----


def compared_clips(num_frames=3):
    frames, sample = make_clip(num_frames)
    gt, pred = sample.gt_sem_seg.numpy(), sample.pred_sem_seg.numpy()
    meta = make_visualizer(2).dataset_meta
    maps = [FeatureMap('query 1', np.zeros((num_frames, 4, 4)), captions=['0.5'] * num_frames)]
    results = [MethodResult('A', pred, meta), MethodResult('B', gt, meta, maps)]
    first = ComparedClip('first', frames, results, meta, gt, np.zeros((64, 300), np.float32))
    return [first, ComparedClip('second', frames[:, :, ::2], results, meta)]


def test_comparison_has_a_row_for_each_method_and_map():
    figure = draw_comparison(compared_clips())
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert [label for label in texts if label in ('frame', 'audio', 'ground truth', 'A', 'B', 'B: query 1')] == [
        'frame', 'audio', 'ground truth', 'A', 'B', 'B: query 1'
    ]
    # Of the two clips side by side, the second has no ground truth.
    assert texts.count('IoU 1.00 (silent)') == 1 + 1 and texts.count('IoU 1.00') == 2
    assert texts.count('no ground truth') == 2 * 3 and texts.count('0.5') == 2 * 3
    images = [image for image in figure.axes[0].images]
    assert len(images) == 2 * 3 * 5


def test_comparison_shows_chosen_frames_with_their_own_seconds():
    clip = compared_clips()[0]
    clip.log_mel = np.repeat(np.arange(3.), 100)[None]
    figure = draw_comparison([clip], [2, 0])
    spectrogram = figure.axes[1]
    assert np.unique(spectrogram.images[0].get_array()[0, :100]).tolist() == [2]
    assert [text.get_text() for text in spectrogram.get_xticklabels()] == ['2 s', '0 s', '']
    assert (figure.axes[0].images[0].get_array()[30, 40] == COLORS[2]).all()
    with pytest.raises(ValueError, match="clip 'first' has 3 frames, there is no frame 3"):
        draw_comparison([clip], [3])
