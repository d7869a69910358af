#!/usr/bin/env python
"""Score predictors that use the outlines of all objects of procedural clips but no audio: visual-only baselines."""
import argparse

import numpy as np

from mmavs.cli.arguments import positive_int


def largest(objects: np.ndarray) -> np.ndarray:
    """Return the pixels of the largest object of each frame, (T, H, W) bool; empty if none is visible."""
    areas = np.stack([(objects == number).sum((1, 2)) for number in range(1, max(objects.max(), 1) + 1)])
    return (objects == areas.argmax(0)[:, None, None] + 1) & (objects > 0)


PREDICTORS = {
    'all visible objects': lambda objects: objects > 0,
    'the largest object': largest,
    'nothing': np.zeros_like,
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--subsets', nargs='+', choices=['s4', 'ms3'], default=['ms3', 's4'])
    parser.add_argument('--clips', type=positive_int, default=200, help='clips of the test split')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--size', type=positive_int, default=96, help='side of the frames in pixels')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import torch
    from rich.console import Console
    from rich.table import Table

    from mmavs.evaluation.functional.avsbench import binary_scores
    from mmavs.synthesis.synthesize import make_clip, visible_objects
    from mmavs.utils.progress import track_progress

    ious = {(subset, name): [] for name in PREDICTORS for subset in args.subsets}
    for subset in args.subsets:
        for index in track_progress(range(args.clips), subset):
            clip = subset, 'test', index, args.seed, args.size
            sounding = torch.from_numpy(make_clip(*clip).masks > 0)
            objects = visible_objects(*clip)
            for name, predict in PREDICTORS.items():
                prediction = torch.from_numpy(predict(objects)).float()
                ious[subset, name].append(binary_scores(prediction, sounding).iou.mean().item())
    table = Table('predictor', *args.subsets, title=f'M_J on {args.clips} test clips')
    for name in PREDICTORS:
        table.add_row(name, *(f'{np.mean(ious[subset, name]):.2f}' for subset in args.subsets))
    Console().print(table)


if __name__ == '__main__':
    main()
