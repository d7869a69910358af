"""Mask priors: from masks to ids to files that the datasets and models read."""
import json
import re
import sys
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from avsbench_tree import write_avss, write_image, write_ms3, write_s4
from doc_pages import blocks
from PIL import Image
from small_sam import save_small_sam, save_small_sam2
from video_files import write_test_video

from mmavs.apis import AVSInferencer, MaskPriorGenerator, inference_clip, init_model
from mmavs.apis.mask_generators import IdMapFiles, MaskFiles, MaskGenerator, SamMasks, SamSettings, clean_masks
from mmavs.apis.mask_prior_files import NamedFrame, config_frames, path_frames, root_frames, write_mask_priors
from mmavs.apis.mask_priors import PriorDirectory
from mmavs.apis.window_prediction import WindowPredictor
from mmavs.datasets import AVSBenchMS3Dataset, AVSBenchS4Dataset, AVSSDataset
from mmavs.datasets.mask_priors import (
    ids_from_masks,
    prior_palette,
    read_id_map,
    read_masks,
    render_prior,
    resize_ids,
    write_prior,
)
from mmavs.utils.config import load_config
from mmavs.utils.images import read_image
from mmavs.video import read_frames

CONFIG = Path(__file__).parent / 'configs/vct_tiny_s4_mask-prior.py'
GRAY = (120, 120, 120)
# Settings with which random weights give masks that differ from point to point.
LOOSE = SamSettings(
    points_per_side=5, pred_iou_thresh=-1e9, stability_score_thresh=0.0, stability_score_offset=0.01, nms_thresh=1.0,
    min_area=0)
pytestmark = pytest.mark.filterwarnings('ignore:the model has no checkpoint')


def square(size, side):
    """A frame with a square of that side in the middle."""
    mask = np.zeros((size, size), bool)
    low = (size - side) // 2
    mask[low:low + side, low:low + side] = True
    return mask


def frame(seed=0, height=40, width=72):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


class BrightRegions(MaskGenerator):
    """The pixels brighter than 64, 128 and 192 in the red channel; counts its calls."""

    def __init__(self):
        self.settings, self.source, self.calls = dict(generator='bright'), 'test', 0

    def masks(self, image, name=None):
        self.calls += 1
        return np.stack([image[..., 0] > level for level in (64, 128, 192)])


# ---- from masks to ids ----


@pytest.mark.parametrize('order', [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_nested_squares_get_ids_from_the_inside_out(order):
    masks = np.stack([square(9, side) for side in (3, 5, 7)])
    ids = ids_from_masks(masks[list(order)])
    assert ids.dtype == np.uint8 and ids.shape == (9, 9)
    assert ids[4].tolist() == [0, 3, 2, 1, 1, 1, 2, 3, 0]


def test_masks_of_equal_area_keep_their_order():
    left, right = np.zeros((2, 4, 6), bool)
    left[:, :4], right[:, 2:] = True, True
    assert ids_from_masks([left, right])[0].tolist() == [1, 1, 1, 1, 2, 2]
    assert ids_from_masks([right, left])[0].tolist() == [2, 2, 1, 1, 1, 1]


def test_ids_beyond_the_palette_are_black_and_those_beyond_a_byte_wrap():
    # Mask k covers the columns 0 to k: the smallest mask that covers column k is number k.
    masks = np.tri(300, dtype=bool)[:, None]
    ids = ids_from_masks(masks[:200])[0]
    assert ids.tolist() == [min(k, 199) + 1 if k < 200 else 0 for k in range(300)]
    colors = render_prior(ids)
    assert colors[148].tolist() == prior_palette()[149].tolist() != [0, 0, 0]
    assert not colors[149:200].any() and colors[200:].tolist() == [[*GRAY]] * 100
    wrapped = ids_from_masks(masks)[0]
    assert wrapped[250:260].tolist() == [251, 252, 253, 254, 255, 1, 1, 2, 3, 4]


def test_without_a_mask_all_is_gray():
    ids = ids_from_masks(np.zeros((0, 4, 5), bool))
    assert ids.shape == (4, 5) and not ids.any()
    assert np.array_equal(MaskPriorGenerator('none')(frame()), np.full((40, 72, 3), 120))


def test_masks_of_another_kind_are_refused():
    with pytest.raises(TypeError, match='masks are of type uint8, expected bool'):
        ids_from_masks(np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r'shape \(4, 4\), expected \(N, H, W\)'):
        ids_from_masks(np.zeros((4, 4), bool))


# ---- files ----


def test_a_file_holds_ids_and_reads_as_the_colors_of_ade20k(tmp_path):
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write_prior(tmp_path / 'new/0_mask_color.png', ids, 'key')
    with Image.open(tmp_path / 'new/0_mask_color.png') as image:
        assert image.mode == 'P' and np.array_equal(np.array(image), ids)
    colors = read_image(tmp_path / 'new/0_mask_color.png', 'mask prior', 'RGB')
    assert np.array_equal(colors, render_prior(ids))
    assert colors.reshape(-1, 3)[:6].tolist() == [
        [120, 120, 120], [180, 120, 120], [6, 230, 230], [80, 50, 50], [4, 200, 3], [120, 120, 80]]
    assert np.array_equal(read_id_map(tmp_path / 'new/0_mask_color.png'), ids)
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['0_mask_color.png']


def test_ids_are_resized_to_the_nearest_pixel():
    ids = np.array([[1, 1, 7, 7], [1, 1, 7, 7]], np.uint8)
    assert resize_ids(ids, (1, 2)).tolist() == [[1, 7]]
    assert set(np.unique(resize_ids(ids, (9, 11)))) == {1, 7}
    assert MaskPriorGenerator(BrightRegions(), size=24)(frame()).shape == (24, 24, 3)


def test_masks_of_semantic_sam_are_read(tmp_path):
    masks = np.stack([square(8, 6), square(8, 2)])
    np.save(tmp_path / 'a_mask.npy', masks)
    assert np.array_equal(read_masks(tmp_path / 'a_mask.npy'), masks)
    np.save(tmp_path / 'b_mask.npy', np.zeros((1, 8, 8)))
    assert read_masks(tmp_path / 'b_mask.npy').shape == (0, 8, 8)
    prior = MaskPriorGenerator(MaskFiles(tmp_path))
    assert prior.id_map(np.zeros((8, 8, 3), np.uint8), 'a')[4].tolist() == [0, 2, 2, 1, 1, 2, 2, 0]
    # Masks of another size of the frame, of Semantic-SAM's 640 pixels for example, are brought to that of the frame.
    assert prior.id_map(np.zeros((4, 4, 3), np.uint8), 'a').shape == (4, 4)
    with pytest.raises(ValueError, match=r'a_mask\.npy: 8x8 \(height x width\), the frame is 8x20: expected the same'):
        prior.id_map(np.zeros((8, 20, 3), np.uint8), 'a')
    with pytest.raises(FileNotFoundError, match=r'c_mask\.npy is missing'):
        prior.id_map(np.zeros((8, 8, 3), np.uint8), 'c')
    with pytest.raises(ValueError, match='masks are read by the name of a frame'):
        prior(np.zeros((8, 8, 3), np.uint8))


class Unpickled:
    """Object that notices when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ('a pickle was loaded', )


@pytest.mark.parametrize(('content', 'message'), [
    (np.zeros((8, 8), bool), r'shape \(8, 8\), expected masks \(N, H, W\)'),
    (np.zeros((2, 8, 8), np.uint8), 'type uint8, expected bool'),
    (np.ones((1, 8, 8), np.float32), 'type float32, expected bool, or zeros'),
    (np.array([Unpickled()] * 4, object).reshape(1, 2, 2), r'not a complete \.npy file of numbers'),
    (b'', r'not a complete \.npy file'),
    ('archive', 'an archive of arrays'),
])
def test_another_array_than_masks_is_refused(tmp_path, content, message):
    path = tmp_path / 'x_mask.npy'
    if isinstance(content, np.ndarray):
        np.save(path, content, allow_pickle=True)
    elif content:
        zipfile.ZipFile(path, 'w').writestr('a.npy', b'')
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf'x_mask\.npy: .*{message}'):
        read_masks(path)


def test_an_array_that_claims_more_than_its_file_holds_is_refused(tmp_path):
    np.save(tmp_path / 'x_mask.npy', np.zeros((9, 8, 8), bool))
    content = (tmp_path / 'x_mask.npy').read_bytes()
    (tmp_path / 'x_mask.npy').write_bytes(content.replace(b'(9, 8, 8), }   ', b'(9999, 8, 8), }'))
    with pytest.raises(ValueError, match=r'x_mask\.npy: not a complete'):
        read_masks(tmp_path / 'x_mask.npy')


def test_id_maps_are_taken_as_they_are(tmp_path):
    ids = np.array([[0, 3, 200], [3, 3, 0]], np.uint8)
    np.save(tmp_path / 'a.npy', ids.astype(np.int64))
    Image.fromarray(ids).save(tmp_path / 'b.png')
    prior = MaskPriorGenerator(IdMapFiles(tmp_path))
    image = np.zeros((2, 3, 3), np.uint8)
    assert np.array_equal(prior.id_map(image, 'a'), ids) and np.array_equal(prior.id_map(image, 'b'), ids)
    assert IdMapFiles(tmp_path).masks(image, 'a').tolist() == [(ids == 3).tolist(), (ids == 200).tolist()]
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / 'c.png')
    with pytest.raises(ValueError, match=r'c\.png: .*one channel that holds ids, not colors'):
        prior(image, 'c')
    np.save(tmp_path / 'd.npy', np.full((2, 3), 300))
    with pytest.raises(ValueError, match=r'd\.npy: ids from 300 to 300, expected 0 to 255'):
        prior(image, 'd')
    np.save(tmp_path / 'b.npy', ids)
    with pytest.raises(FileNotFoundError, match=r'b\.png and b\.npy exist both'):
        prior(image, 'b')


# ---- SAM ----


@pytest.fixture(scope='module')
def small_sams(tmp_path_factory):
    pytest.importorskip('transformers', reason='the optional library transformers is not installed')
    root = tmp_path_factory.mktemp('sam')
    return dict(sam=save_small_sam(root / 'sam'), sam2=save_small_sam2(root / 'sam2'))


def predict_grid(kind, directory, image, points_per_side):
    """The largest of the three masks of each point of a grid, and its score, by the processors of transformers."""
    from transformers import AutoImageProcessor, AutoModelForMaskGeneration, Sam2Processor, SamProcessor
    images = AutoImageProcessor.from_pretrained(directory)
    processor = SamProcessor(images) if kind == 'sam' else Sam2Processor(images)
    height, width = image.shape[:2]
    centers = (np.arange(points_per_side) + 0.5) / points_per_side
    points = [[[[float(x * width), float(y * height)]] for y in centers for x in centers]]
    inputs = processor(images=Image.fromarray(image), input_points=points, return_tensors='pt')
    sizes = [inputs.pop('original_sizes').tolist()]
    if kind == 'sam':
        sizes.append(inputs.pop('reshaped_input_sizes').tolist())
    with torch.no_grad():
        output = AutoModelForMaskGeneration.from_pretrained(directory)(**inputs)
    masks = processor.post_process_masks(output.pred_masks, *sizes)[0].numpy()
    largest = (output.pred_masks[0] > 0).sum((-2, -1)).argmax(-1)
    rows = torch.arange(len(largest))
    return masks[rows, largest], output.iou_scores[0][rows, largest].numpy()


@pytest.mark.parametrize('kind', ['sam', 'sam2'])
@pytest.mark.parametrize('size', [(40, 72), (64, 48)])
def test_sam_gives_the_largest_mask_of_each_point_of_a_grid_over_the_whole_frame(small_sams, kind, size):
    image = frame(1, *size)
    found = SamMasks(small_sams[kind], 'cpu', LOOSE, points_per_batch=8).masks(image)
    expected, scores = predict_grid(kind, small_sams[kind], image, 5)
    assert found.shape == (25, *size) and found.dtype == bool
    assert len(np.unique(found.reshape(25, -1), axis=0)) > 5  # they depend on their points
    # The best of the predicted IoUs comes first; single pixels may differ by rounding.
    assert np.mean(found != expected[np.argsort(-scores, kind='stable')]) < 1e-3


def test_settings_of_sam_filter_its_masks(small_sams):
    image = frame(1)
    _, scores = predict_grid('sam', small_sams['sam'], image, 5)

    def count(**changes):
        return len(SamMasks(small_sams['sam'], 'cpu', SamSettings(**{**vars(LOOSE), **changes})).masks(image))

    middle = float(np.median(scores))
    assert count(pred_iou_thresh=middle) == np.count_nonzero(scores > middle)
    assert count(masks_per_point='all') == 75
    assert count(stability_score_thresh=1.0) == 0
    assert count(nms_thresh=0.3) < 25
    with pytest.raises(ValueError, match="masks_per_point is 'two', expected 'largest' or 'all'"):
        SamSettings(masks_per_point='two')


def test_sam_makes_a_mask_prior_of_a_frame(small_sams):
    prior = MaskPriorGenerator(small_sams['sam2'], 'cpu', LOOSE)
    image = frame(1)
    colors = {tuple(color) for color in prior(image).reshape(-1, 3)}
    assert prior(image).shape == image.shape and len(colors) > 3
    assert colors <= {tuple(color) for color in prior_palette()}
    assert prior.settings['model_type'] == 'sam2' and prior.settings['points_per_side'] == 5
    default = MaskPriorGenerator(small_sams['sam'], 'cpu').settings
    wanted = dict(points_per_side=32, masks_per_point='largest', pred_iou_thresh=0.88, stability_score_thresh=0.92,
                  nms_thresh=0.7, min_area=10, size=None)
    assert {key: default[key] for key in wanted} == wanted
    # The weights identify the model, wherever they are.
    assert default['weights'] != prior.settings['weights'] and str(small_sams['sam']) not in json.dumps(default)


def test_small_regions_and_holes_are_removed_and_duplicates_dropped():
    clean, dotted, holed = np.zeros((3, 30, 30), bool)
    clean[2:12, 2:12] = True
    dotted[2:12, 2:12], dotted[20:22, 20:22] = True, True  # without the dot, the box of the first
    holed[15:28, 2:20], holed[20:23, 5:8] = True, False  # a hole of 9 pixels
    tiny = np.zeros((30, 30), bool)
    tiny[28, 28:] = True
    result = clean_masks(np.stack([dotted, clean, holed, tiny]), 10, 0.7)
    assert len(result) == 3  # the dotted one is a duplicate now
    assert np.array_equal(result[0], clean)
    assert np.array_equal(result[1], tiny)  # the largest region of a mask stays
    assert result[2].sum() == 13 * 18  # those that changed come last
    assert len(clean_masks(np.zeros((2, 30, 30), bool), 10, 0.7)) == 0
    assert clean_masks(holed[None], 9, 0.7).sum() == holed.sum()  # 9 is not fewer than 9


def test_models_that_cannot_be_loaded_are_one_clear_error(tmp_path, monkeypatch):
    pytest.importorskip('transformers', reason='the optional library transformers is not installed')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with pytest.raises(OSError, match=r'^facebook/no-such-sam: cannot be loaded .*"hf download facebook/no-such-sam '
                       '--local-dir DIRECTORY"'):
        MaskPriorGenerator('facebook/no-such-sam', 'cpu')
    (tmp_path / 'config.json').write_text('{"model_type": "sam"}')
    with pytest.raises(OSError, match=r'not a complete model of transformers .*preprocessor_config\.json'):
        MaskPriorGenerator(tmp_path, 'cpu')
    (tmp_path / 'config.json').write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match='not a model of mask generation, such as SAM or SAM 2'):
        MaskPriorGenerator(tmp_path, 'cpu')
    with pytest.raises(ValueError, match="mask_prior is 'samm'. Choose 'none'.*'sam', 'sam2'.*make_mask_priors"):
        MaskPriorGenerator('samm')
    with pytest.raises(ValueError, match="settings are 'fine', expected 'level3', 'sam'"):
        MaskPriorGenerator('none', settings='fine')
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(ImportError, match='SAM needs the library transformers .*pip install'):
        MaskPriorGenerator(tmp_path)


# ---- datasets ----


DATASETS = dict(s4=(write_s4, AVSBenchS4Dataset), ms3=(write_ms3, AVSBenchMS3Dataset), avss=(write_avss, AVSSDataset))


@pytest.mark.parametrize('subset', DATASETS)
def test_datasets_read_the_mask_priors_that_were_made_of_their_frames(tmp_path, subset):
    write, dataset_type = DATASETS[subset]
    root, out = write(tmp_path / 'root'), tmp_path / 'priors'
    frames = root_frames(root, subset, out)
    done = write_mask_priors(frames, out, MaskPriorGenerator(BrightRegions()))
    assert done.written == len(frames) and not done.problems
    pipeline = [dict(type='LoadClipFrames'), dict(type='LoadMaskPrior')]
    read = 0
    for split in ('train', 'val', 'test'):
        dataset = dataset_type(str(root), split, data_prefix=dict(mask_prior=str(out)), pipeline=pipeline)
        for clip in dataset:
            read += len(clip['frames'])
            for image, prior in zip(clip['frames'], clip['mask_prior']):
                assert np.array_equal(prior, render_prior(ids_from_masks(BrightRegions().masks(image))))
    assert read == len(frames) == dict(s4=30, ms3=30, avss=60)[subset]


def test_avss_reads_the_directory_of_the_authors_test_data_only_if_it_exists(tmp_path):
    root = write_avss(tmp_path)
    (root / 'priors/v1m/test_v1m/processed_frames_384').mkdir(parents=True)
    dataset = AVSSDataset(str(root), 'test', data_prefix=dict(mask_prior='priors'), lazy_init=True)
    first = {clip['clip_id']: Path(clip['mask_prior_paths'][0]) for clip in dataset.list_clips()}
    assert first['v1m/test_v1m'] == root / 'priors/v1m/test_v1m/processed_frames_384/0_mask_color.png'
    assert first['v1s/test_v1s'] == root / 'priors/v1s/test_v1s/frames/0_mask_color.png'
    (root / 'priors/v2/test_v2/processed_frames').mkdir(parents=True)
    first = {clip['clip_id']: Path(clip['mask_prior_paths'][0]) for clip in dataset.list_clips()}
    assert first['v2/test_v2'] == root / 'priors/v2/test_v2/processed_frames/0_mask_color.png'


def test_mask_priors_of_ms3_may_have_the_names_of_its_frames(tmp_path):
    root = write_ms3(tmp_path, clips=1, mask_prior=True)
    for path in sorted((root / 'priors/test_0').iterdir()):
        path.rename(path.with_name(path.name.replace('test_0_', 'test_0.mp4_')))
    dataset = AVSBenchMS3Dataset(str(root), 'test', data_prefix=dict(mask_prior='priors'))
    assert [Path(path).name for path in dataset[0]['mask_prior_paths']] == [
        f'test_0.mp4_{i}_mask_color.png' for i in range(1, 6)]


def make_priors(run_tool, *arguments):
    """Run make_mask_priors.py; return its exit status."""
    with pytest.raises(SystemExit) as status:
        run_tool('dataset_converters/make_mask_priors', *arguments)
    return status.value.code


def test_an_interrupted_run_goes_on_and_changed_frames_are_done_again(tmp_path, run_tool, capsys):
    root, out = write_ms3(tmp_path / 'root', clips=1), tmp_path / 'priors'
    command = root, out, '--subset', 'ms3', '--generator', 'none'
    assert make_priors(run_tool, *command, '--shard', '2/4') == 0
    assert '4 mask prior(s) written' in capsys.readouterr().err  # frames 2, 6, 10 and 14 of 15
    written = {path: path.stat().st_mtime_ns for path in out.rglob('*.png')}
    assert sorted(path.name for path in written) == [
        'test_0_4_mask_color.png', 'train_0_2_mask_color.png', 'val_0_1_mask_color.png', 'val_0_5_mask_color.png']
    changed, cut, *rest = sorted(written)
    write_image(root / 'ms3_data/visual_frames/test_0/test_0.mp4_4.png', frame(5, 40, 48))
    cut.write_bytes(cut.read_bytes()[:-40])
    assert make_priors(run_tool, *command) == 0
    assert '13 mask prior(s) written' in (err := capsys.readouterr().err) and ', 2 kept' in err
    assert all(path.stat().st_mtime_ns == written[path] for path in rest)
    assert all(path.stat().st_mtime_ns != written[path] for path in (changed, cut))
    assert len(list(out.rglob('*.png'))) == 15


def test_mask_priors_of_other_settings_are_not_mixed(tmp_path, run_tool):
    root, out = write_ms3(tmp_path / 'root', clips=1, mask_prior=True), tmp_path / 'priors'
    command = root, out, '--subset', 'ms3', '--generator', 'none'
    assert make_priors(run_tool, *command) == 0
    recorded = json.loads((out / 'mask_priors.json').read_text())
    assert recorded['settings'] == dict(generator='none', size=None) and recorded['notes'] == dict(source='none')
    assert (str(make_priors(run_tool, *command, '--size', 24))).startswith(
        f'error: {out}/mask_priors.json: the mask priors were made with other settings (size None, now 24)')
    assert 'mask priors of unknown settings, such as' in make_priors(
        run_tool, root, root / 'priors', '--subset', 'ms3', '--generator', 'none')  # those of the authors
    (out / 'mask_priors.json').write_text('{')
    assert 'mask_priors.json: not a JSON file' in make_priors(run_tool, *command)


def test_frames_that_cannot_be_read_are_named_and_the_others_done(tmp_path, run_tool, capsys):
    frames = tmp_path / 'my frames'
    for name in ('0.jpg', '1.jpg', '2.png'):
        write_image(frames / name, frame())
    (frames / '1.jpg').write_bytes(b'no image')
    (frames / 'audio.wav').write_bytes(b'')
    assert make_priors(run_tool, frames, tmp_path / 'out', '--generator', 'none') == 1
    output = capsys.readouterr()
    assert '1.jpg: the frame cannot be decoded' in output.out and len(output.out.splitlines()) == 1
    assert '2 mask prior(s) written' in output.err
    assert sorted(path.name for path in (tmp_path / 'out/my frames').iterdir()) == [
        '0_mask_color.png', '2_mask_color.png']
    write_image(frames / '0.png', frame())
    assert make_priors(run_tool, frames, tmp_path / 'other', '--generator', 'none').endswith(
        '0.png would have the same mask prior: rename or remove one')
    assert make_priors(run_tool, tmp_path / 'absent.mp4', tmp_path / 'other', '--generator', 'none').endswith(
        'absent.mp4: no such video, directory or config')


def test_equal_frames_are_computed_once():
    generator = BrightRegions()
    prior = MaskPriorGenerator(generator)
    first, second = frame(1), frame(2)
    for image in (first, first.copy(), second, second, first):
        assert np.array_equal(prior(image), render_prior(ids_from_masks(BrightRegions().masks(image))))
    assert generator.calls == 3


def test_a_changed_file_of_masks_is_read_again(tmp_path):
    image, out = np.zeros((8, 8, 3), np.uint8), tmp_path / 'out'
    frames = [NamedFrame('clip/0', lambda: image)]
    (tmp_path / 'masks/clip').mkdir(parents=True)
    for side in (2, 4):
        np.save(tmp_path / 'masks/clip/0_mask.npy', square(8, side)[None])
        done = write_mask_priors(frames, out, MaskPriorGenerator(MaskFiles(tmp_path / 'masks')))
        assert done.written == 1
        assert np.count_nonzero(read_id_map(out / 'clip/0_mask_color.png')) == side**2
    assert write_mask_priors(frames, out, MaskPriorGenerator(MaskFiles(tmp_path / 'masks'))).kept == 1


# ---- inference ----


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    model = init_model(CONFIG, device='cpu')
    for gate in model.mask_prior.gates:
        torch.nn.init.normal_(next(gate.parameters()))
    return model


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    return write_test_video(tmp_path_factory.mktemp('video') / 'a video.mp4', 7)


def probabilities(inferencer, video, **options):
    return inferencer(video, return_prob=True, **options)['predictions'][0]['foreground_prob'].astype(np.float32)


def test_a_video_is_segmented_with_the_mask_priors_of_a_generator_or_of_its_files(model, video, tmp_path, run_tool):
    bright = MaskPriorGenerator(BrightRegions())
    made = probabilities(AVSInferencer(model, mask_prior=bright), video)
    images = list(read_frames(video, np.arange(7) + 15 / 16))
    frames = [NamedFrame(f'a video/{k}', lambda image=image: image) for k, image in enumerate(images)]
    write_mask_priors(frames, tmp_path / 'files', bright)
    assert np.array_equal(probabilities(AVSInferencer(model, mask_prior=tmp_path / 'files'), video), made)
    gray = probabilities(AVSInferencer(model, mask_prior='none'), video)
    assert np.abs(gray - made).max() > 1e-3
    assert make_priors(run_tool, video, tmp_path / 'gray', '--generator', 'none') == 0
    assert np.array_equal(probabilities(AVSInferencer(model, mask_prior=str(tmp_path / 'gray')), video), gray)


def test_a_clip_in_memory_takes_a_generator(model):
    images, audio = np.stack([frame(k) for k in range(6)]), np.zeros(6 * 16000, np.float32)
    bright = MaskPriorGenerator(BrightRegions())
    made = inference_clip(model, images, audio, 16000, mask_prior=bright)
    given = inference_clip(model, images, audio, 16000, mask_prior=np.stack([bright(image) for image in images]))
    assert torch.equal(made.foreground_prob, given.foreground_prob)
    none = inference_clip(model, images, audio, 16000, mask_prior='none')
    assert not torch.equal(made.foreground_prob, none.foreground_prob)


def test_mask_priors_are_made_frame_by_frame_and_forgotten_with_their_frames(model):
    predictor, alive, asked = WindowPredictor(model), set(), []

    class Prior(np.ndarray):
        def __del__(self):
            alive.discard(getattr(self, 'index', None))

    def prior(index, image):
        made = np.zeros((8, 8, 3), np.uint8).view(Prior)
        made.index = index
        alive.add(index)
        asked.append(index)
        return made

    class Silence:
        def section(self, start, stop):
            return np.zeros(stop - start, np.float32)

        def forget(self, start):
            pass

    images = (frame(k, 8, 8) for k in range(40))
    largest = max(len(alive) for _ in predictor.predict(images, Silence(), 1, mask_prior=prior))
    assert asked == list(range(40)) and largest <= 20


def test_a_missing_mask_prior_is_an_error_that_lists_the_choices(model, video, tmp_path):
    with pytest.raises(ValueError, match="mask_prior is missing: .*'none' .*'sam', 'sam2'.*make_mask_priors.*without "
                       'mask-prior'):
        AVSInferencer(model)
    with pytest.raises(ValueError, match='no mask-prior branch'):
        AVSInferencer(init_model(CONFIG.with_name('vct_tiny_s4.py'), device='cpu'), mask_prior='none')
    with pytest.raises(ValueError, match=r'a video: no mask priors .*make_mask_priors\.py'):
        AVSInferencer(model, mask_prior=tmp_path)(video)


def test_mask_priors_of_another_frame_rate_are_refused(model, video, tmp_path, run_tool):
    assert make_priors(run_tool, video, tmp_path, '--generator', 'none', '--fps', '2') == 0
    assert len(list((tmp_path / 'a video').iterdir())) == 14
    inferencer = AVSInferencer(model, mask_prior=tmp_path)
    with pytest.raises(ValueError, match='made for 2 frames per second, the video is segmented at 1'):
        inferencer(video)
    assert len(inferencer(video, fps=2)['predictions'][0]['masks']) == 14
    for path in list((tmp_path / 'a video').iterdir())[4:]:
        path.unlink()
    with pytest.raises(ValueError, match='4 mask priors, but the video has more frames'):
        inferencer(video, fps=2)


def test_mask_priors_of_all_frames_are_refused_at_another_rate(model, video, tmp_path, run_tool):
    assert make_priors(run_tool, video, tmp_path, '--generator', 'none', '--fps', 'native') == 0
    inferencer = AVSInferencer(model, mask_prior=tmp_path)
    # Otherwise the first frames of the file would give the seconds their mask priors.
    with pytest.raises(ValueError, match='is segmented at 1: pass fps=native'):
        inferencer(video)
    count = len(list((tmp_path / 'a video').iterdir()))
    assert len(inferencer(video, fps='native')['predictions'][0]['masks']) == count


def test_files_are_taken_in_the_order_of_their_numbers(tmp_path):
    for k in (0, 9, 10, 100):
        write_prior(tmp_path / f'v/{k}_mask_color.png', np.full((2, 2), k, np.uint8))
    read = PriorDirectory(tmp_path).of_video('videos/v.mp4', Fraction(1))
    assert [read(k, None)[0, 0].tolist() for k in range(4)] == [prior_palette()[k].tolist() for k in (0, 9, 10, 100)]


def test_the_command_line_takes_mask_priors(model, video, tmp_path, run_tool, capsys):
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'weights.pth')
    command = [video, '--model', CONFIG, '--weights', tmp_path / 'weights.pth', '--out', tmp_path / 'out', '--device',
               'cpu', '--outputs', 'npz']
    with pytest.raises(SystemExit, match='error: mask_prior is missing'):
        run_tool('segment_video', *command)
    run_tool('segment_video', *command, '--mask-prior', 'none')
    expected = AVSInferencer(model, mask_prior='none')(video)['predictions'][0]['masks']
    assert np.array_equal(np.load(tmp_path / 'out/a video/masks.npz')['masks'], expected)


# ---- docs/user_guides/mask_priors.md ----


def test_the_lines_of_the_page_run(model, small_sams, tmp_path, run_tool, monkeypatch):
    page = (CONFIG.parents[2] / 'docs/user_guides/mask_priors.md').read_text()
    monkeypatch.chdir(tmp_path)
    write_test_video(tmp_path / 'video.mp4', 1)
    write_image(tmp_path / 'frames/0.jpg', frame())
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'CHECKPOINT')
    code, = (code for language, code in blocks(page) if language == 'python')
    namespace = dict(model=model, frame=frame(), frames=frame()[None], waveform=np.zeros(16000, np.float32))
    exec(compile(code.replace('vct_swin-b_avss_mask-prior', str(CONFIG)), 'mask_priors.md', 'exec'), namespace)
    commands = re.findall(r'^python tools/dataset_converters/make_mask_priors\.py ((?:video\.mp4|frames/) .*)$', page,
                          re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert make_priors(run_tool, *command.replace('sam2', str(small_sams['sam2'])).split()) == 0
    assert [path.name for path in tmp_path.glob('gray_priors/frames/*')] == ['0_mask_color.png']
    assert AVSInferencer(model, mask_prior='priors')('video.mp4')['predictions'][0]['masks'].shape == (1, 48, 64)


# ---- comparison ----


def test_the_comparison_tests_each_directory_and_gray(model, synthetic_root, tmp_path, run_tool, capsys):
    root = synthetic_root / 'Single-source'
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'weights.pth')
    options = [f'test_dataloader.dataset.data_root={root}']
    config = load_config(str(CONFIG), {'test_dataloader.dataset.data_root': str(root)})
    for name, generator in (('bright', BrightRegions()), ('gray', 'none')):
        frames = config_frames(config, tmp_path / name, ['test'])
        assert len(frames) == 15
        write_mask_priors(frames, tmp_path / name, MaskPriorGenerator(generator))
    command = ['analysis_tools/compare_mask_priors', CONFIG, tmp_path / 'weights.pth', '--work-dir', tmp_path / 'work',
               '--priors', f'ours={tmp_path}/bright', f'gray={tmp_path}/gray']
    run_tool(*command, '--out', tmp_path / 'table.csv', '--cfg-options', *options)
    result = json.loads((tmp_path / 'table.json').read_text())
    assert list(result['scores']) == ['ours', 'gray', 'none']
    # Gray files and no files are the same test; regions change it.
    assert result['scores']['gray'] == result['scores']['none'] != result['scores']['ours']
    header, *rows = [line.split(',') for line in (tmp_path / 'table.csv').read_text().splitlines()]
    assert [row[0] for row in rows] == list(result['scores'])
    assert [float(value) for value in rows[0][1:]] == [result['scores']['ours'][metric] for metric in header[1:]]
    assert result['stamp']['checkpoint_sha256'] and 'ours' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='mask prior.*_mask_color.png is missing'):
        run_tool(*command, f'absent={tmp_path}/absent', '--cfg-options', *options)


def test_a_damaged_video_is_reported_and_the_next_is_done(tmp_path):
    videos = tmp_path / 'videos'
    videos.mkdir()
    (videos / 'a.mp4').write_bytes(b'no video')
    write_test_video(videos / 'b.mp4', 2)
    frames, settings = path_frames(videos)
    done = write_mask_priors(frames, tmp_path / 'out', MaskPriorGenerator('none'), settings)
    assert done.written == 2 and len(done.problems) == 1 and 'a.mp4: FFmpeg cannot read' in done.problems[0]
    assert sorted(path.parent.name for path in (tmp_path / 'out').rglob('*.png')) == ['b', 'b']
