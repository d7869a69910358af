"""Whole test runs give the scores of the released evaluation code, implemented here from its description."""
from pathlib import Path

import numpy as np
import pytest
import torch
from avsbench_tree import write_avss, write_ms3
from mmengine.evaluator import BaseMetric
from PIL import Image

from mmavs.engine.launch import build_runner
from mmavs.registry import METRICS
from mmavs.utils.config import load_config

REPOSITORY = Path(__file__).parents[1]
SIZE = 64


@METRICS.register_module()
class KeptScores(BaseMetric):
    """Keeps the data samples that a model passes to the metrics."""

    kept: list[dict] = []

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        KeptScores.kept = results
        return {}


def evaluate(tmp_path, data, data_root, evaluator, **options):
    """Metrics of a random model on the test split of a base config, and the data samples that were scored."""
    (tmp_path / 'config.py').write_text(f"""
_base_ = ['{REPOSITORY}/configs/_base_/datasets/{data}_plain.py']
default_scope = 'mmavs'
model = {load_config(str(REPOSITORY / 'tests/configs/vct_tiny_s4.py')).model.to_dict()}
test_cfg = dict(type='TestLoop')
work_dir = '{tmp_path}'
""")
    config = load_config(
        str(tmp_path / 'config.py'), {
            'test_dataloader.dataset.data_root': str(data_root),
            'test_dataloader.num_workers': 0,
            'test_dataloader.persistent_workers': False,
            'test_dataloader.dataset.pipeline.3.transforms.0.scale': (SIZE, SIZE),
        } | options)
    config.test_evaluator = [evaluator, dict(type='KeptScores')]
    config.model.outputs = ['pred_sem_seg', 'foreground_prob', 'seg_logits']
    for key in ('train_dataloader', 'val_dataloader', 'val_evaluator'):
        config.pop(key)
    torch.manual_seed(0)
    metrics = build_runner(config).test()
    return metrics, KeptScores.kept


def read_mask(path):
    return torch.from_numpy(np.array(Image.open(path).resize((SIZE, SIZE), Image.Resampling.NEAREST)))


def f_score(inter, predicted, true):
    precision, recall = inter / predicted, inter / true
    return (1.3 * precision * recall / (0.3 * precision + recall)).nan_to_num(0)


@pytest.mark.parametrize('clips_at_a_time', [1, 2])
def test_padded_frames_of_avss_count_as_perfect_background(tmp_path, clips_at_a_time):
    root = write_avss(tmp_path)
    metrics, samples = evaluate(
        tmp_path, 'avss_224', root, dict(type='AVSSMetric', count_padded_frames=True), **{
            'test_dataloader.batch_size': clips_at_a_time,
            'model.decode_head.num_classes': 71,
        })
    sums = torch.zeros(3, 71, dtype=torch.float64)
    for sample, (part, existing) in zip(samples, dict(v1s=5, v1m=5, v2=10).items(), strict=True):
        scores = sample['seg_logits']
        assert scores.shape == (10, 71, SIZE, SIZE) and not scores[existing:].any()
        for t in range(10):
            label = torch.zeros(SIZE, SIZE, dtype=torch.uint8)
            if t < existing:
                label = read_mask(root / part / f'test_{part}' / f'labels_semantic/{t}.png')
            pred = scores[t].argmax(0)
            for c in range(71):
                inter = ((pred == c) & (label == c)).sum().double()
                predicted, true = (pred == c).sum().double(), (label == c).sum().double()
                union = predicted + true - inter
                sums[0, c] += inter / (union + 2.2e-16)
                sums[1, c] += f_score(inter, predicted, true)
                sums[2, c] += union > 0
    iou, f = (sums[:2] / sums[2]).nan_to_num(0).mean(1)
    assert sums[2, 0] == 30 and 0 < iou < 1
    assert metrics['avsbench/M_J'] == pytest.approx(iou.item(), rel=1e-9)
    assert metrics['avsbench/M_F'] == pytest.approx(f.item(), rel=1e-9)


@pytest.mark.parametrize('clips_at_a_time', [1, 2])
def test_f_score_of_published_batches_is_that_of_the_batches(tmp_path, clips_at_a_time):
    # 5 clips in batches of 2: the last one holds a single clip.
    root = write_ms3(tmp_path, clips=5)
    metrics, samples = evaluate(tmp_path, 'ms3_224', root, dict(type='AVSBenchMetric', batch_size=2),
                                **{'test_dataloader.batch_size': clips_at_a_time})
    probabilities = torch.stack([sample['foreground_prob'] for sample in samples]).double()
    masks = torch.stack([
        torch.stack([
            read_mask(root / f'ms3_data/gt_masks/test/test_{i}/test_{i}_{t}.png') for t in range(1, 6)
        ]) for i in range(5)
    ]) // 255
    ious, f_scores = [], []
    for first in range(0, 5, 2):
        prob, gt = probabilities[first:first + 2].flatten(0, 1).float(), masks[first:first + 2].flatten(0, 1)
        pred = prob > 0.5
        inter, union = (pred * gt).sum((1, 2)), torch.maximum(pred, gt).sum((1, 2))
        ious.append((inter / (union + 1e-7)).mean().item())
        curve = []
        for threshold in torch.linspace(0, 1 - 1e-10, 255):
            reached = (prob >= threshold).double()
            inter, predicted, true = ((reached * gt).sum((1, 2)), reached.sum((1, 2)), gt.sum((1, 2)))
            curve.append(f_score(inter, predicted + 1e-20, true + 1e-20).mean())
        f_scores.append(max(curve).item())
    assert metrics['avsbench/M_J'] == pytest.approx(np.mean(ious), rel=1e-6)
    assert metrics['avsbench/M_F'] == pytest.approx(np.mean(f_scores), rel=1e-6)
    assert metrics['avsbench/M_F'] != pytest.approx(metrics['avsbench/M_F_per_video'], rel=1e-3)
