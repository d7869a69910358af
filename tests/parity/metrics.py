"""Parity of the AVSBench metrics with the published evaluation code."""
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmavs.evaluation import AVSBenchMetric, AVSSMetric
from mmavs.evaluation.functional.avsbench import binary_scores

KEYS = {'seed', 'size'}
CLIP_LENGTH = 5


def check(case_dir: Path, case: dict, seeded) -> None:
    """Rebuild the inputs of the case from its seed and compare every array of ``expected.npz``."""
    expected = dict(np.load(case_dir / 'expected.npz'))
    size = case.get('size', 48)
    measured = {}
    if 'binary.iou_per_frame' in expected:
        batch_sizes = {int(m[1]) for m in (re.fullmatch(r'binary\.\w+\.batch(\d+)', key) for key in expected) if m}
        logits, gt = _binary_inputs(seeded, case['seed'], len(expected['binary.iou_per_frame']), size)
        measured |= _binary(logits.sigmoid(), gt, batch_sizes)
    if 'semantic.iou_per_class' in expected:
        num_frames = len(expected.get('binary.iou_per_frame', range(30)))
        num_classes = len(expected['semantic.iou_per_class'])
        scores, label = _semantic_inputs(seeded, case['seed'], num_frames, num_classes, size)
        measured |= _semantic(scores.argmax(1), label, num_classes)
    for key, value in expected.items():
        assert measured[key] == pytest.approx(value, rel=1e-5, abs=1e-6), key


def _upsample(values, size, mode):
    return F.interpolate(values, (size, size), mode=mode, align_corners=False if mode == 'bicubic' else None)


def _binary_inputs(seeded, seed, num_frames, size):
    logits = seeded.draw('logits', (num_frames, 1, size // 4, size // 4), 'normal', 0, 3, seed)
    gt = seeded.draw('gt', (num_frames, 1, size // 8, size // 8), 'normal', 0, 1, seed)
    gt = (_upsample(gt, size, 'nearest') > 0.3).float()
    logits = _upsample(logits, size, 'bicubic') + 5 * (gt - 0.5)
    for silent in (4, 12, slice(20, 25)):
        gt[silent] = 0
    return logits[:, 0], gt[:, 0].to(torch.uint8)


def _semantic_inputs(seeded, seed, num_frames, num_classes, size):
    label = seeded.draw('label', (num_frames, 1, size // 8, size // 8), 'normal', 0, 40, seed)
    label = _upsample(label, size, 'nearest')[:, 0].abs().long() % num_classes
    label[..., size // 2:] = 0
    label[10:15] = 0
    scores = seeded.draw('scores', (num_frames, num_classes, size // 4, size // 4), 'normal', 0, 1, seed)
    scores = _upsample(scores, size, 'bicubic') + 2 * F.one_hot(label, num_classes).movedim(-1, 1)
    scores[10:15] = 0
    return scores, label.to(torch.uint8)


def _binary(prob, gt, batch_sizes):
    clips = zip(prob.split(CLIP_LENGTH), gt.split(CLIP_LENGTH))
    samples = [dict(clip_id=str(i), foreground_prob=p, gt_sem_seg=g) for i, (p, g) in enumerate(clips)]
    measured = {'binary.iou_per_frame': binary_scores(prob, gt).iou.numpy()}
    for batch_size in batch_sizes:
        metric = AVSBenchMetric(batch_size)
        metric.process(None, samples)
        results = metric.evaluate(len(samples))
        measured[f'binary.miou.batch{batch_size}'] = results['avsbench/M_J']
        measured[f'binary.fscore.batch{batch_size}'] = results['avsbench/M_F']
    return measured


def _semantic(pred, label, num_classes):
    # Frames 10 to 14 are padding: their masks hold no class, as the datasets of mmavs give them.
    valid = torch.ones(len(label), dtype=torch.bool)
    valid[10:15] = False
    gt = label.clone()
    gt[~valid] = 255
    measured = {}
    for suffix, count_padded_frames in (('', True), ('.unpadded', False)):
        metric = AVSSMetric(count_padded_frames)
        metric.dataset_meta = dict(classes=[str(c) for c in range(num_classes)])
        metric.process(None, [dict(clip_id='all', pred_sem_seg=pred, gt_sem_seg=gt, valid=valid, labelled=valid)])
        results = metric.evaluate(1)
        measured[f'semantic.miou{suffix}'] = results['avsbench/M_J']
        measured[f'semantic.fscore{suffix}'] = results['avsbench/M_F']
        measured[f'semantic.miou_without_background{suffix}'] = results['avsbench/M_J_without_background']
        measured[f'semantic.fscore_without_background{suffix}'] = results['avsbench/M_F_without_background']
        scores = metric.per_class.values()
        measured[f'semantic.iou_per_class{suffix}'] = np.array([score['iou'] for score in scores])
        measured[f'semantic.f_per_class{suffix}'] = np.array([score['f_score'] for score in scores])
    return measured
