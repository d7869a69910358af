"""Separate scores of the frames in which the sounding objects change."""
import math

import pytest
import torch
from mmengine.evaluator import Evaluator

from mmavs.evaluation import SwitchMetric
from mmavs.evaluation.metrics.switch_metric import frames_at_switch
from mmavs.structures import AVSDataSample

LEFT, RIGHT, NOTHING = (slice(0, 4), slice(0, 4)), (slice(0, 4), slice(4, 8)), None


def masks(*places):
    gt = torch.zeros(len(places), 8, 8, dtype=torch.uint8)
    for mask, place in zip(gt, places):
        if place is not None:
            mask[place] = 3
    return gt


def sample(gt, prob, **fields):
    return AVSDataSample(metainfo=dict(clip_id='clip', img_shape=(8, 8)), gt_sem_seg=gt, foreground_prob=prob, **fields)


def score(*samples, **arguments):
    evaluator = Evaluator([SwitchMetric(**arguments)])
    evaluator.process(data_samples=samples)
    return evaluator.evaluate(len(samples))


def test_switch_is_a_change_start_or_end_of_sounding_objects():
    gt = masks(LEFT, LEFT, RIGHT, NOTHING, NOTHING, LEFT)
    assert frames_at_switch(gt, 0.1).tolist() == [False, False, True, True, False, True]
    assert frames_at_switch(gt[:0], 0.1).tolist() == []


def test_moving_object_is_not_a_switch():
    gt = masks(LEFT, (slice(0, 4), slice(2, 6)))  # IoU 8 / 24
    assert frames_at_switch(gt, 0.1).tolist() == [False, False]
    assert frames_at_switch(gt, 0.34).tolist() == [False, True]


def test_frames_at_switches_are_averaged_separately():
    # Correct in the first frame, then one frame late: 0 at the switch to RIGHT, then correct, then a quarter of the
    # empty frame is predicted as foreground: 1 - 16 / 64.
    gt = masks(LEFT, RIGHT, RIGHT, NOTHING)
    late = (masks(LEFT, LEFT, RIGHT, RIGHT) > 0).float()
    metrics = score(sample(gt, late))
    assert metrics['switch/J_at_switch'] == pytest.approx((0 + 0.75) / 2, abs=1e-6)
    assert metrics['switch/J_between'] == pytest.approx(1, abs=1e-6)
    assert (metrics['switch/frames_at_switch'], metrics['switch/frames_between']) == (2, 2)


def test_padding_and_unlabelled_frames_are_ignored():
    gt = masks(LEFT, RIGHT, NOTHING)
    flags = dict(valid=torch.tensor([True, True, False]), labelled=torch.tensor([True, False, False]))
    metrics = score(sample(gt, (gt > 0).float(), **flags))
    assert metrics['switch/frames_between'] == 1 and metrics['switch/frames_at_switch'] == 0
    assert math.isnan(metrics['switch/J_at_switch'])


def test_mean_is_over_frames_of_all_clips():
    gt = masks(LEFT, RIGHT)
    steady = masks(LEFT, LEFT, LEFT)
    metrics = score(sample(gt, (gt > 0).float()), sample(steady, torch.zeros(3, 8, 8)))
    assert metrics['switch/J_between'] == pytest.approx(1 / 4, abs=1e-6)
    assert metrics['switch/J_at_switch'] == pytest.approx(1, abs=1e-6)


def test_overlap_must_be_an_iou():
    with pytest.raises(ValueError, match='max_overlap is 2, expected an IoU'):
        frames_at_switch(masks(LEFT), max_overlap=2)
