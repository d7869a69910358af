"""AVSBench protocol: hand-computed cases, and equality with the published loops."""
import pickle

import pytest
import torch
import torch.multiprocessing as mp
from mmengine.evaluator import Evaluator

from mmavs.evaluation import AVSBenchMetric, AVSSMetric, RobustnessMetric
from mmavs.evaluation.functional.avsbench import (
    binary_scores,
    class_areas,
    class_averages,
    class_score_sums,
    f_score_thresholds,
    max_f_score_by_batch,
    mean_iou_by_batch,
    padding_score_sums,
)
from mmavs.evaluation.metrics.class_table import class_table
from mmavs.structures import AVSDataSample


def literal_iou(prob, gt):
    """IoU of one frame, as published."""
    pred, gt = (prob > 0.5).double(), gt.double()
    if gt.sum() == 0:
        return ((1 - pred) * (1 - gt)).sum() / (gt.numel() + 1e-7)
    return (pred * gt).sum() / (torch.maximum(pred, gt).sum() + 1e-7)


def literal_f_curve(prob, gt):
    """F-score of one frame at each of 255 thresholds, as published."""
    curve = []
    for threshold in torch.linspace(0, 1 - 1e-10, 255):
        pred = (prob >= threshold).double()
        true_positive = (pred * gt).sum()
        precision, recall = true_positive / (pred.sum() + 1e-20), true_positive / (gt.double().sum() + 1e-20)
        f = 1.3 * precision * recall / (0.3 * precision + recall)
        curve.append(torch.zeros_like(f) if f.isnan() else f)
    return torch.stack(curve)


def literal_batched(clips, batch_size):
    """M_J and M_F of clips (prob, gt) by the published loop over a data loader."""
    ious, fs = [], []
    for start in range(0, len(clips), batch_size):
        prob = torch.cat([p for p, _ in clips[start:start + batch_size]])
        gt = torch.cat([g for _, g in clips[start:start + batch_size]])
        ious.append(sum(literal_iou(p, g) for p, g in zip(prob, gt)) / len(gt))
        curves = [literal_f_curve(p, g) for p, g in zip(prob, gt) if g.any()]
        fs.append((sum(curves) / len(curves)).max() if curves else torch.tensor(0.))
    return (sum(ious) / len(ious)).item(), (sum(fs) / len(fs)).item()


def literal_class_scores(pred, gt, num_classes):
    """Per-class IoU and F of frames by the published loop, one frame and class at a time."""
    iou, f, frames = ([0.] * num_classes for _ in range(3))
    for p, g in zip(pred, gt):
        for c in range(num_classes):
            inter = ((p == c) & (g == c)).sum().item()
            pred_area, gt_area = (p == c).sum().item(), (g == c).sum().item()
            union = pred_area + gt_area - inter
            iou[c] += inter / (union + 2.220446049250313e-16)
            frames[c] += union > 0
            if inter:
                precision, recall = inter / pred_area, inter / gt_area
                f[c] += 1.3 * precision * recall / (0.3 * precision + recall)
    return ([i / n if n else 0. for i, n in zip(iou, frames)], [i / n if n else 0. for i, n in zip(f, frames)])


def make_clips(lengths, size=16, seed=0, silent=()):
    generator = torch.Generator().manual_seed(seed)
    clips = []
    for clip, length in enumerate(lengths):
        gt = (torch.rand(length, size, size, generator=generator) > 0.7).to(torch.uint8)
        prob = (torch.rand(length, size, size, generator=generator) + 0.4 * gt - 0.2).clamp(0, 1)
        for frame in range(length):
            if (clip, frame) in silent:
                gt[frame] = 0
        clips.append((prob, gt))
    return clips


def as_sample(prob, gt, clip_id='clip', **fields):
    sample = AVSDataSample(metainfo=dict(clip_id=clip_id))
    sample.foreground_prob, sample.gt_sem_seg = prob, gt
    sample.pred_sem_seg = (prob > 0.5).to(torch.uint8)
    for key, value in fields.items():
        setattr(sample, key, value)
    return sample


def evaluate(metric, samples, classes=('background', 'object')):
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dict(classes=classes)
    for start in range(0, len(samples), 2):
        evaluator.process(samples[start:start + 2])
    return evaluator.evaluate(len(samples))


# Binary scores of frames


def test_iou_and_f_of_a_hand_computed_frame():
    gt = torch.tensor([[[1, 1, 0, 0]]])
    prob = torch.tensor([[[0.9, 0.3, 0.6, 0.1]]])
    scores = binary_scores(prob, gt)
    # At 0.5: one true positive, one false positive, one false negative.
    assert scores.iou.item() == pytest.approx(1 / 3)
    # Best threshold is between 0.6 and 0.9: precision 1, recall 1/2.
    assert scores.f_curves.max().item() == pytest.approx(1.3 * 0.5 / (0.3 + 0.5))
    # Threshold 0 predicts everything: precision 1/2, recall 1.
    assert scores.f_curves[0, 0].item() == pytest.approx(1.3 * 0.5 / (0.15 + 1))


def test_empty_ground_truth_scores_the_share_of_empty_prediction():
    gt = torch.zeros(2, 4, 4)
    prob = torch.zeros(2, 4, 4)
    prob[1, 0] = 0.8
    scores = binary_scores(prob, gt)
    assert scores.iou.tolist() == pytest.approx([1, 12 / 16])
    assert not scores.sounding.any()
    assert (scores.f_curves == 0).all()


def test_probability_of_exactly_one_half_is_background_for_iou():
    scores = binary_scores(torch.full((1, 2, 2), 0.5), torch.ones(1, 2, 2))
    assert scores.iou.item() == 0
    assert scores.f_curves[0, 127].item() == pytest.approx(1)


@pytest.mark.parametrize('values', ['random', 'thresholds', 'beside thresholds', 'zeros and ones', 'coarse'])
def test_counting_equals_255_comparisons(values):
    generator = torch.Generator().manual_seed(3)
    thresholds = f_score_thresholds()
    chosen = thresholds[torch.randint(0, 255, (3, 20, 24), generator=generator)]
    prob = {
        'random': lambda: torch.rand(3, 20, 24, generator=generator),
        'thresholds': lambda: chosen,
        'beside thresholds': lambda: torch.nextafter(chosen, torch.rand(chosen.shape, generator=generator).round()),
        'zeros and ones': lambda: torch.rand(3, 20, 24, generator=generator).round(),
        'coarse': lambda: torch.randint(0, 9, (3, 20, 24), generator=generator) / 8,
    }[values]()
    gt = (torch.rand(3, 20, 24, generator=generator) > 0.6).to(torch.uint8)
    gt[1] = 0
    scores = binary_scores(prob, gt)
    assert torch.equal(scores.f_curves, torch.stack([literal_f_curve(p, g) for p, g in zip(prob, gt)]))
    assert torch.equal(scores.iou, torch.stack([literal_iou(p, g) for p, g in zip(prob, gt)]))


def test_neighboring_thresholds_are_distinguished():
    thresholds = f_score_thresholds()
    below = torch.nextafter(thresholds, torch.tensor(-1.)).clamp(min=0)
    above = torch.nextafter(thresholds, torch.tensor(2.)).clamp(max=1)
    for prob in (thresholds, below, above):
        # Each pixel is a frame of its own: errors cannot cancel.
        prob = prob.view(-1, 1, 1)
        curves = binary_scores(prob, torch.ones_like(prob)).f_curves
        torch.testing.assert_close(curves, (prob.view(-1, 1) >= thresholds).double(), rtol=0, atol=1e-15)


def test_half_precision_probabilities_are_scored():
    prob = torch.rand(1, 8, 8).half()
    gt = torch.ones(1, 8, 8)
    assert torch.equal(binary_scores(prob, gt).f_curves, binary_scores(prob.float(), gt).f_curves)


@pytest.mark.parametrize('value', [float('nan'), 3.0, -2.0])
def test_values_that_are_not_probabilities_are_refused(value):
    with pytest.raises(ValueError, match='expected \\[0, 1\\]'):
        binary_scores(torch.full((1, 2, 2), value), torch.ones(1, 2, 2))


# M_J and M_F


@pytest.mark.parametrize('batch_size', [1, 2, 3, 7, 100])
def test_batch_rule_equals_the_published_loop(batch_size):
    clips = make_clips([5, 5, 3, 5, 5, 4, 5], silent={(1, 2), (3, 0)} | {(4, t) for t in range(5)})
    results = evaluate(AVSBenchMetric(batch_size), [as_sample(*clip) for clip in clips])
    iou, f = literal_batched(clips, batch_size)
    assert results['avsbench/M_J'] == pytest.approx(iou, abs=1e-12)
    assert results['avsbench/M_F'] == pytest.approx(f, abs=1e-12)
    assert results['avsbench/M_J_per_video'] == pytest.approx(literal_batched(clips, 1)[0], abs=1e-12)
    assert results['avsbench/M_F_per_video'] == pytest.approx(literal_batched(clips, 1)[1], abs=1e-12)
    assert results['avsbench/M_J_batch_free'] == pytest.approx(literal_batched(clips, 7)[0], abs=1e-12)
    assert results['avsbench/M_F_batch_free'] == pytest.approx(literal_batched(clips, 7)[1], abs=1e-12)


def test_published_f_depends_on_the_evaluation_batch_and_the_batch_free_one_does_not():
    # Two frames with different best thresholds: each alone is perfect, no threshold is best for both.
    gt = torch.tensor([[[1, 0]]])
    low, high = torch.tensor([[[0.3, 0.1]]]), torch.tensor([[[0.9, 0.6]]])
    samples = [as_sample(low, gt), as_sample(high, gt)]
    alone, together = evaluate(AVSBenchMetric(1), samples), evaluate(AVSBenchMetric(2), samples)
    f_of_half_precision = 1.3 * 0.5 / (0.3 * 0.5 + 1)
    assert alone['avsbench/M_F'] == pytest.approx(1)
    assert together['avsbench/M_F'] == pytest.approx((1 + f_of_half_precision) / 2)
    assert alone['avsbench/M_F_batch_free'] == together['avsbench/M_F_batch_free'] == together['avsbench/M_F']


def test_ragged_last_batch_weighs_as_much_as_a_full_one():
    ious = [torch.tensor([1., 1.]), torch.tensor([0., 1.]), torch.tensor([0.])]
    assert mean_iou_by_batch(ious, 2) == pytest.approx((0.75 + 0) / 2)
    assert mean_iou_by_batch(ious, None) == pytest.approx(3 / 5)


def test_silent_video_scores_zero_f_and_is_counted():
    curves = [torch.full((255, ), 2.), torch.zeros(255)]
    assert max_f_score_by_batch(curves, [2, 0], 1) == pytest.approx(0.5)
    assert max_f_score_by_batch(curves, [2, 0], None) == pytest.approx(1)


def test_only_valid_and_labelled_frames_are_scored():
    (prob, gt), = make_clips([5])
    gt[3:] = 255
    labelled = torch.tensor([True, True, False, False, False])
    valid = torch.tensor([True, True, True, True, False])
    scored = evaluate(AVSBenchMetric(), [as_sample(prob, gt, labelled=labelled, valid=valid)])
    assert scored == evaluate(AVSBenchMetric(), [as_sample(prob[:2], gt[:2])])


def test_clips_without_ground_truth_are_left_out_of_the_batches():
    clips = make_clips([5, 5, 5, 5])
    samples = [as_sample(*clip) for clip in clips]
    samples[1].labelled = torch.zeros(5, dtype=torch.bool)
    scored = evaluate(AVSBenchMetric(2), samples)
    assert scored['avsbench/M_F'] == pytest.approx(literal_batched([clips[0], *clips[2:]], 2)[1])


def test_scores_of_the_clips_are_those_of_each_alone():
    clips = make_clips([5, 3, 4, 2], silent={(1, 1)})
    samples = [as_sample(*clip, clip_id=str(i)) for i, clip in enumerate(clips)]
    samples[2].labelled = torch.zeros(4, dtype=torch.bool)
    metric = AVSBenchMetric(2)
    results = evaluate(metric, samples)
    per_clip = metric.details['per_clip']
    assert [(clip['clip'], clip['frames'], clip['sounding_frames']) for clip in per_clip] == [
        ('0', 5, 5), ('1', 3, 2), ('3', 2, 2)]
    for clip, index in zip(per_clip, (0, 1, 3)):
        assert (clip['M_J'], clip['M_F']) == pytest.approx(literal_batched([clips[index]], 1), abs=1e-12)
    assert results['avsbench/M_J_per_video'] == pytest.approx(sum(clip['M_J'] for clip in per_clip) / 3)


def test_clips_of_robustness_have_their_scores_at_the_fixed_threshold():
    clips = make_clips([5, 3])
    metric = RobustnessMetric()
    results = evaluate(metric, [as_sample(*clip, clip_id=str(i)) for i, clip in enumerate(clips)])
    per_clip = metric.details['per_clip']
    for clip, (prob, _) in zip(per_clip, clips):
        assert clip['foreground_share'] == pytest.approx((prob > 0.5).double().mean().item())
    assert results['robustness/mIoU'] == pytest.approx((5 * per_clip[0]['mIoU'] + 3 * per_clip[1]['mIoU']) / 8)


def test_results_hold_no_pixels():
    small, large = AVSBenchMetric(), AVSBenchMetric()
    for metric, size in ((small, 8), (large, 128)):
        metric.process(None, [as_sample(*make_clips([5], size)[0]).to_dict()])
    assert len(pickle.dumps(large.results)) == len(pickle.dumps(small.results)) < 5000


# Label maps


def test_class_scores_equal_the_published_loop():
    generator = torch.Generator().manual_seed(1)
    pred = torch.randint(0, 5, (4, 12, 10), generator=generator).to(torch.uint8)
    gt = torch.randint(0, 6, (4, 12, 10), generator=generator).to(torch.uint8)
    gt[2], pred[2] = 0, 0
    gt[3], pred[3, 0, 0] = 0, 6
    iou, f = class_averages(class_score_sums(pred, gt, 8))
    expected_iou, expected_f = literal_class_scores(pred, gt, 8)
    assert iou.tolist() == pytest.approx(expected_iou, abs=1e-14)
    assert f.tolist() == pytest.approx(expected_f, abs=1e-14)
    assert iou[7] == 0


def test_areas_of_a_hand_computed_frame():
    inter, pred_area, gt_area = class_areas(torch.tensor([[[0, 1, 1, 2]]]), torch.tensor([[[0, 1, 2, 2]]]), 4)
    assert inter.tolist() == [[1, 1, 1, 0]]
    assert pred_area.tolist() == [[1, 2, 1, 0]]
    assert gt_area.tolist() == [[1, 1, 2, 0]]


def test_padding_counts_as_perfect_background():
    empty = torch.zeros(3, 4, 4, dtype=torch.uint8)
    assert torch.equal(padding_score_sums(3, 6), class_score_sums(empty, empty, 6))


def avss_sample():
    # One class correct in half of its pixels, one absent, one false pixel of a third; two frames, then padding.
    gt = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 0]], [[255] * 4], [[255] * 4]], dtype=torch.uint8)
    pred = torch.tensor([[[1, 0, 0, 0]], [[0, 0, 0, 3]], [[3] * 4], [[0] * 4]], dtype=torch.uint8)
    valid = torch.tensor([True, True, False, False])
    return as_sample(pred / 3, gt, pred_sem_seg=pred, valid=valid, labelled=valid.clone())


@pytest.mark.parametrize('count_padded_frames', [False, True])
def test_avss_averages_of_a_hand_computed_clip(count_padded_frames):
    metric = AVSSMetric(count_padded_frames)
    results = evaluate(metric, [avss_sample()], classes=('background', 'cat', 'dog', 'harp'))
    padded = 2 * count_padded_frames
    background = (2 / 3 + 3 / 4 + padded) / (2 + padded)
    assert results['avsbench/M_J'] == pytest.approx((background + 1 / 2 + 0 + 0) / 4)
    assert results['avsbench/M_J_without_background'] == pytest.approx((1 / 2) / 3)
    assert results['avsbench/M_F_without_background'] == pytest.approx(1.3 * 0.5 / (0.3 + 0.5) / 3)
    assert metric.per_class['background']['frames'] == 2 + padded
    assert metric.per_class['dog'] == dict(iou=0, f_score=0, frames=0)
    assert metric.per_class['harp']['frames'] == 1


def test_class_scores_of_the_clips_average_to_those_of_the_dataset():
    generator = torch.Generator().manual_seed(0)
    names, samples = ('background', 'cat', 'dog', 'harp'), []
    for clip, length in enumerate((2, 5)):
        pred, gt = (torch.randint(0, 3, (length, 6, 6), generator=generator).byte() for _ in range(2))
        samples.append(as_sample(pred / 3, gt, str(clip), pred_sem_seg=pred))
    samples[0].gt_sem_seg[samples[0].gt_sem_seg == 2], samples[0].pred_sem_seg[samples[0].pred_sem_seg == 2] = 1, 0
    metric = AVSSMetric()
    evaluate(metric, samples, names)
    first, second = metric.details['per_clip']
    assert set(first['per_class']) == {'background', 'cat'} and set(second['per_class']) == set(names[:3])
    assert first['M_J'] == pytest.approx(sum(scores['iou'] for scores in first['per_class'].values()) / 2)
    for name in ('cat', 'dog'):
        parts = [clip['per_class'][name] for clip in (first, second) if name in clip['per_class']]
        frames = sum(part['frames'] for part in parts)
        assert metric.per_class[name]['frames'] == frames
        assert metric.per_class[name]['iou'] == pytest.approx(sum(p['iou'] * p['frames'] for p in parts) / frames)


def test_class_table_shows_scores_and_marks_absent_classes():
    metric = AVSSMetric()
    evaluate(metric, [avss_sample()], classes=('background', 'cat', 'dog', 'harp'))
    rows = {line.split()[1]: line.split()[3::2] for line in class_table(metric.per_class).splitlines() if '│' in line}
    assert rows['cat'] == ['0.5000', '0.8125', '1']
    assert rows['dog'] == ['-', '-', '0']


# Errors


def test_sizes_that_disagree_name_the_clip():
    sample = as_sample(torch.rand(5, 8, 8), torch.zeros(5, 16, 16), clip_id='violin/7')
    for metric in (AVSBenchMetric(), AVSSMetric()):
        with pytest.raises(ValueError, match=r"clip 'violin/7'.*\(5, 8, 8\).*\(5, 16, 16\)"):
            evaluate(metric, [sample])


def test_missing_fields_name_the_clip_and_the_field():
    sample = as_sample(*make_clips([5])[0], clip_id='violin/7')
    del sample.gt_sem_seg
    with pytest.raises(ValueError, match="clip 'violin/7' has no gt_sem_seg"):
        evaluate(AVSBenchMetric(), [sample])
    sample = as_sample(*make_clips([5])[0], clip_id='violin/7')
    del sample.foreground_prob
    with pytest.raises(ValueError, match="clip 'violin/7' has no foreground_prob"):
        evaluate(AVSBenchMetric(), [sample])


@pytest.mark.parametrize('metric', [AVSBenchMetric, AVSSMetric])
def test_run_without_ground_truth_is_an_error(metric):
    prob, _ = make_clips([5])[0]
    gt = torch.full(prob.shape, 255, dtype=torch.uint8)
    unlabelled = as_sample(prob, gt, labelled=torch.zeros(5, dtype=torch.bool))
    with pytest.raises(ValueError, match='none of the 3 clips has a labelled frame'):
        evaluate(metric(), [unlabelled] * 3)


def test_labels_outside_the_classes_name_the_clip():
    sample = avss_sample()
    sample.set_metainfo(dict(clip_id='v2/3'))
    with pytest.raises(ValueError, match="clip 'v2/3': prediction holds label 3, expected classes 0 to 2"):
        evaluate(AVSSMetric(), [sample], classes=('background', 'cat', 'dog'))


def test_unlabelled_pixels_in_a_labelled_frame_name_the_clip():
    prob, gt = make_clips([5])[0]
    gt[2, 0, 0] = 255
    with pytest.raises(ValueError, match="clip 'clip': a labelled frame holds unlabelled pixels"):
        evaluate(AVSBenchMetric(), [as_sample(prob, gt)])


def test_classes_are_required():
    with pytest.raises(ValueError, match='dataset_meta'):
        evaluate(AVSSMetric(), [avss_sample()], classes=None)


# Distributed evaluation


def all_metrics(samples):
    labels = [as_sample(s.foreground_prob, s.gt_sem_seg, pred_sem_seg=s.pred_sem_seg) for s in samples]
    return evaluate(AVSBenchMetric(2), samples) | evaluate(AVSSMetric(prefix='avss'), labels)


def score_on_one_rank(rank, world_size, samples, init_file, out_file):
    torch.distributed.init_process_group('gloo', f'file://{init_file}', rank=rank, world_size=world_size)
    # As MMEngine's DefaultSampler: rounded up to a multiple of the ranks, then assigned in turn.
    dealt = [samples[i % len(samples)] for i in range(-(-len(samples) // world_size) * world_size)][rank::world_size]
    evaluator = Evaluator([AVSBenchMetric(2), AVSSMetric(prefix='avss')])
    evaluator.dataset_meta = dict(classes=('background', 'object'))
    for sample in dealt:
        evaluator.process([sample])
    results = evaluator.evaluate(len(samples))
    if rank == 0:
        torch.save(results, out_file)
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize('world_size', [2, 3])
def test_numbers_do_not_depend_on_the_number_of_processes(world_size, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / '.dist_test').touch()  # MMEngine would collect the results through this directory
    clips = make_clips([5, 3, 5, 4, 5, 5, 2], silent={(2, t) for t in range(5)})
    samples = [as_sample(*clip, clip_id=str(i)) for i, clip in enumerate(clips)]
    processes = mp.start_processes(
        score_on_one_rank, (world_size, samples, tmp_path / 'init', tmp_path / 'results.pth'), world_size,
        start_method='fork')
    assert processes is None
    assert torch.load(tmp_path / 'results.pth') == all_metrics(samples)
