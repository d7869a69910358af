"""Areas of the classes in masks."""
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mmavs.structures import UNLABELLED

from ..video_chunk import VideoChunk


class ClassArea(NamedTuple):
    """Area of a class in a frame.

    Attributes:
        label: The class.
        pixels: Number of its pixels, above 0.
        share: Its share of the frame, in (0, 1].
        probability: Mean probability of the foreground in its area; None if it is unknown.
    """
    label: int
    pixels: int
    share: float
    probability: float | None


def class_areas(chunk: VideoChunk) -> Iterator[list[ClassArea]]:
    """Measure the areas of the classes, without background, that each frame of a chunk contains.

    Yields:
        The areas of a frame, by ascending class.
    """
    for t, mask in enumerate(chunk.masks):
        labels = mask.ravel()
        counts = np.bincount(labels, minlength=256)
        counts[[0, UNLABELLED]] = 0
        present = np.flatnonzero(counts)
        means = dict.fromkeys(present)
        if chunk.foreground_prob is not None and len(present):
            sums = np.bincount(labels, chunk.foreground_prob[t].ravel(), 256)
            means = {label: float(sums[label] / counts[label]) for label in present}
        yield [ClassArea(int(label), int(counts[label]), float(counts[label] / mask.size), means[label])
               for label in present]
