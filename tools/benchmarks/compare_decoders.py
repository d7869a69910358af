#!/usr/bin/env python
"""Compare decoders of image files: ``python tools/benchmarks/compare_decoders.py FILE ...``, all of one format.

Prints the CPU time of each installed decoder for a file, the median of ``--runs`` alternating runs, its ratio to
Pillow's, and whether all pixels equal Pillow's. ``read_image`` is the reader of mmavs. All files are in the page cache.
"""
import argparse
import statistics
import time
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torchvision.io import ImageReadMode, decode_image, read_file

from mmavs.cli.arguments import positive_int
from mmavs.utils.errors import cli_errors
from mmavs.utils.images import read_image


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare decoders of image files')
    parser.add_argument('files', nargs='+', metavar='FILE', help='color images, or gray ones')
    parser.add_argument('--runs', type=positive_int, default=7, help='(default: 7)')
    parser.add_argument('--repeats', type=positive_int, default=10, help='of all files in a run (default: 10)')
    return parser.parse_args()


@cache
def is_color(path: str) -> bool:
    with Image.open(path) as image:
        if image.mode not in ('RGB', 'L'):
            raise ValueError(f'{path}: an image of the mode {image.mode}, expected RGB or gray: choose other files')
        return image.mode == 'RGB'


def pillow(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def opencv(path: str) -> np.ndarray:
    data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB if is_color(path) else cv2.IMREAD_GRAYSCALE)


def torchvision(path: str) -> np.ndarray:
    decoded = decode_image(read_file(path), ImageReadMode.UNCHANGED)
    return (decoded.permute(1, 2, 0) if is_color(path) else decoded[0]).numpy()


def pyav(path: str) -> np.ndarray:
    with av.open(path) as container:
        frame = next(container.decode(video=0))
        return frame.to_ndarray(format='rgb24' if is_color(path) else 'gray')


def simplejpeg(path: str) -> np.ndarray:
    return import_module('simplejpeg').decode_jpeg(Path(path).read_bytes())


@cli_errors()
def main() -> None:
    args = parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    decoders: dict[str, Callable[[str], np.ndarray]] = {
        'Pillow': pillow, 'read_image': read_image, 'OpenCV': opencv, 'torchvision': torchvision, 'PyAV': pyav}
    if find_spec('simplejpeg') and all(path.endswith(('.jpg', '.jpeg')) for path in args.files):
        decoders['simplejpeg'] = simplejpeg
    seconds = {name: [] for name in decoders}
    for _ in range(args.runs):
        for name, decode in decoders.items():
            begin = time.process_time()
            for _ in range(args.repeats):
                for path in args.files:
                    decode(path)
            seconds[name].append((time.process_time() - begin) / args.repeats / len(args.files))
    table = Table('decoder')
    for heading in ('ms', 'ratio to Pillow', 'pixels that differ', 'largest difference'):
        table.add_column(heading, justify='right')
    expected = [pillow(path).astype(int) for path in args.files]
    for name, decode in decoders.items():
        differences = [np.abs(decode(path) - image) for path, image in zip(args.files, expected)]
        table.add_row(name, f'{1e3 * statistics.median(seconds[name]):.2f}',
                      f"{statistics.median(np.divide(seconds[name], seconds['Pillow'])):.2f}",
                      f'{100 * np.mean([np.mean(difference > 0) for difference in differences]):.1f} %',
                      str(max(difference.max() for difference in differences)))
    Console(width=100).print(table)


if __name__ == '__main__':
    main()
