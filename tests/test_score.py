"""``mmavs score``: masks of any layout get the numbers of the protocols, by hand and as ``tools/test.py`` has them."""
import csv
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from avsbench_tree import write_avss, write_image
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.hooks import LoggerHook
from mmengine.logging import HistoryBuffer
from mmengine.registry import init_default_scope
from PIL import Image

import mmavs.models  # noqa: F401
from mmavs.analysis.mask_scoring import score_masks
from mmavs.analysis.result_collection import check_comparable, read_report
from mmavs.cli import main
from mmavs.datasets import VPODataset
from mmavs.datasets.mask_matching import match_names
from mmavs.datasets.transforms.loading import read_mask
from mmavs.evaluation import AVSSMetric, DatasetMetric, SaveMasks
from mmavs.registry import MODELS
from mmavs.structures import AVSDataSample
from mmavs.synthesis import synthesize_clips
from mmavs.synthesis.scenes import CATEGORIES
from mmavs.utils.palette import voc_palette

CONFIG = Path(__file__).parent / 'configs/vct_tiny_s4.py'
METRICS = [dict(type='AVSBenchMetric'), dict(type='DatasetMetric', preset='ddeseg'), dict(type='RobustnessMetric')]
# Two clips of three frames of 2x4 pixels. Of the four true pixels, two are predicted in clip a, and all in clip b; its
# last frame is silent, and an eighth of it is predicted.
TRUTH = np.zeros((2, 3, 2, 4), np.uint8)
TRUTH[..., :2] = 1
TRUTH[1, 2] = 0
PREDICTED = TRUTH.copy()
PREDICTED[0, :, :, 1] = 0
PREDICTED[1, 2, 0, 3] = 1
CLIPS = ('a_1', '-b')
EXPECTED = {
    'avsbench/M_J': (0.5 + (1 + 1 + 7 / 8) / 3) / 2,
    # Precision 1 and recall 1/2 give 1.3 * 0.5 / (0.3 + 0.5); of the second clip, two frames sound.
    'avsbench/M_F': (0.8125 + 1) / 2,
    'avsbench/M_J_batch_free': (0.5 * 3 + 1 + 1 + 7 / 8) / 6,
    # Foreground: 14 pixels hit, 6 missed, 1 too many; background: 27 of 28, 6 too many.
    'dataset/mIoU': (14 / 21 + 27 / 34) / 2,
    'dataset/F': (1.3 * 14 / (1.3 * 14 + 0.3 * 6 + 1) + 1.3 * 27 / (1.3 * 27 + 0.3 * 1 + 6)) / 2,
    'dataset/FDR': (1 / 15 + 6 / 33) / 2,
    'robustness/foreground_share': 15 / 48,
}


def indexed(mask):
    image = Image.fromarray(mask)
    image.putpalette(np.array(voc_palette(256), np.uint8).ravel().tolist())
    return image


ENCODINGS = dict(
    gray=lambda mask: Image.fromarray(mask * np.uint8(255)),
    zero_and_one=Image.fromarray,
    bilevel=lambda mask: Image.fromarray(mask * np.uint8(255)).convert('1'),
    palette=lambda mask: Image.fromarray(mask * np.uint8(255)).convert('P'),
    indexed=indexed,
    rgb=lambda mask: Image.fromarray(mask * np.uint8(255)).convert('RGB'),
    gray_16=lambda mask: Image.fromarray(mask * np.uint16(65535)),
)
LAYOUTS = ('{clip}/0000{t}.png', 'dog/{clip}/{clip}_{t}.png', '{clip}_{t}.png', 'masks/dog/{clip}_{t}.png',
           '{clip}/frame_{t}.png', 'dog/{clip}/{clip}.mp4_{t}.PNG')


def write_pngs(root, clips, layout='{clip}/0000{t}.png', encode=ENCODINGS['gray'], first=0):
    for name, masks in clips.items():
        for t, mask in enumerate(masks, first):
            path = root / layout.format(clip=name, t=t)
            path.parent.mkdir(parents=True, exist_ok=True)
            encode(mask).save(path, 'png')
    return root


def named(masks):
    return dict(zip(CLIPS, masks))


@pytest.fixture
def truth(tmp_path):
    """Ground truth as AVSBench has it, frames numbered from 1."""
    return write_pngs(tmp_path / 'gt_masks/test', named(TRUTH), 'dog/{clip}/{clip}_{t}.png', first=1)


def scores_of(*arguments, **options):
    return score_masks(*arguments, METRICS, **options)['scores']


def score(capsys, *arguments):
    """Run ``mmavs score``; its output."""
    main(['score', *map(str, arguments)])
    return capsys.readouterr()


def error_of(*arguments):
    with pytest.raises(SystemExit) as error:
        main(['score', *map(str, arguments)])
    assert '\n' not in str(error.value)
    return str(error.value)


# ---- Layouts and encodings ----


@pytest.mark.parametrize('first', [0, 1])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_layout_of_directories_has_the_numbers_computed_by_hand(tmp_path, truth, layout, first):
    predictions = write_pngs(tmp_path / 'out', named(PREDICTED), layout, first=first)
    (tmp_path / 'out/._a_1_0.png').write_bytes(b'Mac')
    (tmp_path / 'out/notes.txt').write_text('')
    scores = scores_of(truth, predictions)
    assert {name: scores[name] for name in EXPECTED} == pytest.approx(EXPECTED, abs=1e-6)


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_of_png_files_has_the_same_numbers(tmp_path, encoding):
    truth = write_pngs(tmp_path / 'gt', named(TRUTH), encode=ENCODINGS[encoding])
    scores = scores_of(truth, write_pngs(tmp_path / 'out', named(PREDICTED), encode=ENCODINGS[encoding]))
    assert {name: scores[name] for name in EXPECTED} == pytest.approx(EXPECTED, abs=1e-6)


@pytest.mark.parametrize('convert', [
    lambda masks: masks, lambda masks: masks * np.uint8(255), lambda masks: masks.astype(bool),
    lambda masks: masks.astype(np.int64), lambda masks: masks.astype(np.float16)
])
def test_every_type_of_array_has_the_same_numbers(tmp_path, truth, convert):
    np.savez(tmp_path / 'truth.npz', **{f'dog/{name}': masks for name, masks in named(TRUTH).items()})
    np.savez_compressed(tmp_path / 'masks.npz', **{name: convert(masks) for name, masks in named(PREDICTED).items()})
    for gt in (truth, tmp_path / 'truth.npz'):
        scores = scores_of(gt, tmp_path / 'masks.npz')
        assert {name: scores[name] for name in EXPECTED} == pytest.approx(EXPECTED, abs=1e-6)


def test_probabilities_have_the_best_of_255_thresholds(tmp_path, truth, capsys):
    # 0.4 in the true pixels, 0.2 elsewhere: nothing exceeds 0.5, and the thresholds between separate perfectly.
    gray = np.where(TRUTH == 1, 102, 51).astype(np.uint8)
    predictions = write_pngs(tmp_path / 'out', named(gray), encode=Image.fromarray)
    np.savez(tmp_path / 'out.npz', **named(gray / 255))
    for path in (predictions, tmp_path / 'out.npz'):
        report = score_masks(truth, path, METRICS, soft=True)
        assert report['scores']['avsbench/M_F'] == pytest.approx(1)
        # Half of the sounding frames is predicted empty; of the silent frame all, which is right.
        assert report['scores']['avsbench/M_J'] == pytest.approx((0 + 1 / 3) / 2)
        assert report['scores']['dataset/F_fg'] == 0
        assert report['stamp']['soft'] and report['stamp']['notes'] == []
    assert 'best of 255' in score(capsys, truth, truth).err
    assert score(capsys, truth, predictions, '--soft').err == ''
    message = error_of(truth, predictions)
    assert 'mask value 102' in message and '--soft reads probabilities' in message


def test_class_masks_have_the_numbers_computed_by_hand(tmp_path):
    gt = np.zeros((1, 2, 4), np.uint8)
    gt[0, 0], gt[0, 1, 0] = 1, 2
    pred = np.zeros_like(gt)
    pred[0, 0, :2] = 1
    truth = write_pngs(tmp_path / 'gt', dict(x=gt), encode=indexed)
    expected = {
        # Class 1: 2 of 4 pixels; class 2 is missed; background: 3 of 6 predicted pixels.
        'avsbench/M_J': (3 / 6 + 2 / 4 + 0) / 4,
        'avsbench/M_F': (1.3 * 0.5 * 1 / (0.3 * 0.5 + 1) + 1.3 * 0.5 / (0.3 + 0.5)) / 4,
    }
    for encode in (Image.fromarray, indexed, lambda mask: indexed(mask).convert('RGB')):
        predictions = write_pngs(tmp_path / 'out', dict(x=pred), encode=encode)
        report = score_masks(
            truth, predictions, [dict(type='AVSSMetric')], classes=['background', 'cat', 'dog', 'harp'])
        assert {name: report['scores'][name] for name in expected} == pytest.approx(expected)
        assert report['details']['avsbench']['per_class']['cat'] == pytest.approx(
            dict(iou=0.5, f_score=0.8125, frames=1))


def test_avss_is_read_from_its_root_and_from_its_directories(tmp_path, capsys):
    root = write_avss(tmp_path / 'AVSS')
    palette = np.array(voc_palette(71), np.uint8)
    for path in root.glob('v*/test_*/labels_semantic/*.png'):
        part, uid = path.parts[-4:-2]
        labels = np.array(Image.open(path))
        labels[:, -6:] = 0
        write_image(tmp_path / f'pred_masks/{uid}/{uid}_{path.stem}.png', palette[labels])
    options = ['--dataset', 'avss', '--json']
    scores = json.loads(score(capsys, root, tmp_path / 'pred_masks', *options).out)['scores']
    # Of the upper half (class 17), 54 of 60 columns are predicted in every frame.
    per_class = json.loads(score(capsys, root, tmp_path / 'pred_masks', *options).out)['details']['avsbench']
    assert per_class['per_class']['dog'] == pytest.approx(dict(iou=0.9, f_score=1.3 * 0.9 / (0.3 + 0.9), frames=20))
    assert [clip['clip'] for clip in per_class['per_clip']] == ['v1s/test_v1s', 'v1m/test_v1m', 'v2/test_v2']

    # A tree without the list of clips: other splits are clips without a prediction.
    (root / 'metadata.csv').unlink()
    assert '3 of the 9 clips' in error_of(root, tmp_path / 'pred_masks', *options)
    found = json.loads(score(capsys, root, tmp_path / 'pred_masks', *options, '--allow-missing').out)
    assert found['scores'] == pytest.approx(scores) and found['stamp']['missing_clips'] == 6


def test_padding_frames_of_avss_are_left_out_or_counted_as_background(tmp_path):
    gt = np.full((5, 4, 4), 3, np.uint8)
    gt[:, 0] = 0
    # AVSegFormer writes ten frames of every clip, those of the padding too.
    pred = np.concatenate([gt, np.full((5, 4, 4), 9, np.uint8)])
    pred[:5, 1] = 0
    truth = write_pngs(tmp_path / 'gt', {'v1s/x': gt}, 'v1s/x/labels_semantic/{t}.png', Image.fromarray)
    predictions = write_pngs(tmp_path / 'out', dict(x=pred), '{clip}/{clip}_{t}.png', Image.fromarray)
    for count, background in ((False, 0.5), (True, (5 * 0.5 + 5) / 10)):
        metric = dict(type='AVSSMetric', count_padded_frames=count)
        report = score_masks(truth, predictions, [metric], dataset='avss')
        assert report['scores']['avsbench/M_J'] == pytest.approx((background + 2 / 3) / 71)
        assert report['stamp']['frames'] == 5 and report['stamp']['notes'] == []


def test_padding_is_that_of_avss(truth):
    assert '--count-padded-frames pads the clips of AVSS' in error_of(truth, truth, '--count-padded-frames')


def test_indexed_images_of_labels_rgb_are_read_by_their_colors(tmp_path):
    gt = np.array([[[0, 17, 17, 3]]], np.uint8)
    palette = np.array(voc_palette(71), np.uint8)
    write_pngs(tmp_path / 'gt', {'v2/x': gt}, '{clip}/labels_rgb/{t}.png',
               lambda mask: Image.fromarray(palette[mask]).quantize(3))
    np.savez(tmp_path / 'x.npz', x=gt)
    stored = np.array(Image.open(tmp_path / 'gt/v2/x/labels_rgb/0.png'))
    assert stored.max() == 2
    report = score_masks(tmp_path / 'gt', tmp_path / 'x.npz', [dict(type='AVSSMetric')], dataset='avss')
    assert report['scores']['avsbench/M_J'] == pytest.approx(3 / 71)


def test_colors_of_no_class_are_an_error_or_background(tmp_path):
    colors = np.array(voc_palette(3), np.uint8)[np.array([[1, 1, 2, 0]])]
    truth = write_pngs(tmp_path / 'gt', dict(x=colors[None]), encode=Image.fromarray)
    blurred = colors.copy()
    blurred[0, 1] = 64, 64, 0
    predictions = write_pngs(tmp_path / 'out', dict(x=blurred[None]), encode=Image.fromarray)
    message = error_of(truth, predictions, '--num-classes', 3)
    assert 'the color (64, 64, 0)' in message and '--off-palette background reads it as background' in message
    report = score_masks(
        truth, predictions, [dict(type='DatasetMetric')], classes='abc', off_palette='background')
    assert report['scores']['dataset/mIoU'] == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)


def test_unlabelled_pixels_are_left_out_by_the_dataset_protocol_only(tmp_path):
    truth = write_pngs(tmp_path / 'gt', dict(x=np.array([[[0, 1, 2, 255]]], np.uint8)), encode=Image.fromarray)
    predictions = write_pngs(tmp_path / 'out', dict(x=np.array([[[0, 1, 1, 1]]], np.uint8)), encode=Image.fromarray)
    report = score_masks(truth, predictions, [dict(type='DatasetMetric')], classes='abc')
    assert report['scores']['dataset/mIoU'] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert "clip 'x': a labelled frame holds unlabelled pixels" in error_of(truth, predictions, '--num-classes', 3)


@pytest.mark.parametrize('layout', ['cavp', 'clean'])
def test_vpo_is_read_from_its_root_in_both_layouts(tmp_path, layout):
    root = synthesize_clips(tmp_path / 'vpo', 'vpo-ms', 1, 0, 3, seed=0, size=48, layout=layout)
    classes = ('background', *CATEGORIES)
    metrics = [dict(type='DatasetMetric', preset='ddeseg')]
    dataset = VPODataset(str(root), 'test', 'vpo-ms', layout, metainfo=dict(classes=classes), lazy_init=True)
    clips = {
        clip['clip_id']: read_mask(clip['mask_paths'][0], clip['mask_encoding'], len(classes), 'error',
                                   clip.get('category_ids', ()))
        for clip in dataset.list_clips()
    }
    for layout in ('{clip}/0000{t}.png', '{clip}.png'):
        predictions = write_pngs(tmp_path / layout[-9:-4], {k: v[None] for k, v in clips.items()}, layout,
                                 Image.fromarray)
        report = score_masks(root, predictions, metrics, dataset='vpo-ms', classes=classes)
        assert report['scores']['dataset/mIoU'] == 1 and report['stamp']['clips'] == 3
        assert {clip['clip'] for clip in report['details']['dataset']['per_clip']} == set(clips)


# ---- The numbers of tools/test.py ----


def test_masks_of_a_test_have_the_scores_of_the_test(tmp_path, run_tool, synthetic_root, capsys):
    torch.manual_seed(0)
    config = Config.fromfile(CONFIG)
    init_default_scope('mmavs')
    torch.save(dict(state_dict=MODELS.build(config.model).state_dict(), meta={}), tmp_path / 'model.pth')
    root = synthetic_root / 'Single-source'
    metrics = '[dict(type="AVSBenchMetric",batch_size=2),dict(type="DatasetMetric")]'
    arguments = [CONFIG, tmp_path / 'model.pth', '--work-dir', tmp_path / 'work']
    options = ['--cfg-options', f'test_dataloader.dataset.data_root={root}']
    (tmp_path / 'config.py').write_text(f'_base_ = {str(CONFIG)!r}\ntest_evaluator = {metrics}\n')
    run_tool('test', tmp_path / 'config.py', *arguments[1:], '--out', tmp_path / 'test.json', *options)
    run_tool('test', *arguments, '--predict-only', '--out', tmp_path / 'png', '--out-item', 'png', *options)
    run_tool('test', *arguments, '--predict-only', '--out', tmp_path / 'masks.npz', '--out-item', 'pred', *options)
    expected = read_report(tmp_path / 'test.json')
    assert np.count_nonzero(expected.details['dataset']['confusion_matrix']) == 4
    # Without the list of clips, batches are formed in alphabetical order.
    independent = ['avsbench/M_J_per_video', 'avsbench/M_J_batch_free']
    independent += [name for name in expected.scores if name.startswith('dataset/')]
    for gt in (root, root / 's4_data/gt_masks/test'):
        for predictions in ('png', 'masks.npz'):
            score(capsys, gt, tmp_path / predictions, '--dataset', 's4', '--protocol', 'avsbench', 'dataset',
                  '--batch-size', 2, '--out', tmp_path / 'score.json')
            found = read_report(tmp_path / 'score.json')
            for name in independent + ['avsbench/M_J'] * (gt == root):
                assert found.scores[name] == pytest.approx(expected.scores[name], abs=1e-12), name
            assert found.details['dataset']['confusion_matrix'] == expected.details['dataset']['confusion_matrix']
            if gt == root:
                # The same clips by the same rule: a table may compare both.
                check_comparable(dict(test=[expected], score=[found]), 'dataset/mIoU')
                check_comparable(dict(test=[expected], score=[found]), 'avsbench/M_J')


@pytest.mark.parametrize('path', ['out', 'out.npz'])
def test_saved_class_masks_have_the_scores_of_their_evaluation(tmp_path, path):
    meta = dict(classes=('background', 'cat', 'dog'), palette=[[0, 0, 0], [10, 200, 30], [255, 1, 2]])
    evaluator = Evaluator([AVSSMetric(), DatasetMetric('ddeseg'), SaveMasks(str(tmp_path / path))])
    evaluator.dataset_meta = meta
    rng, truth = np.random.default_rng(0), {}
    for clip in ('v/x', 'v/y'):
        gt, pred = (torch.from_numpy(rng.integers(0, 3, (2, 6, 9), dtype=np.uint8)) for _ in range(2))
        truth[clip] = gt.numpy()
        evaluator.process([AVSDataSample(metainfo=dict(clip_id=clip, subset=None), gt_sem_seg=gt, pred_sem_seg=pred,
                                         pred_frame_seg=pred)])
    expected = evaluator.evaluate(2)
    write_pngs(tmp_path / 'gt', truth, encode=indexed)
    metrics = [dict(type='AVSSMetric'), dict(type='DatasetMetric', preset='ddeseg')]
    report = score_masks(tmp_path / 'gt', tmp_path / path, metrics, classes=meta['classes'])
    assert report['scores'] == pytest.approx(expected, abs=1e-12)
    assert report['details']['avsbench'] | {} == dict(
        report['details']['avsbench'], **evaluator.metrics[0].details)


# ---- Matching ----


def test_clips_and_frames_without_a_partner_are_counted_and_named(tmp_path, truth):
    clips = named(PREDICTED) | {'new clip': PREDICTED[0]}
    predictions = write_pngs(tmp_path / 'out', clips)
    for path in (predictions / 'a_1').iterdir():
        path.unlink()
    message = error_of(truth, predictions)
    assert f'1 of the 2 clips of {truth} have masks in {predictions}' in message
    assert "without: 'dog/a_1'" in message and "only predicted: 'new clip'" in message
    assert '--allow-missing' in message

    (predictions / '-b/00001.png').unlink()
    report = score_masks(truth, predictions, METRICS, allow_missing=True)
    # The first and the last frame of the second clip.
    assert report['scores']['avsbench/M_J'] == pytest.approx((1 + 7 / 8) / 2, abs=1e-6)
    stamp = report['stamp']
    assert [stamp[key] for key in ('clips', 'frames', 'missing_clips', 'missing_frames', 'surplus_clips')] == [
        1, 2, 1, 1, 1]
    assert any(note.startswith('Only what both have is scored: 1 of 2 clips and 1 frames') for note in stamp['notes'])


def test_frames_without_a_partner_are_named_with_their_numbers(tmp_path, truth):
    predictions = write_pngs(tmp_path / 'out', named(PREDICTED))
    (predictions / 'a_1/00000.png').unlink()
    message = error_of(truth, predictions)
    assert "the frames of 1 of 2 clips differ" in message
    assert "'a_1' has 2 frame(s) (1, 2), the ground truth 'dog/a_1' 3 frame(s) (1, 2, 3)" in message


def test_frames_are_ordered_by_number_not_by_name(tmp_path):
    gt = np.zeros((12, 1, 12), np.uint8)
    gt[range(12), 0, range(12)] = 1
    truth = write_pngs(tmp_path / 'gt', dict(x=gt), '{clip}_{t}.png')
    np.savez(tmp_path / 'x.npz', x=gt)
    assert scores_of(truth, tmp_path / 'x.npz')['dataset/mIoU'] == 1


def test_every_fifth_frame_matches_the_arrays_by_order(tmp_path):
    gt = np.eye(3, dtype=np.uint8)[:, None]
    for t in range(3):
        write_pngs(tmp_path / 'gt', dict(x=gt[t:t + 1]), first=5 * t)
    np.savez(tmp_path / 'x.npz', x=gt)
    assert scores_of(tmp_path / 'gt', tmp_path / 'x.npz')['dataset/mIoU'] == 1


def test_names_match_by_their_last_parts():
    assert match_names(['dog/x', 'cat/y'], ['y', 'x']) == {'dog/x': 'x', 'cat/y': 'y'}
    assert match_names(['dog/x', 'cat/x'], ['a/cat/x', 'a/dog/x']) == {'dog/x': 'a/dog/x', 'cat/x': 'a/cat/x'}
    # The last part alone would be ambiguous.
    assert match_names(['dog/x', 'cat/x'], ['x']) == {}
    assert match_names(['x'], ['y']) == {}


def test_sizes_must_agree_unless_a_resize_is_asked_for(tmp_path, truth):
    large = np.kron(PREDICTED, np.ones((1, 1, 3, 3), np.uint8))
    predictions = write_pngs(tmp_path / 'out', named(large))
    message = error_of(truth, predictions)
    assert 'are 6x12, the ground truth is 2x4 (height x width)' in message and '--resize nearest' in message
    for options in (dict(resize=True), dict(size=(2, 4)), dict(size=(4, 8))):
        report = score_masks(truth, predictions, METRICS, **options)
        assert report['scores']['avsbench/M_J'] == pytest.approx(EXPECTED['avsbench/M_J'], abs=1e-6)
    assert report['stamp']['resized'] == [4, 8]


# ---- Output and errors ----


def test_scores_of_every_clip_are_a_table(tmp_path, truth, capsys):
    predictions = write_pngs(tmp_path / 'out', named(PREDICTED))
    out = score(capsys, truth, predictions, '--protocol', 'avsbench', 'dataset', 'switch', '--csv', tmp_path / 'a.csv')
    assert '2 clips, 6 frames' in out.out and f"{'avsbench/M_J':35} 0.7292" in out.out
    with open(tmp_path / 'a.csv', newline='') as file:
        rows = {row['clip']: row for row in csv.DictReader(file)}
    assert set(rows) == {'dog/a_1', 'dog/-b'} and rows['dog/a_1']['frames'] == '3'
    assert float(rows['dog/a_1']['avsbench/M_J']) == pytest.approx(0.5)
    assert float(rows['dog/-b']['avsbench/M_J']) == pytest.approx((1 + 1 + 7 / 8) / 3)
    assert float(rows['dog/a_1']['dataset/mIoU']) == pytest.approx((0.5 + 12 / 18) / 2)
    assert rows['dog/a_1']['switch/frames_between'] == '3'


def test_scores_are_numbers_that_the_log_of_mmengine_keeps(truth):
    metrics = [*METRICS, dict(type='SwitchMetric')]
    scores = score_masks(truth, truth, metrics)['scores']
    logged = {name: HistoryBuffer([value], [1]).current() for name, value in scores.items()}
    assert LoggerHook._process_tags(logged) == pytest.approx(scores, nan_ok=True)


def test_result_that_cannot_be_written_is_an_error_before_masks_are_read(tmp_path, truth):
    assert 'is a directory' in error_of(truth, tmp_path / 'nothing', '--out', tmp_path)
    (tmp_path / 'file').write_text('')
    message = error_of(truth, tmp_path / 'nothing', '--csv', tmp_path / 'file/a.csv')
    assert f"{tmp_path / 'file/a.csv'}: cannot be written" in message


@pytest.mark.parametrize('arrays,message', [
    (dict(x=np.zeros((2, 3), np.uint8)), r'x.npy has shape \(2, 3\)'),
    (dict(x=np.zeros((1, 2, 3), 'U1')), 'expected numbers'),
    (dict(x=np.array([[[None]]])), 'expected numbers'),
    (dict(x=np.full((3, 2, 4), 7, np.uint8)), "'x' holds the value 7, expected classes 0 to 1, or 255"),
    (dict(x=np.zeros((3, 2, 4)), y=np.zeros((3, 2, 4), np.uint8)), 'expected one kind'),
    (dict(x=np.full((3, 2, 4), 1.5)), 'pass probabilities, not logits'),
    (dict(x=np.full((3, 2, 4), np.nan)), "'x': foreground_prob holds NaN, which is not scored"),
    ({}, 'no array'),
])
def test_array_that_is_not_a_mask_is_named(tmp_path, arrays, message):
    write_pngs(tmp_path / 'gt', dict(x=TRUTH[0]))
    np.savez(tmp_path / 'masks.npz', **arrays)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        scores_of(tmp_path / 'gt', tmp_path / 'masks.npz')


def test_damaged_archives_are_named(tmp_path, truth):
    np.savez(tmp_path / 'whole.npz', x=TRUTH[0])
    (tmp_path / 'cut.npz').write_bytes((tmp_path / 'whole.npz').read_bytes()[:100])
    assert 'cut.npz: not an .npz file, or truncated' in error_of(truth, tmp_path / 'cut.npz')
    header = (b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 9, 9), }"
              .ljust(117) + b'\n')
    with zipfile.ZipFile(tmp_path / 'huge.npz', 'w') as archive:
        archive.writestr('x.npy', header)
    assert 'x.npy is truncated, its header says (1000000000, 9, 9)' in error_of(truth, tmp_path / 'huge.npz')
    # The directory of an archive may claim the size as well.
    claimed = bytearray((tmp_path / 'huge.npz').read_bytes())
    start = claimed.rindex(b'PK\1\2')
    claimed[start + 20:start + 28] = (2**32 - 2).to_bytes(4, 'little') * 2
    (tmp_path / 'claimed.npz').write_bytes(claimed.replace(b'1000000000', b'  40000000'))
    assert 'claimed.npz: x.npy is truncated, its header says' in error_of(truth, tmp_path / 'claimed.npz')


def test_archives_of_other_content_are_named(tmp_path, truth):
    with zipfile.ZipFile(tmp_path / 'text.npz', 'w') as archive:
        archive.writestr('x', b'')
    assert "text.npz: 'x' is not an array (.npy)" in error_of(truth, tmp_path / 'text.npz')
    np.savez(tmp_path / 'unknown.npz', x=TRUTH[0])
    # The method of compression, in the header of the entry and in the directory.
    content = bytearray((tmp_path / 'unknown.npz').read_bytes())
    for start in (content.index(b'PK\3\4') + 8, content.index(b'PK\1\2') + 10):
        content[start] = 77
    (tmp_path / 'unknown.npz').write_bytes(content)
    assert 'unknown.npz: x.npy is not an array of NumPy (That compression method' in error_of(
        truth, tmp_path / 'unknown.npz')
    os.mkfifo(tmp_path / 'pipe.npz')
    assert 'pipe.npz: not a regular file' in error_of(truth, tmp_path / 'pipe.npz')


def test_directories_without_masks_are_named(tmp_path, truth):
    (tmp_path / 'empty').mkdir()
    assert 'no PNG file' in error_of(truth, tmp_path / 'empty')
    write_pngs(tmp_path / 'plain', dict(x=TRUTH[0, :1]), '{clip}.png')
    assert 'no frame number at the end of its name' in error_of(truth, tmp_path / 'plain')
    assert 'no such file or directory' in error_of(truth, tmp_path / 'nothing')
    (tmp_path / 'masks.zip').write_bytes(b'')
    assert 'expected a directory of PNG files or a file that ends in .npz' in error_of(truth, tmp_path / 'masks.zip')
    write_pngs(tmp_path / 'twice', named(TRUTH))
    write_pngs(tmp_path / 'twice', named(TRUTH), '{clip}/{t}.png')
    assert 'expected one mask of each frame' in error_of(truth, tmp_path / 'twice')


def test_class_masks_without_classes_are_refused(tmp_path):
    truth = write_pngs(tmp_path / 'gt', dict(x=np.array([[[0, 17]]], np.uint8)), encode=Image.fromarray)
    assert '--dataset, --classes or --num-classes states the classes' in error_of(truth, truth)


def test_help_fits_a_screen(monkeypatch, capsys):
    monkeypatch.setenv('COLUMNS', '100')
    with pytest.raises(SystemExit):
        main(['score', '--help'])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
