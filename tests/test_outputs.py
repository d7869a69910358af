"""Files that are written for a segmented video, from generated chunks."""
import csv
import errno
import json
import sys
from fractions import Fraction
from functools import partial

import av
import cv2
import numpy as np
import pytest
from disk_limits import largest_file
from PIL import Image
from pycocotools.coco import COCO
from video_files import write_test_video

from mmavs.apis.output_pipeline import run_pipeline
from mmavs.apis.outputs import OUTPUTS, OutputContext, check_output_paths, output_paths
from mmavs.apis.outputs.class_masks import file_stem
from mmavs.apis.outputs.cutout import MARGIN
from mmavs.apis.outputs.timeline import NUM_COLUMNS, ColumnMeans
from mmavs.apis.video_chunk import VideoChunk
from mmavs.utils.errors import user_message
from mmavs.video import AudioTrack, list_videos, probe_video
from mmavs.visualization import AVSVisualizer
from mmavs.visualization.object_names import write_names
from mmavs.visualization.timeline_figure import TimelineBand, draw_timeline

NINE = ('background', 'man', 'woman', 'dog', 'acoustic guitar', 'piano', 'car', 'bird', 'drum')
SIZE = (60, 80)


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    return write_test_video(tmp_path_factory.mktemp('video') / 'video.mp4', 5)


def context(video=None, classes=NINE, fps=1, **audio):
    visualizer = AVSVisualizer()
    visualizer.dataset_meta = dict(classes=classes)
    audio = audio or ({} if video is None else dict(audio_of=video))
    return OutputContext(visualizer.dataset_meta, np.array(visualizer.palette), Fraction(fps), audio, 'my video.mp4')


def make_masks(count=5, size=SIZE):
    """Dog (3) in every frame but the first; from frame 2 on a bird (7) beside it."""
    masks = np.zeros((count, *size), np.uint8)
    masks[1:, size[0] // 3:-5, 6:size[1] // 2] = 3
    masks[2:, 4:size[0] // 2, -size[1] // 3:-5] = 7
    return masks


def make_chunks(masks=None, with_prob=True, fps=1):
    """Chunks of two frames; frame t is of the gray value 30 (t % 8), and red where its mask is not background."""
    masks = make_masks() if masks is None else masks
    for start in range(0, len(masks), 2):
        part = masks[start:start + 2]
        frames = []
        for t, mask in enumerate(part, start):
            frame = np.full((*mask.shape, 3), 30 * (t % 8), np.uint8)
            frame[mask > 0] = 200, 30, 40
            frames.append(frame)
        prob = np.where(part == 3, 0.75, np.where(part == 7, 0.9, 0.1)).astype(np.float16) if with_prob else None
        yield VideoChunk(start, (np.arange(start, start + len(part)) + 15 / 16) / fps, frames, part, prob)


def write(output, directory, chunks, context):
    path = directory / OUTPUTS[output].file
    OUTPUTS[output].write(path, chunks, context)
    return path


def decode(path, pixel_format='rgb24', decoder=None):
    """All frames of a video; FFmpeg's own decoder of VP9 leaves alpha out."""
    with av.open(str(path)) as container:
        if decoder is None:
            frames = list(container.decode(video=0))
        else:
            context = av.CodecContext.create(decoder, 'r')
            frames = [frame for packet in container.demux(video=0)
                      for frame in context.decode(packet if packet.size else None)]
        return np.stack([frame.reformat(format=pixel_format, threads=1).to_ndarray() for frame in frames])


def audio_codec(path):
    with av.open(str(path)) as container:
        return [stream.codec_context.name for stream in container.streams.audio]


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


# ---- overlay ----


def test_the_overlay_shows_frame_k_from_k_to_k_plus_1_with_the_audio_of_the_video(video, tmp_path):
    path = write('overlay', tmp_path, make_chunks(), context(video))
    assert packets(path) == packets(video)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert [frame.time for frame in frames] == [0, 1, 2, 3, 4]
        assert float(stream.duration * stream.time_base) == 5
        audio = container.streams.audio[0]
        assert float(audio.duration * audio.time_base) == pytest.approx(5, abs=0.03)
    level = [np.abs(AudioTrack(path).read(second + 0.3, second + 0.7)).max() for second in range(5)]
    assert level == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5], abs=0.03)


def test_players_find_a_keyframe_every_five_seconds(tmp_path):
    path = write('overlay', tmp_path, make_chunks(np.zeros((12, 32, 32), np.uint8)), context())
    with av.open(str(path)) as container:
        keyframes = [frame.time for frame in container.decode(video=0) if frame.key_frame]
    assert keyframes[0] == 0 and np.diff([*keyframes, 12]).max() <= 5


@pytest.mark.parametrize('size', [(48, 64), (736, 1280)])
def test_colors_are_those_of_the_frames_at_any_size(tmp_path, size):
    colors = [(255, 60, 90), (30, 60, 255), (0, 180, 0), (200, 100, 50)]
    frame = np.concatenate([np.full((size[0], size[1] // 4, 3), color, np.uint8) for color in colors], 1)
    chunk = VideoChunk(0, np.array([0.9]), [frame], np.zeros((1, *size), np.uint8))
    path = write('overlay', tmp_path, [chunk], context())
    shown = decode(path)[0]
    found = [shown[size[0] // 2, int((i + 0.5) * size[1] / 4)] for i in range(4)]
    np.testing.assert_allclose(found, colors, atol=4)
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.colorspace, codec.color_range, codec.color_primaries, codec.color_trc) == (1, 1, 1, 1)


def test_objects_of_several_classes_are_named(tmp_path):
    size = (240, 320)
    mask = np.zeros((1, *size), np.uint8)
    mask[0, 20:220, 20:300] = 3
    shown = {}
    for classes in (NINE, ('background', 'object', 'other'), ('background', 'object')):
        masks = np.minimum(mask, len(classes) - 1)
        shown[len(classes)] = decode(write('overlay', tmp_path, make_chunks(masks), context(classes=classes)))[0]
    # The name is white with a black edge, in the middle of the object.
    middle = {count: frame[100:140, 110:210] for count, frame in shown.items()}
    assert middle[2].std(axis=(0, 1)).max() < 3
    for count in (3, 9):
        assert middle[count].min() < 40 and middle[count].max() > 220
    assert np.abs(middle[3].astype(int) - middle[9]).max() > 100


def test_names_stay_inside_of_the_frame_and_apart():
    image, mask = np.full((120, 100, 3), 128, np.uint8), np.zeros((120, 100), np.uint8)
    mask[50:60, 70:], mask[60:70, 70:] = 1, 2
    named = write_names(image, mask, ('background', 'a name that is wider than the frame', 'cat'))
    rows = (named != image).any((1, 2))
    assert (image == 128).all() and 15 < rows.sum() < 40
    assert write_names(image, np.zeros_like(mask), NINE) is image


# ---- masks ----


def test_coco_masks_boxes_and_categories_are_read_by_pycocotools(tmp_path):
    directory = write('coco', tmp_path, make_chunks(), context())
    coco, masks = COCO(directory / 'labels.json'), make_masks()
    assert [(entry['id'], entry['name']) for entry in coco.loadCats(coco.getCatIds())] == list(enumerate(NINE))[1:]
    assert len(coco.getImgIds()) == 5 and len(coco.getAnnIds()) == 4 + 3
    for image in coco.loadImgs(coco.getImgIds()):
        t = image['frame']
        assert image['id'] == t + 1 and image['time'] == t + 15 / 16
        assert (image['height'], image['width']) == SIZE
        frame = np.asarray(Image.open(directory / 'data' / image['file_name']))
        assert frame.shape == (*SIZE, 3)
        np.testing.assert_allclose(frame[2, 2], [30 * t] * 3, atol=3)
        if t > 0:
            np.testing.assert_allclose(frame[40, 20], (200, 30, 40), atol=8)
        decoded = np.zeros(SIZE, np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(image['id'])):
            mask, label = coco.annToMask(annotation), annotation['category_id']
            decoded[mask == 1] = label
            rows, columns = np.nonzero(masks[t] == label)
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert annotation['bbox'] == box and annotation['area'] == len(rows) and annotation['iscrowd'] == 0
            assert annotation['score'] == pytest.approx({3: 0.75, 7: 0.9}[label], abs=1e-3)
            assert isinstance(annotation['segmentation']['counts'], str)
        assert np.array_equal(decoded, masks[t])


def test_coco_of_a_silent_video_without_class_names_is_valid(tmp_path):
    directory = write('coco', tmp_path, make_chunks(np.zeros((2, 8, 8), np.uint8), with_prob=False),
                      context(classes=()))
    content = json.loads((directory / 'labels.json').read_text())
    assert content['annotations'] == [] and content['categories'] == [
        dict(id=1, name='class 1', supercategory='object')
    ]


def test_a_missing_pycocotools_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pycocotools', None)
    monkeypatch.delitem(sys.modules, 'pycocotools.mask')
    with pytest.raises(ImportError, match='writing masks in the COCO format needs the package pycocotools') as error:
        write('coco', tmp_path, make_chunks(), context())
    assert user_message(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize('size', [SIZE, (61, 83)])
def test_class_masks_are_exact_and_have_a_frame_for_each_frame(tmp_path, size):
    masks = make_masks(size=size)
    directory = write('class-masks', tmp_path, make_chunks(masks, with_prob=False), context())
    assert sorted(path.name for path in directory.iterdir()) == ['bird.mp4', 'dog.mp4']
    for name, label in (('dog', 3), ('bird', 7)):
        shown = decode(directory / f'{name}.mp4')
        assert np.array_equal(shown, np.repeat((masks == label)[..., None] * np.uint8(255), 3, -1))
        assert probe_video(directory / f'{name}.mp4').duration == 5
        # Another program than PyAV.
        found, image = cv2.VideoCapture(str(directory / f'{name}.mp4')).read()
        assert found and np.array_equal(image, shown[0])


def test_class_names_become_different_and_safe_file_names():
    classes = ('background', 'man/woman', 'man woman', '../x', 'Dog', 'dog', '', 'Ünïcode 1.5', 'a' * 300)
    stems = [file_stem(classes, label) for label in range(1, len(classes))]
    assert stems == ['man_woman_1', 'man_woman_2', 'x', 'Dog_4', 'dog_5', 'class_6', 'Ünïcode_1.5', 'a' * 50]
    assert file_stem((), 7) == 'class_7'


@pytest.mark.parametrize('output', ['cutout', 'cutout-prores'])
@pytest.mark.parametrize('size', [SIZE, (61, 83)])
def test_cutouts_are_opaque_where_an_object_sounds(tmp_path, output, size, video):
    masks = make_masks(size=size)
    path = write(output, tmp_path, make_chunks(masks), context(video))
    shown = decode(path, 'rgba', 'libvpx-vp9' if output == 'cutout' else None).astype(int)
    assert shown.shape == (5, *size, 4)
    error = np.abs(shown[..., 3] - 255 * (masks != 0))
    assert error.max() <= (40 if output == 'cutout' else 2) and error.mean() < 1
    inside = np.stack([cv2.erode((mask != 0).astype(np.uint8), np.ones((5, 5))) for mask in masks]) == 1
    assert np.abs(shown[inside][:, :3] - (200, 30, 40)).mean() < 8
    # At a distance, nothing of the frame is left.
    kernel = np.ones((2 * MARGIN + 13, ) * 2)
    beyond = np.stack([cv2.dilate((mask != 0).astype(np.uint8), kernel) for mask in masks]) == 0
    assert shown[beyond][:, :3].max() < 30
    assert probe_video(path).duration == pytest.approx(5, abs=0.1)
    if output == 'cutout':
        assert audio_codec(path) == ['opus']
    else:
        assert packets(path) == packets(video)


@pytest.mark.parametrize(('output', 'suffix', 'codec', 'copied'), [
    ('cutout', 'mkv', 'libopus', True), ('overlay', 'mkv', 'flac', True), ('overlay', 'ts', 'aac', True),
    ('cutout-prores', 'mkv', 'libopus', False), ('cutout-prores', 'mov', 'pcm_s16le', True)])
def test_audio_is_copied_if_the_container_holds_its_codec(tmp_path, output, suffix, codec, copied):
    video = write_test_video(tmp_path / f'video.{suffix}', 3, audio_codec=codec, rate=48000)
    path = write(output, tmp_path, make_chunks(make_masks(3)), context(video))
    written, original = (AudioTrack(file, probe_video(file).start).read(0, 2.9) for file in (path, video))
    # A shift by 1/4000 s would make a difference of 0.09.
    assert np.abs(written - original).mean() < (1e-5 if copied else 0.01)
    # MP4 stores AAC without the headers that MPEG-TS has.
    assert (codec == 'aac' or packets(path) == packets(video)) == copied
    assert audio_codec(path) == audio_codec(video) or not copied


def test_stereo_audio_that_is_encoded_stays_stereo(tmp_path):
    video = tmp_path / 'stereo.mkv'
    samples = np.sin(np.arange(2 * 48000) * 0.06) * [[0.5], [0.1]]
    with av.open(str(video), 'w') as container:
        stream = container.add_stream('libx264', rate=1)
        audio = container.add_stream('pcm_s16le', 48000, layout='stereo')
        stream.height, stream.width = 32, 32
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(stream.encode())
        frame = av.AudioFrame.from_ndarray((32767 * samples.T.ravel()[None]).astype(np.int16), 's16', 'stereo')
        frame.sample_rate = 48000
        container.mux([*audio.encode(frame), *audio.encode()])
    for output in ('overlay', 'cutout'):
        track = AudioTrack(write(output, tmp_path, make_chunks(make_masks(2)), context(video)))
        assert np.abs(track.read(0.5, 1.5)).max(0) == pytest.approx([0.5, 0.1], abs=0.03)


def test_a_directory_of_frames_brings_an_audio_file(tmp_path, video):
    wav = write_test_video(tmp_path / 'audio.wav', 3, codec=None, audio_codec='pcm_s16le')
    for output in ('overlay', 'timeline'):
        path = write(output, tmp_path, make_chunks(make_masks(3)), context(wav))
    assert np.abs(AudioTrack(tmp_path / 'overlay.mp4').read(2.3, 2.7)).max() == pytest.approx(0.3, abs=0.03)
    assert Image.open(path).width == 1200


# ---- table and timeline ----


def test_the_table_has_a_row_for_each_frame_and_class(tmp_path):
    path = write('csv', tmp_path, make_chunks(fps=4), context(fps=4))
    with open(path, newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    masks, names = make_masks(), {'dog': 3, 'bird': 7}
    assert [(row['time'], row['class']) for row in rows] == [
        (f'{(t + 15 / 16) / 4:.3f}', name) for t in range(5) for name in names if (masks[t] == names[name]).any()
    ]
    for row in rows:
        t = int(float(row['time']) * 4)
        assert float(row['share']) == pytest.approx((masks[t] == names[row['class']]).mean(), abs=1e-6)
        assert float(row['probability']) == pytest.approx({'dog': 0.75, 'bird': 0.9}[row['class']], abs=1e-3)


def read_timeline(monkeypatch):
    """Arguments with which the figure of the next timeline is drawn."""
    arguments = []

    def draw(*args):
        arguments.extend(args)
        return draw_timeline(*args)

    monkeypatch.setattr('mmavs.apis.outputs.timeline.draw_timeline', draw)
    return arguments


def test_the_timeline_shows_shares_and_audio_at_their_time(tmp_path, video, monkeypatch):
    arguments = read_timeline(monkeypatch)
    write('timeline', tmp_path, make_chunks(with_prob=False), context(video))
    title, edges, bands, log_mel = arguments
    masks = make_masks()
    assert title == 'my video.mp4' and edges.tolist() == [0, 1, 2, 3, 4, 5]
    assert [band.name for band in bands] == ['dog', 'bird']
    for band, label in zip(bands, (3, 7)):
        np.testing.assert_allclose(band.shares, (masks == label).mean((1, 2)), rtol=1e-5)
    # The amplitude grows by the second: 0.1, 0.2, ... at 440 Hz.
    assert log_mel.shape == (64, 500)
    loudest = np.exp(log_mel.max(0).reshape(5, 100)[:, 20:80].mean(1))
    np.testing.assert_allclose(loudest / loudest[0], [1, 2, 3, 4, 5], rtol=0.06)


def test_the_timeline_of_a_clip_in_memory_and_of_a_video_without_audio(tmp_path, monkeypatch):
    arguments = read_timeline(monkeypatch)
    waveform = (3000 * np.sin(np.arange(2 * 8000))).astype(np.int16)
    write('timeline', tmp_path, make_chunks(make_masks(4)), context(waveform=waveform, sample_rate=8000, fps=2))
    assert arguments[3].shape == (64, 200)
    mute = write_test_video(tmp_path / 'mute.mp4', 2, audio_from=None)
    path = write('timeline', tmp_path, make_chunks(np.zeros((4, 8, 8), np.uint8)), context(mute, fps=2))
    assert arguments[6:] == [[], None]
    assert Image.open(path).height < 250


def test_columns_merge_without_changing_their_means():
    means = ColumnMeans(2)
    values = np.random.default_rng(0).random((5 * NUM_COLUMNS + 1, 2))
    for part in np.split(values, [1, 3, 2000, 2001, 4500]):
        means.add(part)
        assert means.columns().shape[1] <= 2 * NUM_COLUMNS
    columns = means.columns()
    assert means.per_column == 4 and columns.shape == (2, -(-len(values) // 4))
    np.testing.assert_allclose(columns[:, :-1].T, values[:-1].reshape(-1, 4, 2).mean(1), rtol=1e-5)
    np.testing.assert_allclose(columns[:, -1], values[-1], rtol=1e-5)


@pytest.mark.parametrize(('seconds', 'labels'), [
    (1, ['0 s', '0.1 s', '1 s']), (5, ['0 s', '0.5 s', '5 s']), (60, ['0 s', '5 s', '60 s']),
    (600, ['0:00', '1:00', '10:00']), (7200, ['0:00:00', '0:10:00', '2:00:00'])])
def test_the_time_axis_suits_the_duration(seconds, labels):
    bands = [TimelineBand('dog', (255, 0, 0), np.array([0.2, 0]))]
    axes = draw_timeline('', np.array([0, seconds / 2, seconds]), bands).axes[1]
    texts = [text.get_text() for text in axes.get_xticklabels()]
    assert [texts[0], texts[1], texts[-1]] == labels and len(texts) <= 13


@pytest.mark.parametrize('count', [0, 1, 8, 70])
def test_the_timeline_has_a_named_band_for_each_class(count):
    bands = [TimelineBand(f'class {k}', (k, 90, 90), np.array([0, k / 100])) for k in range(1, count + 1)]
    page, axes = (figure := draw_timeline('video', np.array([0., 1, 2]), bands)).axes
    texts = [text.get_text() for text in page.texts]
    assert [text for text in texts if text.startswith('class ')] == [band.name for band in bands]
    assert texts.count('1 %') == (count > 0) and ('no object sounds' in texts) == (count == 0)
    assert axes.get_ylim() == (max(1, count), 0)
    assert figure.get_size_inches()[1] < 16


# ---- errors ----


def broken_chunks():
    yield next(make_chunks())
    raise RuntimeError('the video breaks off')


@pytest.mark.parametrize('output', OUTPUTS)
def test_nothing_is_left_of_an_output_that_is_aborted(output, tmp_path, video):
    with pytest.raises(RuntimeError, match='breaks off'):
        write(output, tmp_path, broken_chunks(), context(video))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('output', OUTPUTS)
def test_an_earlier_result_is_kept_until_the_new_one_is_complete(output, tmp_path, video):
    path = write(output, tmp_path, make_chunks(), context(video))
    before = {file: file.read_bytes() for file in tmp_path.rglob('*') if file.is_file()}
    with pytest.raises(RuntimeError, match='breaks off'):
        write(output, tmp_path, broken_chunks(), context(video))
    assert {file: file.read_bytes() for file in tmp_path.rglob('*') if file.is_file()} == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('size', [0, 3000])
@pytest.mark.parametrize('output', OUTPUTS)
def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing(output, size, tmp_path):
    masks = np.random.default_rng(0).integers(0, 9, (40, 64, 96), dtype=np.uint8)
    if output == 'png':
        masks = np.repeat(masks, 2, 1)
    chunks = list(make_chunks(masks))
    with pytest.raises(OSError) as error, largest_file(size):
        write(output, tmp_path, chunks, context())
    assert error.value.errno in (errno.EFBIG, errno.ENOSPC)
    message = user_message(error.value)
    assert str(tmp_path / OUTPUTS[output].file) in message and '\n' not in message
    assert list(tmp_path.iterdir()) == []


def test_paths_of_results_are_checked_before_a_video_is_segmented(tmp_path, video):
    paths = output_paths(tmp_path / 'results', list(OUTPUTS))
    check_output_paths(paths, str(video))
    assert list((tmp_path / 'results').iterdir()) == []
    check_output_paths(output_paths(video.parent / 'results', list(OUTPUTS)), str(video))
    check_output_paths(paths, 'https://example.org/video.mp4')
    (tmp_path / 'results/masks').touch()
    with pytest.raises(ValueError, match="masks: is a file, but the output 'png' is a directory"):
        check_output_paths(paths, str(video))
    (tmp_path / 'results/masks').unlink()
    (tmp_path / 'results/overlay.mp4').mkdir()
    with pytest.raises(ValueError, match=r"overlay\.mp4: is a directory, but the output 'overlay' is a file"):
        check_output_paths(paths, str(video))
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match='file: is a file, expected a directory for the results of'):
        check_output_paths(output_paths(tmp_path / 'file/results', ['csv']), str(video))


def test_all_outputs_are_written_side_by_side_beside_the_video(tmp_path):
    video = write_test_video(tmp_path / 'video.mp4', 5)
    paths = output_paths(tmp_path / 'video', list(OUTPUTS))
    run_pipeline(make_chunks(), [partial(OUTPUTS[name].write, path, context=context(video))
                                 for name, path in paths.items()])
    assert sorted((tmp_path / 'video').iterdir()) == sorted(paths.values())
    assert list_videos(tmp_path) == [video]
    frames = [(chunk.frames, chunk.foreground_prob) for chunk in make_chunks()]
    for name, output in OUTPUTS.items():
        # What an output does not need may be left out.
        chunks = [VideoChunk(chunk.start, chunk.times, frames if output.needs_frames else [], chunk.masks,
                             prob if output.needs_prob else None)
                  for chunk, (frames, prob) in zip(make_chunks(), frames)]
        write(name, tmp_path / 'less', chunks, context(video))
    for file in (path for path in (tmp_path / 'less').rglob('*') if path.suffix in ('.png', '.csv', '.json', '.jpg')):
        assert file.read_bytes() == (tmp_path / 'video' / file.relative_to(tmp_path / 'less')).read_bytes()


def test_results_never_replace_the_video(tmp_path):
    overlay = output_paths(tmp_path, ['overlay'])
    (tmp_path / 'link.mp4').symlink_to(tmp_path / 'overlay.mp4')
    for source in (tmp_path / 'overlay.mp4', tmp_path / 'link.mp4', tmp_path / 'x/../overlay.mp4'):
        with pytest.raises(ValueError, match="the output 'overlay' would replace the video"):
            check_output_paths(overlay, str(source))
    with pytest.raises(ValueError, match="the output 'class-masks' would replace the video"):
        check_output_paths(output_paths(tmp_path, ['class-masks']), str(tmp_path / 'class-masks/dog.mp4'))
