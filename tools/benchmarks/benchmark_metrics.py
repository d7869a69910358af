"""Measure how many frames per second one core scores, beside the loops of the published evaluation code."""
import argparse
import datetime
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mmavs.datasets.file_listing import write_csv
from mmavs.evaluation.functional.avsbench import binary_scores, class_score_sums, f_score_thresholds
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import check_writable


def published_binary_loop(prob: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and mean F-score curve of a batch by 255 comparisons per frame."""
    pred, gt = (prob > 0.5).int(), gt.float()
    silent = gt.sum((1, 2)) == 0
    inter, union = (pred * gt).sum((1, 2)), torch.maximum(pred, gt).sum((1, 2))
    inter[silent] = ((1 - gt) * (1 - pred)).sum((1, 2))[silent]
    union[silent] = gt[0].numel()
    curves = []
    for frame, truth in zip(prob, gt):
        if truth.mean() == 0:
            continue
        precision, recall = torch.zeros(255), torch.zeros(255)
        for i, threshold in enumerate(f_score_thresholds()):
            above = (frame >= threshold).float()
            true_positive = (above * truth).sum()
            precision[i] = true_positive / (above.sum() + 1e-20)
            recall[i] = true_positive / (truth.sum() + 1e-20)
        curves.append((1.3 * precision * recall / (0.3 * precision + recall)).nan_to_num(0))
    return inter / (union + 1e-7), sum(curves) / len(curves)


def published_class_loop(pred: Tensor, gt: Tensor, num_classes: int) -> Tensor:
    """Sums of per-class IoU, F and frames by three histograms per frame."""
    sums = torch.zeros(3, num_classes)
    for p, g in zip(pred.float() + 1, gt.float() + 1):
        areas = [torch.histc(x, num_classes, 1, num_classes) for x in (p * (p == g), p, g)]
        inter, pred_area, gt_area = areas
        union = pred_area + gt_area - inter
        precision, recall = inter / pred_area, inter / gt_area
        f = (1.3 * precision * recall / (0.3 * precision + recall)).nan_to_num(0)
        sums += torch.stack([inter / (union + 2.2e-16), f, (union > 0).float()])
    return sums


def seconds_per_call(function: Callable[[], object], runs: int) -> list[float]:
    """CPU seconds of each of ``runs`` calls, after one to warm up: what one core needs, whatever the others do."""
    function()
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return seconds


def blobs(num_frames: int, size: int, generator: torch.Generator) -> Tensor:
    """Smooth random maps (N, size, size), standard normal at each cell of a 14 x 14 grid."""
    coarse = torch.randn(num_frames, 1, 14, 14, generator=generator)
    return torch.nn.functional.interpolate(coarse, (size, size), mode='bicubic')[:, 0]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--frames', type=int, default=10, help='frames in a call, those of one or two clips')
    parser.add_argument('--size', type=int, default=224, help='height and width of a frame')
    parser.add_argument('--classes', type=int, default=71, help='classes of the label maps')
    parser.add_argument('--runs', type=int, default=15, help='timed calls; the median is reported')
    parser.add_argument('--published-runs', type=int, default=3, help='timed calls of the published loops')
    parser.add_argument('--out', help='CSV file for the rows of the table')
    return parser.parse_args()


@cli_errors()
def main() -> None:
    args = parse_args()
    if args.out:
        check_writable(args.out)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    prob = (2 * blobs(args.frames, args.size, generator)).sigmoid()
    mask = (blobs(args.frames, args.size, generator) > 0.3).to(torch.uint8)
    pred, gt = ((blobs(args.frames, args.size, generator).abs() * args.classes / 3).to(torch.uint8) % args.classes
                for _ in range(2))

    cases = [
        ('binary pair', 400, lambda: binary_scores(prob, mask),
         lambda: published_binary_loop(prob, mask)),
        (f'{args.classes} classes', 300, lambda: class_score_sums(pred, gt, args.classes),
         lambda: published_class_loop(pred, gt, args.classes)),
    ]
    table = Table('metric', title=f'{args.frames} frames of {args.size}x{args.size} in a call, one thread')
    for heading in ('frames/s', 'all runs', 'published loop', 'ratio', 'target'):
        table.add_column(heading, justify='right')
    rows = []
    for name, target, ours, published in cases:
        rates = [args.frames / seconds for seconds in seconds_per_call(ours, args.runs)]
        loop = statistics.median(args.frames / s for s in seconds_per_call(published, args.published_runs))
        rate = statistics.median(rates)
        table.add_row(name, f'{rate:.0f}', f'{min(rates):.0f} - {max(rates):.0f}', f'{loop:.1f}', f'{rate / loop:.1f}x',
                      f'>= {target}')
        rows.append(
            dict(
                metric=name,
                frames_per_s=round(rate, 1),
                slowest=round(min(rates), 1),
                fastest=round(max(rates), 1),
                published_frames_per_s=round(loop, 2),
                ratio=round(rate / loop, 2),
                target=target,
                frames=args.frames,
                size=args.size,
                runs=args.runs,
                machine=f'{platform.machine()} {torch.backends.cpu.get_cpu_capability()}',
                torch=torch.__version__,
                date=datetime.date.today().isoformat(),
                command=shlex.join(['python', *sys.argv])))
    Console().print(table)
    if args.out:
        write_csv(args.out, rows, rows[0])


if __name__ == '__main__':
    main()
