import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from avsbench_tree import write_avss, write_image, write_log_mel, write_ms3, write_s4, write_wav
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from PIL import Image

from mmavs.datasets import AVSBenchMS3Dataset, AVSBenchS4Dataset, AVSSDataset
from mmavs.datasets.transforms import (
    AugmentAudio,
    ClipBroadcaster,
    GenerateEventLabels,
    LoadAudio,
    LoadClipFrames,
    LoadClipMasks,
    MuteAudio,
    PackClipInputs,
    ResizeShortSide,
    ResizeToSquare,
)
from mmavs.models.data_preprocessor import AVSDataPreprocessor
from mmavs.registry import DATASETS, METRICS, TRANSFORMS
from mmavs.utils.palette import voc_palette

CONFIGS = Path(__file__).parents[1] / 'configs/_base_/datasets'
SUBSETS = dict(s4=write_s4, ms3=write_ms3, avss=write_avss)
# The trees of these tests are those of the downloads, whichever layout a config reads.
OBJECT_LAYOUT = dict(s4=dict(layout='object'), ms3=dict(layout='object'), avss={})


def clip_of(**paths):
    """A clip dict of T frames, for one loading transform."""
    return dict(dict(clip_id='x', subset='ms3', category=None, event_id=None), **paths)


def geometry(size):
    """The geometry of VCT's training at an input size."""
    return ClipBroadcaster(
        [
            dict(
                type='RandomChoiceResize',
                scales=[(int(size * x / 10), 896) for x in range(5, 21)],
                resize_type='Resize',
                keep_ratio=True,
                backend='pillow'),
            dict(type='mmseg.RandomCrop', crop_size=(size, size)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='Pad', size=(size, size), pad_val=dict(img=128, seg=255)),
        ],
        share_random_params=True)


# Geometry


def test_frames_masks_and_mask_priors_share_scale_crop_and_flip():
    # Every image of the clip encodes the same coordinates, hence shared geometry leaves them equal.
    rng = np.random.default_rng(0)
    coordinates = np.stack([*np.meshgrid(np.arange(0, 240, 5), np.arange(0, 240, 5)), np.zeros((48, 48))], -1)
    frame = coordinates.astype(np.uint8)
    left_half = (frame[..., 0] < 120).astype(np.uint8)
    shapes, sides, corners = set(), set(), set()
    for _ in range(60):
        np.random.seed(rng.integers(2**31))
        results = dict(
            clip_id='x',
            frame_paths=['x'] * 5,
            frames=[frame.copy() for _ in range(5)],
            masks=[left_half.copy() for _ in range(5)],
            mask_prior=[frame.copy() for _ in range(5)])
        results = geometry(64)(results)
        for key in ('frames', 'masks', 'mask_prior'):
            assert len(results[key]) == 5
            for image in results[key]:
                np.testing.assert_array_equal(image, results[key][0])
        np.testing.assert_array_equal(results['frames'][0], results['mask_prior'][0])
        image, mask = results['frames'][0], results['masks'][0]
        assert image.shape == (64, 64, 3) and mask.shape == (64, 64)
        padding = mask == 255
        assert (image[padding] == 128).all()
        shapes.add(int((~padding).sum()))
        # The mask lies at the coordinates that the frame encodes, up to interpolation at the edge.
        agree = (image[..., 0] < 120) == (mask == 1)
        assert agree[~padding].mean() > 0.96
        sides.add(bool(image[0, 0, 0] < image[0, (~padding[0]).sum() - 1, 0]))
        corners.add(tuple(image[0, 0, :2].tolist()))
    assert len(shapes) > 3, 'the scale never changes'
    assert sides == {True, False}, 'no flip, or always'
    assert len(corners) > 20, 'the crop never changes'


def test_random_numbers_of_the_next_clip_differ():
    frames = [np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)] * 2
    transform = ClipBroadcaster([dict(type='mmseg.RandomCrop', crop_size=(20, 20))], share_random_params=True)
    np.random.seed(0)
    crops = [transform(dict(clip_id='x', frame_paths=[0] * 2, frames=list(frames)))['frames'] for _ in range(4)]
    assert all(np.array_equal(*crop) for crop in crops)
    assert not np.array_equal(crops[0][0], crops[1][0])


def test_every_frame_and_mask_prior_draws_its_own_jitter_and_masks_stay():
    frame = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    mask = (frame[..., 0] > 128).astype(np.uint8)
    np.random.seed(0)
    results = dict(
        clip_id='x', frame_paths=[0] * 5, frames=[frame] * 5, masks=[mask] * 5, mask_prior=[frame] * 5)
    results = ClipBroadcaster([dict(type='mmseg.PhotoMetricDistortion')])(results)
    images = results['frames'] + results['mask_prior']
    assert len({image.tobytes() for image in images}) >= 9
    assert all(np.array_equal(image, mask) for image in results['masks'])


def test_clips_without_masks_or_mask_priors_are_transformed():
    frames = [np.zeros((30, 30, 3), np.uint8)] * 2
    results = geometry(16)(dict(clip_id='x', frame_paths=[0] * 2, frames=frames))
    assert not {'masks', 'mask_prior'} & set(results) and results['frames'][1].shape == (16, 16, 3)


def test_chosen_keys_only_are_transformed():
    results = dict(clip_id='x', frame_paths=[0], frames=[np.zeros((8, 8, 3), np.uint8)],
                   masks=[np.eye(8, dtype=np.uint8)], mask_prior=[np.zeros((8, 8, 3), np.uint8)])
    resize = dict(type='Resize', scale=(6, 4), backend='pillow')
    for keys, shapes in ((('frames', ), [(4, 6, 3), (8, 8), (8, 8, 3)]),
                         (('masks', ), [(8, 8, 3), (4, 6), (8, 8, 3)]),
                         (('mask_prior', ), [(8, 8, 3), (8, 8), (4, 6, 3)])):
        out = ClipBroadcaster([resize], keys=keys)(dict(results))
        assert [out[key][0].shape for key in ('frames', 'masks', 'mask_prior')] == shapes


def test_shared_geometry_of_images_of_two_sizes_is_an_error():
    results = dict(
        clip_id='a/b', frame_paths=[0], frames=[np.zeros((8, 8, 3), np.uint8)], masks=[np.zeros((4, 4), np.uint8)])
    with pytest.raises(ValueError, match='clip a/b: .* frames 8x8, masks 4x4'):
        geometry(4)(results)


def test_resize_to_square_takes_the_short_side():
    rng = np.random.default_rng(0)
    frame, mask = rng.integers(0, 255, (30, 50, 3), dtype=np.uint8), rng.integers(0, 71, (30, 50), dtype=np.uint8)
    out = ResizeToSquare()(dict(frames=[frame], masks=[mask], mask_prior=[frame]))
    cases = (('frames', frame, 'BILINEAR'), ('masks', mask, 'NEAREST'), ('mask_prior', frame, 'NEAREST'))
    for key, image, mode in cases:
        expected = Image.fromarray(image).resize((30, 30), Image.Resampling[mode])
        np.testing.assert_array_equal(out[key][0], np.asarray(expected))
    square = np.zeros((30, 30, 3), np.uint8)
    assert ResizeToSquare()(dict(frames=[square]))['frames'][0] is square


@pytest.mark.parametrize('size', [(36, 61), (61, 36), (30, 30), (24, 24)])
def test_short_side_and_central_square_are_those_of_the_released_code(size):
    rng = np.random.default_rng(0)
    frame, mask = rng.integers(0, 255, (*size, 3), dtype=np.uint8), rng.integers(0, 71, size, dtype=np.uint8)
    clip = dict(frame_paths=['x'], frames=[frame], masks=[mask], mask_prior=[frame])
    results = ResizeShortSide(24)(clip)
    results = ClipBroadcaster([dict(type='CenterCrop', crop_size=(24, 24))])(results)
    (height, width) = size
    width, height = (int(width * 24 / height), 24) if width > height else (24, int(height * 24 / width))
    left, top = int(round((width - 24) / 2)), int(round((height - 24) / 2))
    for key, image, mode in (
            ('frames', frame, 'BILINEAR'), ('masks', mask, 'NEAREST'), ('mask_prior', frame, 'NEAREST')):
        resized = Image.fromarray(image).resize((width, height), Image.Resampling[mode])
        expected = np.asarray(resized.crop((left, top, left + 24, top + 24)))
        np.testing.assert_array_equal(results[key][0], expected)


# The recipes


@pytest.mark.parametrize('subset', SUBSETS)
@pytest.mark.parametrize('size', [224, 384])
def test_config_loads_batches_of_its_size(tmp_path, subset, size):
    root = SUBSETS[subset](tmp_path)
    config = Config.fromfile(CONFIGS / f'{subset}_{size}.py')
    for split, side in (('train', size), ('val', 224), ('test', 224)):
        loader = config[f'{split}_dataloader']
        loader.dataset.update(data_root=str(root), **OBJECT_LAYOUT[subset])
        dataset = DATASETS.build(loader.dataset)
        np.random.seed(0)
        clips = [dataset[i] for i in range(2)]
        for clip in clips:
            sample = clip['data_samples']
            assert clip['inputs']['frames'].shape == (5, 3, size, size)
            assert clip['inputs']['frames'].dtype == torch.uint8
            assert clip['inputs']['waveform'].shape == (5 * 16000, )
            assert sample.gt_sem_seg.shape == (5, side, side) and sample.gt_sem_seg.dtype == torch.uint8
            assert sample.img_shape == (size, size) and sample.out_shape == (side, side)
            assert ('gt_events' in sample) == (split == 'train' and subset != 'ms3')
            assert (sample.gt_sem_seg[~sample.labelled] == 255).all()
        batch = AVSDataPreprocessor()(pseudo_collate(clips), training=split == 'train')
        assert batch['inputs']['frames'].shape == (2, 5, 3, size, size)


@pytest.mark.parametrize('name', ['s4_224', 's4_512', 'ms3_224', 'ms3_512', 'avss_224'])
def test_plain_config_loads_clips_without_augmentation(tmp_path, name):
    subset, size = name.split('_')
    root, config = SUBSETS[subset](tmp_path), Config.fromfile(CONFIGS / f'{name}_plain.py')
    size, num_frames = int(size), 10 if subset == 'avss' else 5
    for split in ('train', 'val', 'test'):
        loader = config[f'{split}_dataloader']
        assert loader.sampler.to_dict() == dict(type='DefaultSampler', shuffle=split == 'train')
        assert loader.dataset.split == split and loader.dataset.data_root.startswith('data/AVSBench')
        loader.dataset.data_root = str(root)
        dataset = DATASETS.build(loader.dataset)
        assert dataset.SUBSET == subset
        clip, again = dataset[1], dataset[1]
        assert torch.equal(clip['inputs']['frames'], again['inputs']['frames'])
        sample = clip['data_samples']
        assert clip['inputs']['frames'].shape == (num_frames, 3, size, size)
        assert sample.gt_sem_seg.shape == (num_frames, size, size)
        assert sample.out_shape == sample.img_shape == (size, size)


@pytest.mark.parametrize('name', ['ms3_224_object', 'avss_224_center-crop'])
def test_config_of_combo_loads_frames_and_mask_priors_of_one_geometry(tmp_path, name):
    subset, config = name.split('_')[0], Config.fromfile(CONFIGS / f'{name}_mask-prior.py')
    root = SUBSETS[subset](tmp_path)
    for split in ('train', 'test'):
        dataset = config[f'{split}_dataloader'].dataset
        for path in [*root.glob('ms3_data/visual_frames/*/*.png'), *root.glob('v*/*/frames/*.jpg')]:
            parent = path.parent.relative_to(root / ('ms3_data/visual_frames' if subset == 'ms3' else ''))
            prior = root / dataset.data_prefix.mask_prior / parent / f'{path.stem}_mask_color.png'
            prior.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).save(prior)
        dataset.data_root = str(root)
        dataset.pipeline = [step for step in dataset.pipeline if 'Distortion' not in str(step)]
        inputs = DATASETS.build(dataset)[0]['inputs']
        assert inputs['frames'].shape == inputs['mask_prior'].shape == (5, 3, 224, 224)
        # The same images: they differ by the interpolation, and by no crop and no flip.
        difference = (inputs['frames'].float() - inputs['mask_prior'].float()).abs().mean()
        assert difference < 30 < inputs['frames'].float().std()


@pytest.mark.parametrize('size', [224, 384])
@pytest.mark.parametrize('subset', SUBSETS)
def test_mask_prior_config_differs_in_directories_only(subset, size):
    plain, prior = (Config.fromfile(CONFIGS / f'{subset}_{size}{suffix}.py') for suffix in ('', '_mask-prior'))
    for split in ('train', 'val', 'test'):
        dataset = prior[f'{split}_dataloader'].dataset
        other = plain[f'{split}_dataloader'].dataset
        assert 'mask_prior' in dataset.pop('data_prefix')
        assert dataset.pop('layout', '384') == '384'
        assert other.pop('layout', 'object') == ('384' if size == 384 and subset != 'avss' else 'object')
        assert dataset == other


def test_test_frames_are_resized_by_pillow_and_masks_to_the_nearest_pixel(tmp_path):
    root = write_ms3(tmp_path, size=(50, 70), mask_prior=True)
    config = Config.fromfile(CONFIGS / 'ms3_384.py').test_dataloader.dataset
    config.update(data_root=str(root), layout='object', data_prefix=dict(mask_prior='priors'))
    clip = DATASETS.build(config)[0]
    frame = Image.open(root / 'ms3_data/visual_frames/test_0/test_0.mp4_1.png')
    mask = Image.open(root / 'ms3_data/gt_masks/test/test_0/test_0_1.png')
    expected = np.asarray(frame.resize((384, 384), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    np.testing.assert_array_equal(clip['inputs']['frames'][0], expected)
    expected = np.asarray(frame.resize((384, 384), Image.Resampling.NEAREST)).transpose(2, 0, 1)
    np.testing.assert_array_equal(clip['inputs']['mask_prior'][0], expected)
    expected = np.asarray(mask.resize((224, 224), Image.Resampling.NEAREST)) // 255
    np.testing.assert_array_equal(clip['data_samples'].gt_sem_seg[0], expected)
    assert clip['data_samples'].ori_shape == (50, 70)


def test_clips_of_five_and_ten_frames_batch(tmp_path):
    config = Config.fromfile(CONFIGS / 'avss_224.py').train_dataloader.dataset
    config.data_root = str(write_avss(tmp_path))
    dataset = DATASETS.build(config)
    batch = AVSDataPreprocessor()(pseudo_collate([dataset[1], dataset[2]]), training=True)
    assert batch['inputs']['frames'].shape == (2, 10, 3, 224, 224)
    assert batch['inputs']['waveform'].shape == (2, 160000)
    assert batch['inputs']['valid'].sum(1).tolist() == [5, 10]


# Images


def test_padding_frames_are_zero_after_normalization_and_unlabelled(tmp_path):
    pipeline = [LoadClipFrames(), LoadClipMasks(), LoadAudio(), PackClipInputs()]
    dataset = AVSSDataset(str(write_avss(tmp_path, size=(32, 32))), 'train', num_frames=10, pipeline=pipeline)
    clip = dataset[1]
    batch = AVSDataPreprocessor()(pseudo_collate([clip]))
    assert not batch['inputs']['frames'][0, 5:].any() and batch['inputs']['frames'][0, :5].any()
    assert batch['inputs']['valid'].tolist() == [[True] * 5 + [False] * 5]
    assert (clip['data_samples'].gt_sem_seg[5:] == 255).all()
    assert (clip['data_samples'].gt_sem_seg[:5] < 71).all()


@pytest.mark.parametrize('mode', ['L', '1', 'RGB', 'P'])
def test_binary_masks_are_read_in_every_image_mode(tmp_path, mode):
    mask = np.zeros((6, 8), np.uint8)
    mask[2:, 3:] = 255
    Image.fromarray(mask).convert(mode).save(tmp_path / 'm.png')
    results = LoadClipMasks()(
        clip_of(mask_paths=[None, str(tmp_path / 'm.png')], mask_encoding='binary', num_classes=2))
    np.testing.assert_array_equal(results['masks'][1], mask // 255)
    assert (results['masks'][0] == 255).all()


def test_soft_outlines_of_binary_masks_are_cut_at_128(tmp_path):
    write_image(tmp_path / 'm.png', np.array([[0, 127, 128, 255, 255]], np.uint8))
    results = LoadClipMasks()(clip_of(mask_paths=[str(tmp_path / 'm.png')], mask_encoding='binary', num_classes=2))
    assert results['masks'][0].tolist() == [[0, 0, 1, 1, 1]]


@pytest.mark.parametrize('foreground', [255, 65535])
def test_binary_masks_of_16_bits_are_read(tmp_path, foreground):
    write_image(tmp_path / 'm.png', np.array([[0, 1, 0]], np.uint16) * foreground)
    results = LoadClipMasks()(clip_of(mask_paths=[str(tmp_path / 'm.png')], mask_encoding='binary', num_classes=2))
    assert results['masks'][0].tolist() == [[0, 1, 0]]


@pytest.mark.parametrize('values', [[0, 1, 1], [200, 0, 0], [255, 3, 3]])
def test_binary_mask_of_other_values_is_an_error(tmp_path, values):
    write_image(tmp_path / 'm.png', np.array([values], np.uint8))
    with pytest.raises(ValueError, match=r'm\.png: mask value \d+ .* outside the classes, expected 0 .* and 255'):
        LoadClipMasks()(clip_of(mask_paths=[str(tmp_path / 'm.png')], mask_encoding='binary', num_classes=2))


def test_index_outside_the_classes_names_file_value_and_range(tmp_path):
    write_image(tmp_path / 'm.png', np.array([[0, 70, 71]], np.uint8))
    results = clip_of(mask_paths=[str(tmp_path / 'm.png')], mask_encoding='index', num_classes=71)
    with pytest.raises(ValueError, match=r'm\.png: mask value 71 is outside the classes, expected 0 to 70'):
        LoadClipMasks()(results)
    assert LoadClipMasks()(dict(results, num_classes=72))['masks'][0].tolist() == [[0, 70, 71]]


@pytest.mark.parametrize('encoding', ['index', 'palette'])
def test_unlabelled_pixels_are_an_error_unless_allowed(tmp_path, encoding):
    labels = np.array([[0, 2, 255], [1, 255, 0]], np.uint8)
    palette = np.array(voc_palette(256), np.uint8)
    write_image(tmp_path / 'm.png', labels if encoding == 'index' else palette[labels])
    results = clip_of(mask_paths=[str(tmp_path / 'm.png')], mask_encoding=encoding, num_classes=3)
    with pytest.raises(ValueError, match='allow_unlabelled' if encoding == 'index' else r'\(224, 224, 192\) \(2 pix'):
        LoadClipMasks()(dict(results))
    np.testing.assert_array_equal(LoadClipMasks(allow_unlabelled=True)(dict(results))['masks'][0], labels)
    with pytest.raises(ValueError, match='outside the classes|none of the 2 classes'):
        LoadClipMasks(allow_unlabelled=True)(dict(results, num_classes=2))


def test_unlabelled_pixels_of_files_are_skipped_by_the_dataset_protocol_and_refused_by_avsbench(tmp_path):
    write_image(tmp_path / 'f.png', np.zeros((2, 3, 3), np.uint8))
    write_image(tmp_path / 'm.png', np.array([[0, 1, 255], [1, 255, 0]], np.uint8))
    clip = clip_of(frame_paths=[str(tmp_path / 'f.png')], mask_paths=[str(tmp_path / 'm.png')], mask_encoding='index',
                   num_classes=3, valid=[True], labelled=[True])
    for load in (LoadClipFrames(), LoadClipMasks(allow_unlabelled=True), PackClipInputs()):
        clip = load(clip)
    sample = clip['data_samples']
    # One of the four labelled pixels is wrong; of the two unlabelled ones, both would be.
    sample.pred_sem_seg = torch.tensor([[[0, 1, 2], [1, 2, 1]]], dtype=torch.uint8)
    metrics = {kind: METRICS.build(dict(type=kind, **options))
               for kind, options in (('DatasetMetric', dict(preset='ddeseg')), ('AVSSMetric', {}))}
    for metric in metrics.values():
        metric.dataset_meta = dict(classes=('background', 'a', 'b'))
    with pytest.raises(ValueError, match=r"clip 'x': a labelled frame holds unlabelled pixels \(255\)"):
        metrics['AVSSMetric'].process(None, [sample.to_dict()])
    metrics['DatasetMetric'].process(None, [sample.to_dict()])
    # IoU of the background 1 / 2, of a 2 / 3; b is predicted on unlabelled pixels only.
    assert metrics['DatasetMetric'].evaluate(1)['dataset/mIoU'] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_palette_image_of_indices_keeps_its_indices(tmp_path):
    image = Image.fromarray(np.array([[0, 5, 70]], np.uint8)).convert('P')
    image.putpalette([200, 1, 3] * 256)
    image.save(tmp_path / 'm.png')
    results = clip_of(mask_paths=[str(tmp_path / 'm.png')], mask_encoding='index', num_classes=71)
    assert image.mode == 'P' and LoadClipMasks()(results)['masks'][0].tolist() == [[0, 5, 70]]


def test_bilevel_image_holds_the_classes_0_and_1(tmp_path):
    Image.fromarray(np.array([[False, True]])).save(tmp_path / 'm.png')
    clip = clip_of(mask_paths=[str(tmp_path / 'm.png')], num_classes=3, category_ids=(0, 7, 1))
    for encoding, expected in (('index', [[0, 1]]), ('category', [[0, 2]])):
        assert LoadClipMasks()(dict(clip, mask_encoding=encoding))['masks'][0].tolist() == expected


def test_palette_colors_become_classes(tmp_path):
    colors = np.array(voc_palette(71), np.uint8)
    labels = np.random.default_rng(0).integers(0, 71, (40, 50), dtype=np.uint8)
    write_image(tmp_path / 'm.png', colors[labels])
    results = clip_of(mask_paths=[str(tmp_path / 'm.png')], mask_encoding='palette', num_classes=71)
    np.testing.assert_array_equal(LoadClipMasks()(results)['masks'][0], labels)


@pytest.mark.parametrize('color', [(1, 2, 3), (128, 1, 0), (224, 224, 192), (129, 0, 0)])
def test_color_of_no_class_is_an_error_or_background(tmp_path, color):
    image = np.zeros((3, 3, 3), np.uint8)
    image[0] = (128, 0, 0)
    image[2, 1] = color
    write_image(tmp_path / 'm.png', image)
    results = clip_of(mask_paths=[str(tmp_path / 'm.png')], mask_encoding='palette', num_classes=71)
    with pytest.raises(ValueError) as error:
        LoadClipMasks()(dict(results))
    assert 'm.png' in str(error.value) and f'color {color} (1 pixels)' in str(error.value)
    mask = LoadClipMasks(off_palette='background')(dict(results))['masks'][0]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(('kind', 'suffix'), [('frame', '.png'), ('frame', '.jpg'), ('mask', '.png')])
@pytest.mark.parametrize('part', [0, 0.3, 0.7])
def test_truncated_image_names_the_file(tmp_path, kind, suffix, part):
    path = tmp_path / f'x{suffix}'
    array = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    write_image(path, array)
    path.write_bytes(path.read_bytes()[:int(path.stat().st_size * part)])
    with pytest.raises(ValueError, match=rf'x\{suffix}: the {kind} cannot be decoded, it is truncated or not an image'):
        if kind == 'frame':
            LoadClipFrames()(clip_of(frame_paths=[str(path)]))
        else:
            LoadClipMasks()(clip_of(mask_paths=[str(path)], mask_encoding='binary', num_classes=2))


def test_missing_image_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'x\.png: the frame is missing'):
        LoadClipFrames()(clip_of(frame_paths=[str(tmp_path / 'x.png')]))


def test_frames_are_rgb(tmp_path):
    write_image(tmp_path / 'x.png', np.full((2, 3, 3), (250, 20, 5), np.uint8))
    results = LoadClipFrames()(clip_of(frame_paths=[str(tmp_path / 'x.png')]))
    assert results['frames'][0][0, 0].tolist() == [250, 20, 5] and results['ori_shape'] == (2, 3)


def write_phone_clip(directory, frame_size, mask_size, orientation=6):
    """A frame that is stored turned, as by a phone, with a mask that was made of the frame as displayed."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new('RGB', frame_size[::-1]).save(directory / 'f.jpg', exif=exif)
    write_image(directory / 'm.png', np.zeros(mask_size, np.uint8))
    return clip_of(frame_paths=[str(directory / 'f.jpg')], mask_paths=[str(directory / 'm.png')],
                   mask_encoding='binary', num_classes=2)


@pytest.mark.parametrize('mask_size', [(32, 48), (64, 96), (21, 32)])
def test_frames_are_turned_as_displayed_and_masks_may_have_another_scale(tmp_path, mask_size):
    clip = write_phone_clip(tmp_path, (48, 32), mask_size)
    results = LoadClipMasks()(LoadClipFrames()(dict(clip)))
    assert results['frames'][0].shape == (32, 48, 3) and results['masks'][0].shape == mask_size
    LoadClipMasks().check_files(clip)


@pytest.mark.parametrize('mask_size', [(48, 32), (32, 32), (96, 64), (32, 60)])
def test_masks_of_another_aspect_ratio_are_an_error(tmp_path, mask_size):
    clip = write_phone_clip(tmp_path, (48, 32), mask_size)
    match = rf'm\.png: the mask is {mask_size[0]}x{mask_size[1]}, the frames are 32x48 .*the same aspect ratio'
    for first, second in ((LoadClipFrames(), LoadClipMasks()), (LoadClipMasks(), LoadClipFrames())):
        with pytest.raises(ValueError, match=match):
            second(first(dict(clip)))
    with pytest.raises(ValueError, match=match):
        LoadClipMasks().check_files(clip)


# Audio


def load_audio(path, num_frames=5, **kwargs):
    key = 'log_mel_path' if kwargs.get('source') == 'log_mel' else 'audio_path'
    return LoadAudio(**kwargs)(clip_of(frame_paths=['x'] * num_frames, **{key: str(path)}))


@pytest.mark.parametrize(('rate', 'channels'), [(16000, 1), (44100, 2), (8000, 1), (48000, 6)])
def test_waveform_of_any_rate_and_channels_becomes_16_khz_mono(tmp_path, rate, channels):
    write_wav(tmp_path / 'x.wav', 5, rate, channels)
    waveform = load_audio(tmp_path / 'x.wav')['waveform']
    assert waveform.shape == (80000, ) and waveform.dtype == np.float32 and 0.01 < np.abs(waveform).max() <= 1


@pytest.mark.parametrize('seconds', [1, 4.2, 7.5])
def test_waveform_is_cut_or_followed_by_zeros(tmp_path, seconds):
    write_wav(tmp_path / 'x.wav', seconds)
    samples = soundfile.read(tmp_path / 'x.wav', dtype='float32')[0]
    waveform, kept = load_audio(tmp_path / 'x.wav')['waveform'], min(len(samples), 80000)
    np.testing.assert_allclose(waveform[:kept], samples[:kept], atol=1e-6)
    assert waveform.shape == (80000, ) and not waveform[kept:].any()
    assert load_audio(tmp_path / 'x.wav', num_frames=1, num_seconds=3.0)['waveform'].shape == (48000, )


@pytest.mark.parametrize(('seconds', 'num_samples'), [(4.2, 67200), (7.5, 80000)])
def test_end_of_the_audio_reaches_the_audio_backbone_with_mark_end(tmp_path, seconds, num_samples):
    write_wav(tmp_path / 'x.wav', seconds)
    results = clip_of(
        frame_paths=['x'] * 5, audio_path=str(tmp_path / 'x.wav'), frames=[np.zeros((8, 8, 3), np.uint8)] * 5,
        ori_shape=(8, 8), valid=[True] * 5, labelled=[False] * 5)
    clips = [PackClipInputs()(LoadAudio(mark_end=mark_end)(dict(results))) for mark_end in (True, False)]
    assert [clip['inputs'].get('num_samples') for clip in clips] == [num_samples, None]
    batch = AVSDataPreprocessor()(pseudo_collate([clips[0], clips[0]]))
    assert batch['inputs']['num_samples'].tolist() == [num_samples] * 2


def test_silent_and_clipped_audio_is_valid(tmp_path):
    write_wav(tmp_path / 'x.wav', level=0)
    assert not load_audio(tmp_path / 'x.wav')['waveform'].any()
    soundfile.write(tmp_path / 'y.wav', np.sign(np.sin(np.arange(80000) / 9)), 16000)
    assert np.abs(load_audio(tmp_path / 'y.wav')['waveform']).max() == pytest.approx(1, abs=1e-4)


def test_too_short_audio_is_an_error(tmp_path):
    write_wav(tmp_path / 'x.wav', 0.5)
    with pytest.raises(ValueError, match=r'x\.wav: 0\.500 s of audio is too short, expected at least 0\.975 s'):
        load_audio(tmp_path / 'x.wav')


def test_nan_audio_is_an_error(tmp_path):
    samples = np.zeros(80000, np.float32)
    samples[100] = np.nan
    soundfile.write(tmp_path / 'x.wav', samples, 16000, subtype='FLOAT')
    with pytest.raises(ValueError, match=r'x\.wav: .*NaN'):
        load_audio(tmp_path / 'x.wav')
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps(torch.full((5, 1, 96, 64), float('nan'))))
    with pytest.raises(ValueError, match=r'x\.pkl: .*NaN'):
        load_audio(tmp_path / 'x.pkl', source='log_mel')


def test_truncated_wav_names_the_file(tmp_path):
    write_wav(tmp_path / 'x.wav')
    (tmp_path / 'x.wav').write_bytes((tmp_path / 'x.wav').read_bytes()[:50000])
    with pytest.raises(ValueError, match=r'x\.wav: truncated'):
        load_audio(tmp_path / 'x.wav')


def test_stored_log_mel_is_read_cut_or_filled(tmp_path):
    write_log_mel(tmp_path / 'x.pkl', 5)
    stored = pickle.loads((tmp_path / 'x.pkl').read_bytes()).detach().numpy()
    for num_frames, options in ((5, {}), (3, {}), (8, {}), (10, dict(short_log_mel='zeros'))):
        log_mel = load_audio(tmp_path / 'x.pkl', num_frames, source='log_mel', **options)['log_mel']
        kept = min(num_frames, 5)
        assert log_mel.shape == (num_frames, 1, 96, 64) and log_mel.dtype == np.float32
        np.testing.assert_array_equal(log_mel[:kept], stored[:kept])
        filling = 0 if options else stored[4]
        assert (log_mel[kept:] == filling).all()


def test_log_mel_of_another_shape_is_an_error(tmp_path):
    for shape in ((5, 96, 64), (0, 1, 96, 64), (5, 1, 96, 32)):
        (tmp_path / 'x.pkl').write_bytes(pickle.dumps(torch.zeros(shape)))
        with pytest.raises(ValueError, match=r'x\.pkl: log-mel of shape .*expected \(n, 1, 96, 64\)'):
            load_audio(tmp_path / 'x.pkl', source='log_mel')


def test_malicious_log_mel_is_refused_by_the_dataset_and_not_executed(tmp_path):

    class Malicious:

        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'marker'}", )

    root = write_s4(tmp_path)
    (root / 's4_data/audio_log_mel/val/dog_barking/val0.pkl').write_bytes(pickle.dumps(Malicious()))
    dataset = AVSBenchS4Dataset(str(root), 'val', pipeline=[dict(type='LoadAudio', source='log_mel')])
    with pytest.raises(pickle.UnpicklingError, match=r'val0\.pkl: refused'):
        dataset[0]
    assert not (tmp_path / 'marker').exists()


def test_muted_audio_equals_silence(tmp_path):
    muted = MuteAudio()(dict(waveform=np.ones(10, np.float32), log_mel=np.ones((2, 1, 96, 64), np.float32)))
    assert not muted['waveform'].any() and muted['waveform'].shape == (10, )
    np.testing.assert_allclose(muted['log_mel'], math.log(0.01), rtol=1e-6)


# Events and packing


def test_events_of_the_category_are_one_hot():
    labels = GenerateEventLabels('category', 23)(clip_of(event_id=19, frame_paths=[0] * 5))['gt_events']
    assert labels.shape == (5, 23) and labels.dtype == np.float32
    assert (labels.argmax(1) == 19).all() and labels.sum() == 5


def test_events_of_masks_are_the_classes_present_with_background():
    masks = [np.array([[0, 3], [255, 3]], np.uint8), np.full((2, 2), 255, np.uint8), np.full((2, 2), 70, np.uint8)]
    labels = GenerateEventLabels('masks')(clip_of(masks=masks, frame_paths=[0] * 3, num_classes=71))['gt_events']
    assert [row.nonzero()[0].tolist() for row in labels] == [[0, 3], [], [70]]


@pytest.mark.parametrize(('source', 'clip', 'found'), [
    ('category', dict(event_id=None), r'\[None\]'),
    ('category', dict(event_id=23), r'\[23\]'),
    ('masks', dict(masks=[np.full((2, 2), 40, np.uint8)]), r'\[40\]'),
])
def test_event_outside_the_prototypes_is_an_error(source, clip, found):
    with pytest.raises(ValueError, match=f'clip x: events {found} from its {source}.*num_events=23'):
        GenerateEventLabels(source, 23)(clip_of(frame_paths=[0], **clip))


def test_packed_clip_without_ground_truth_keeps_its_size():
    frames = [np.zeros((4, 6, 3), np.uint8)] * 2
    packed = PackClipInputs()(
        clip_of(frames=frames, ori_shape=(8, 12), waveform=np.zeros(5, np.float32), valid=[True] * 2,
                labelled=[False] * 2))
    sample = packed['data_samples']
    assert set(packed['inputs']) == {'frames', 'waveform'} and 'gt_sem_seg' not in sample
    assert sample.img_shape == (4, 6) and sample.out_shape == sample.ori_shape == (8, 12)


def test_number_of_categories_must_be_stated():
    with pytest.raises(ValueError, match="num_events is None, expected the number of categories"):
        GenerateEventLabels('category')


def test_misspelt_options_are_refused():
    for config in (dict(type='LoadAudio', source='logmel'), dict(type='LoadAudio', short_log_mel='x'),
                   dict(type='GenerateEventLabels', num_events=2, source='mask'),
                   dict(type='LoadClipMasks', off_palette='ignore')):
        with pytest.raises(ValueError, match="expected '"):
            TRANSFORMS.build(config)
    with pytest.raises(ValueError, match="layout is 'vct'"):
        AVSBenchMS3Dataset('x', 'train', layout='vct')


def test_augmented_audio_keeps_its_length_and_stays_in_range():
    waveform = np.sin(np.arange(16000)).astype(np.float32)
    results = AugmentAudio(gain=(3, 3)).transform(dict(waveform=waveform))
    assert results['waveform'].shape == (16000, ) and results['waveform'].dtype == np.float32
    assert np.abs(results['waveform']).max() <= 1


@pytest.mark.parametrize(
    'frequency, tilt, expected', [(1000, 2, 0.5), (2000, 2, 0.5 * 10**0.1), (500, -2, 0.5 * 10**0.1)])
def test_gain_and_tilt_change_the_level_as_stated(frequency, tilt, expected):
    waveform = np.sin(2 * np.pi * frequency * np.arange(16000) / 16000).astype(np.float32)
    changed = AugmentAudio((-6.0206, -6.0206), (tilt, tilt), None).transform(dict(waveform=waveform))['waveform']
    assert np.abs(changed).max() == pytest.approx(expected, rel=1e-3)


def test_noise_has_the_level_of_its_range():
    silence = dict(waveform=np.zeros((2, 16000), np.float32))
    stereo = AugmentAudio((0, 0), (0, 0), (-40, -40)).transform(silence)['waveform']
    assert np.sqrt(np.mean(stereo**2)) == pytest.approx(0.01, rel=0.05)


def test_augmentation_names_a_wrong_range_and_missing_audio():
    with pytest.raises(ValueError, match='gain is'):
        AugmentAudio(gain=(3, -3))
    with pytest.raises(ValueError, match='no waveform'):
        AugmentAudio().transform({})
