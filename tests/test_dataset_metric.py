"""Dataset protocol: equality with an explicit confusion matrix, worked examples, and distributed evaluation."""
import json
import math
from argparse import ArgumentParser
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from mmengine.config import DictAction
from mmengine.evaluator import Evaluator

from mmavs.engine.launch import build_runner
from mmavs.evaluation import AVSBenchMetric, DatasetMetric
from mmavs.evaluation.functional.dataset import ClassScores, class_scores, confusion_matrix, dataset_averages
from mmavs.evaluation.metrics.class_table import class_table
from mmavs.structures import AVSDataSample
from mmavs.utils.config import load_config

# As in docs/concepts/protocols.md.
OPTIONS = ('test_evaluator._delete_=True', 'test_evaluator.type=DatasetMetric', 'test_evaluator.preset=ddeseg')
CLASSES = ('background', 'cat', 'dog', 'harp', 'sheep', 'unicorn')


def written_out(clips, num_classes):
    """Confusion matrix and scores of CAVP and DDESeg of clips (pred, gt), one pixel and one class at a time."""
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for pred, gt in clips:
        for p, g in zip(pred.flatten().tolist(), gt.flatten().tolist()):
            if g != 255:
                matrix[g][p] += 1
    iou, f, fdr = {}, {}, {}
    for c in range(num_classes):
        tp = matrix[c][c]
        fp = sum(matrix[g][c] for g in range(num_classes)) - tp
        fn = sum(matrix[c][p] for p in range(num_classes)) - tp
        if tp + fp + fn:
            iou[c] = tp / (tp + fp + fn)
            f[c] = 1.3 * tp / (1.3 * tp + 0.3 * fn + fp)
        if tp + fp:
            fdr[c] = fp / (tp + fp)
    mean = {
        'cavp': sum(iou.values()) / num_classes,
        'ddeseg': sum(iou.values()) / len(iou),
        'cavp_fg': sum(v for c, v in iou.items() if c) / (num_classes - 1),
        'ddeseg_fg': sum(v for c, v in iou.items() if c) / len([c for c in iou if c]),
        'F': sum(f.values()) / len(f),
        'F_fg': sum(v for c, v in f.items() if c) / len([c for c in f if c]),
        'FDR': sum(fdr.values()) / len(fdr),
    }
    return matrix, mean


def make_clips(lengths, size=14, seed=0):
    """Clips (pred, gt) of six classes with unlabelled pixels; the last class never occurs, class 4 has no hits."""
    generator = torch.Generator().manual_seed(seed)
    clips = []
    for length in lengths:
        gt = torch.randint(0, 5, (length, size, size), generator=generator)
        wrong = torch.randint(0, 4, gt.shape, generator=generator)
        pred = torch.where((torch.rand(gt.shape, generator=generator) < 0.6) & (gt != 4), gt, wrong).byte()
        gt[torch.rand(gt.shape, generator=generator) < 0.1] = 255
        clips.append((pred, gt.byte()))
    return clips


def as_sample(pred, gt, clip_id, **fields):
    sample = AVSDataSample(metainfo=dict(clip_id=clip_id, subset='vpo-ms'))
    sample.pred_sem_seg, sample.gt_sem_seg = pred, gt
    for key, value in fields.items():
        setattr(sample, key, value)
    return sample


def as_samples(clips):
    return [as_sample(*clip, clip_id=str(i)) for i, clip in enumerate(clips)]


def evaluate(metric, samples, classes=CLASSES, size=None):
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dict(classes=classes)
    for start in range(0, len(samples), 2):
        evaluator.process(samples[start:start + 2])
    return evaluator.evaluate(len(samples) if size is None else size)


@pytest.mark.parametrize('preset', ['cavp', 'ddeseg'])
def test_scores_equal_an_explicit_confusion_matrix(preset):
    clips = make_clips([1, 5, 3])
    matrix, mean = written_out(clips, 6)
    assert sum(confusion_matrix(*clip, 6) for clip in clips).tolist() == matrix
    results = evaluate(DatasetMetric(preset), as_samples(clips))
    expected = {
        'mIoU': mean[preset], 'mIoU_fg': mean[f'{preset}_fg'], 'F': mean['F'], 'F_fg': mean['F_fg'],
        'FDR': mean['FDR'], 'J&F': (mean[preset] + mean['F']) / 2
    }
    assert results == {f'dataset/{name}': pytest.approx(value, abs=1e-14) for name, value in expected.items()}


def test_presets_differ_by_the_class_that_never_occurs_and_agree_without_it():
    scores = class_scores(torch.tensor(written_out(make_clips([4]), 6)[0]))
    cavp, ddeseg = (dataset_averages(scores, preset) for preset in ('cavp', 'ddeseg'))
    assert cavp['mIoU'] == pytest.approx(ddeseg['mIoU'] * 5 / 6)
    assert cavp['mIoU_fg'] == pytest.approx(ddeseg['mIoU_fg'] * 4 / 5)
    assert all(cavp[name] == ddeseg[name] for name in ('F', 'F_fg', 'FDR'))
    scores = class_scores(torch.tensor(written_out(make_clips([4]), 5)[0]))
    assert dataset_averages(scores, 'cavp') == dataset_averages(scores, 'ddeseg')


def test_presets_give_the_published_numbers_of_one_matrix():
    """0.496 by DDESeg's average is 0.414 by CAVP's if one class of six is absent."""
    matrix = torch.zeros(6, 6, dtype=torch.int64)
    # 4964 of the 10000 pixels of each class's union are hit.
    matrix[:5, :5] = 4964 * torch.eye(5).long() + 2518 * torch.eye(5).long().roll(1, 0)
    scores = class_scores(matrix)
    assert round(dataset_averages(scores, 'ddeseg')['mIoU'], 3) == 0.496
    assert round(dataset_averages(scores, 'cavp')['mIoU'], 3) == 0.414


def test_f_is_that_of_precision_and_recall_and_j_and_f_is_their_mean():
    scores = class_scores(torch.tensor([[50, 10], [5, 35]]))
    precision, recall = 35 / 45, 35 / 40
    assert scores.f[1].item() == pytest.approx(1.3 * precision * recall / (0.3 * precision + recall))
    assert scores.fdr.tolist() == pytest.approx([5 / 55, 10 / 45])
    # Published for S4 by CAVP: J 78.78 and F 88.89 are reported as J&F 83.84.
    published = ClassScores(
        iou=torch.tensor([.8878, .6878]), f=torch.tensor([.9389, .8389]), fdr=torch.zeros(2), union=torch.ones(2))
    averages = dataset_averages(published, 'cavp')
    assert (averages['mIoU'], averages['F']) == pytest.approx((.7878, .8889))
    assert averages['J&F'] == pytest.approx(.8384, abs=6e-5)


def test_protocols_and_presets_score_one_prediction_differently():
    """Foreground IoU 0.565, two-class mean 0.735 and the per-frame mean of the avsbench protocol 0.653."""
    samples = []
    for index, (inter, union) in enumerate([(634, 1400), (464, 544)]):
        gt, pred = torch.zeros(2, 5000, dtype=torch.uint8)
        gt[:union], pred[:inter] = 1, 1
        gt, pred = gt.view(1, 50, 100), pred.view(1, 50, 100)
        samples.append(as_sample(pred, gt, str(index), foreground_prob=pred.float()))
    results = evaluate([DatasetMetric('cavp'), AVSBenchMetric()], samples, ('background', 'object'))
    assert results['dataset/mIoU_fg'] == pytest.approx(0.565, abs=5e-4)
    assert results['dataset/mIoU'] == pytest.approx(0.735, abs=5e-4)
    assert results['avsbench/M_J'] == pytest.approx(0.653, abs=5e-4)


def test_two_classes_are_scored_as_foreground_and_background():
    (pred, gt), = make_clips([3])
    binary = torch.where(gt == 255, 255, (gt != 0).int()).byte()
    as_object = evaluate(DatasetMetric(), [as_sample((pred != 0).byte(), binary, 'a')], ('background', 'object'))
    assert evaluate(DatasetMetric(), [as_sample(pred, gt, 'a')], ('background', 'object')) == as_object
    _, mean = written_out([((pred != 0).byte(), binary)], 2)
    assert as_object['dataset/mIoU'] == pytest.approx(mean['cavp'])


def test_present_class_without_hits_scores_zero_and_absent_class_is_skipped():
    metric = DatasetMetric()
    evaluate(metric, as_samples(make_clips([2])))
    assert metric.per_class['sheep']['iou'] == metric.per_class['sheep']['f_score'] == 0
    assert metric.per_class['unicorn']['pixels'] == 0 and math.isnan(metric.per_class['unicorn']['iou'])
    rows = {line.split()[1]: line.split()[3::2] for line in class_table(metric.per_class).splitlines() if '│' in line}
    assert rows['sheep'][:3] == ['0.0000', '0.0000', '-'] and rows['unicorn'] == ['-', '-', '-', '0']


def test_scores_of_the_clips_add_up_to_those_of_the_dataset():
    clips = make_clips([1, 3, 2])
    matrix, _ = written_out(clips, 6)
    metric = DatasetMetric()
    evaluate(metric, as_samples(clips))
    assert metric.details['confusion_matrix'] == matrix and metric.details['classes'] == list(CLASSES)
    per_clip = metric.details['per_clip']
    assert [(clip['clip'], clip['subset'], clip['frames']) for clip in per_clip] == [
        ('0', 'vpo-ms', 1), ('1', 'vpo-ms', 3), ('2', 'vpo-ms', 2)]
    for c, name in enumerate(CLASSES):
        counts = [clip['per_class'].get(name, dict(tp=0, fp=0, fn=0)) for clip in per_clip]
        assert sum(count['tp'] for count in counts) == matrix[c][c]
        assert sum(count['tp'] + count['fp'] for count in counts) == sum(row[c] for row in matrix)
        assert sum(count['tp'] + count['fn'] for count in counts) == sum(matrix[c])
    alone = evaluate(DatasetMetric('ddeseg'), as_samples(clips)[1:2])
    assert [per_clip[1][name] for name in ('mIoU', 'F', 'FDR')] == [
        alone[f'dataset/{name}'] for name in ('mIoU', 'F', 'FDR')]


def test_only_valid_and_labelled_frames_are_counted():
    (pred, gt), = make_clips([5])
    labelled = torch.tensor([True, True, False, False, False])
    valid = torch.tensor([True, True, True, True, False])
    gt[3:] = 99
    scored = evaluate(DatasetMetric(), [as_sample(pred, gt, 'a', labelled=labelled, valid=valid)])
    assert scored == evaluate(DatasetMetric(), [as_sample(pred[:2], gt[:2], 'a')])


@pytest.mark.parametrize('num_classes', [2, 22, 24, 71])
def test_unlabelled_pixels_are_left_out_for_every_number_of_classes(num_classes):
    generator = torch.Generator().manual_seed(0)
    pred = torch.randint(0, num_classes, (2, 9, 9), generator=generator)
    gt = torch.randint(0, num_classes, (2, 9, 9), generator=generator)
    gt[0] = 255
    assert torch.equal(confusion_matrix(pred, gt, num_classes), confusion_matrix(pred[1], gt[1], num_classes))
    assert confusion_matrix(pred, gt, num_classes).sum() == 81


@pytest.mark.parametrize(('where', 'value', 'message'), [
    ('pred', 6, 'prediction holds label 6, expected classes 0 to 5'),
    ('gt', 6, 'ground truth holds label 6, expected classes 0 to 5, or 255'),
    ('gt', 254, 'ground truth holds label 254'),
])
def test_labels_outside_the_classes_name_the_clip(where, value, message):
    (pred, gt), = make_clips([1])
    dict(pred=pred, gt=gt)[where][0, 0, 0] = value
    with pytest.raises(ValueError, match=f"clip 'cat/3': {message}"):
        evaluate(DatasetMetric(), [as_sample(pred, gt, 'cat/3')])


def test_invalid_use_is_an_error():
    with pytest.raises(ValueError, match="preset is 'tpavi', expected one of cavp, ddeseg"):
        DatasetMetric('tpavi')
    samples = as_samples(make_clips([1, 1]))
    with pytest.raises(ValueError, match="dataset_meta\\['classes'\\]"):
        evaluate(DatasetMetric(), samples, classes=None)
    with pytest.raises(ValueError, match='2 different clips were scored, the dataset has 3'):
        evaluate(DatasetMetric(), [*samples, samples[0]])
    for sample in samples:
        sample.labelled = torch.zeros(1, dtype=torch.bool)
    with pytest.raises(ValueError, match='none of the 2 clips has a labelled frame'):
        evaluate(DatasetMetric(), samples)


# Distributed evaluation

# Clips of each of two processes, with those that the sampler repeats: assigned in turn, in blocks, padded by other
# clips than the first, one process without any clip.
DEALS = {
    'by turns': ([0, 2, 4, 6], [1, 3, 5, 0]),
    'in blocks': ([0, 1, 2, 3], [4, 5, 6, 3]),
    'repeated first': ([3, 3, 0, 1], [2, 4, 5, 6]),
    'all in one': ([0, 1, 2, 3, 4, 5, 6], []),
}


def score_on_one_rank(rank, samples, init_file, out_file):
    torch.distributed.init_process_group('gloo', f'file://{init_file}', rank=rank, world_size=2)
    results = {}
    for name, dealt in DEALS.items():
        evaluator = Evaluator([DatasetMetric('cavp'), DatasetMetric('ddeseg', prefix='ddeseg')])
        evaluator.dataset_meta = dict(classes=CLASSES)
        for index in dealt[rank]:
            evaluator.process([samples[index]])
        results[name] = evaluator.evaluate(len(samples))
    if rank == 0:
        torch.save(results, out_file)
    torch.distributed.destroy_process_group()


def test_numbers_do_not_depend_on_processes_and_samplers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / '.dist_test').touch()  # MMEngine would collect the results through this directory
    samples = as_samples(make_clips([1, 5, 2, 1, 3, 5, 1]))
    mp.start_processes(
        score_on_one_rank, (samples, tmp_path / 'init', tmp_path / 'results.pth'), 2, start_method='fork')
    alone = evaluate([DatasetMetric('cavp'), DatasetMetric('ddeseg', prefix='ddeseg')], samples)
    assert len(alone) == 12
    assert torch.load(tmp_path / 'results.pth') == dict.fromkeys(DEALS, alone)


@pytest.mark.parametrize('path', [
    *sorted(str(path) for path in Path('configs/ravs').glob('ravs_pvt*.py') if 'vpo' not in path.name),
    'configs/vct/vct_swin-b_avss_mask-prior.py',
    'configs/avsegformer/avsegformer_r50-512_s4.py',  # states the batch_size of another metric
    'configs/tpavi/tpavi_r50_avss.py',  # states count_padded_frames
    'configs/vct/vct_tiny_composed.py',  # has two metrics
])
def test_options_of_the_docs_replace_the_metrics_of_any_config(path):
    assert ' '.join(OPTIONS) in Path('docs/concepts/protocols.md').read_text()
    parser = ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    config = load_config(path, parser.parse_args(['--cfg-options', *OPTIONS]).cfg_options)
    metric, = Evaluator(config.test_evaluator).metrics
    assert isinstance(metric, DatasetMetric) and metric.preset == 'ddeseg'


def test_options_of_the_docs_score_a_model_of_s4(synthetic_root, run_tool, tmp_path):
    file = 'tests/configs/vct_tiny_s4.py'
    data = {f'{split}_dataloader.dataset.data_root': str(synthetic_root / 'Single-source')
            for split in ('train', 'val', 'test')}
    config = load_config(file, data)
    config.work_dir = str(tmp_path)
    torch.save(build_runner(config).model.state_dict(), tmp_path / 'weights.pth')
    run_tool('test', file, tmp_path / 'weights.pth', '--work-dir', tmp_path, '--out', tmp_path / 'scores.json',
             '--cfg-options', *OPTIONS, *(f'{key}={value}' for key, value in data.items()))
    report = json.loads((tmp_path / 'scores.json').read_text())
    assert report['details']['dataset']['protocol'] == 'dataset'
    assert report['details']['dataset']['options'] == dict(preset='ddeseg')
    assert set(report['scores']) == {f'dataset/{name}' for name in ('mIoU', 'mIoU_fg', 'F', 'F_fg', 'FDR', 'J&F')}
