#!/usr/bin/env python
"""Compare the deformable attention of mmcv's CUDA op with that in plain PyTorch.

Output and gradients of both for the pyramid of VCT's pixel decoder, in float32 and float16. On a CPU, where the op is
not used, this compares the precisions of the PyTorch path.
"""
import argparse
import sys
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor

from mmavs.cli.arguments import positive_int
from mmavs.models.layers import deformable_sampling
from mmavs.models.layers.deformable_attention import mmcv_cuda_op, sample_by_rows
from mmavs.utils.device import select_device

QUANTITIES = ('output', 'gradient of values', 'gradient of locations', 'gradient of weights')
# Norm of the difference that is allowed, as a share of the norm of the reference. In float16 a location on a map of 48
# pixels is known to 1/32 of a pixel.
TOLERANCES = {torch.float32: 1e-5, torch.float16: 0.03}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare deformable attention by mmcv with that in PyTorch')
    parser.add_argument('--device', help='for example cpu or cuda:1 (default: the GPU if there is one)')
    parser.add_argument('--size', type=positive_int, default=384, help='height and width of the frames')
    parser.add_argument('--frames', type=positive_int, default=4)
    return parser.parse_args()


def random_inputs(num: int, shapes: list[tuple[int, int]],
                  device: str | torch.device) -> list[Tensor]:
    """Values of all levels, locations around the maps and weights, as the pixel decoder has them: 8 heads, 4 points."""
    generator = torch.Generator().manual_seed(0)
    tokens, grid = sum(h * w for h, w in shapes), (8, len(shapes), 4)
    value = torch.randn(num, tokens, 8, 32, generator=generator)
    # Not near the middle of a pixel: there the gradient of a location jumps, and rounding decides to which side.
    size = torch.tensor([(w, h) for h, w in shapes])[:, None]
    pixel = (torch.rand(num, tokens, *grid, 2, generator=generator) * (size + 4)).floor() - 2
    fraction = 0.1 + 0.8 * torch.rand(pixel.shape, generator=generator)
    locations = (pixel + fraction + 0.5) / size
    weights = torch.randn(num, tokens, 8, len(shapes) * 4, generator=generator).softmax(-1).unflatten(3, grid[1:])
    return [x.to(device) for x in (value, locations, weights)]


def run(sample: Callable[..., Tensor], shapes: list[tuple[int, int]],
        inputs: list[Tensor]) -> tuple[list[Tensor], float]:
    """Output and gradients (of the sum of squares), and the seconds of the second of two calls."""
    seconds = 0.
    for _ in range(2):
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        if inputs[0].is_cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        output = sample(leaves[0], shapes, *leaves[1:])
        gradients = torch.autograd.grad(output.float().square().sum(), leaves)
        if inputs[0].is_cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    return [output.detach(), *gradients], seconds


def compare(device: str | torch.device, size: int, frames: int) -> list[dict]:
    """Relative errors of output and gradients in each precision; seconds of forward and backward together."""
    shapes = [(size // stride, size // stride) for stride in (32, 16, 8)]
    inputs = random_inputs(frames, shapes, device)
    rows = []
    for dtype, tolerance in TOLERANCES.items():
        rounded = [x.to(dtype) for x in inputs]
        found, seconds = run(deformable_sampling, shapes, rounded)
        expected, reference_seconds = run(sample_by_rows, shapes, [x.float() for x in rounded])
        for name, a, b in zip(QUANTITIES, found, expected):
            rows.append(dict(
                precision=str(dtype).removeprefix('torch.'), quantity=name,
                error=((a.float() - b).norm() / b.norm()).item(), allowed=tolerance, seconds=seconds,
                reference_seconds=reference_seconds))
    return rows


def uses_op(device: str | torch.device) -> bool:
    """Whether mmcv's op is used on a device."""
    return torch.device(device).type == 'cuda' and mmcv_cuda_op() is not None


def main() -> None:
    args = parse_args()
    device = select_device(args.device)
    paths = 'mmcv CUDA op' if uses_op(device) else 'PyTorch path'
    table = Table('precision', Column('quantity', no_wrap=True), 'error', 'allowed', 'seconds', 'reference',
                  title=f'{paths} beside the PyTorch path in float32, {args.frames} frames of {args.size}')
    rows = compare(device, args.size, args.frames)
    for row in rows:
        color = 'green' if row['error'] <= row['allowed'] else 'red'
        times = [f'{row[key]:.4f}' for key in ('seconds', 'reference_seconds')] if row['quantity'] == 'output' else []
        table.add_row(row['precision'], row['quantity'], f"[{color}]{row['error']:.1e}", f"{row['allowed']:.0e}",
                      *times)
    Console().print(table)
    if any(row['error'] > row['allowed'] for row in rows):
        sys.exit('error: the two differ by more than is allowed')


if __name__ == '__main__':
    main()
