"""Videos of the masks of each class."""
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from mmavs.utils.files import atomic_directory
from mmavs.visualization.object_names import class_name
from mmavs.visualization.video_writer import H264_MASK, open_video_writer

from ..video_chunk import VideoChunk
from .class_areas import class_areas
from .context import OutputContext

# File names have at most 255 bytes, and a character has at most 4.
MAX_NAME = 50


def write_class_masks(directory: Path, chunks: Iterable[VideoChunk], context: OutputContext) -> None:
    """Write a video for each class that occurs: white (255) where its objects sound, black (0) elsewhere.

    All have the frames, the size and the times of the overlay video, and no audio. They are H.264 without loss, so that
    black is 0 and the masks remain what they are; players that lack the profile High 4:4:4 do not show them.
    """
    writers: dict[int, Callable[[np.ndarray], None]] = {}
    with atomic_directory(directory) as partial, ExitStack() as stack:
        for chunk in chunks:
            black = np.zeros(chunk.masks.shape[1:], np.uint8)
            for t, (mask, areas) in enumerate(zip(chunk.masks, class_areas(chunk)), chunk.start):
                for label in {area.label for area in areas} - writers.keys():
                    writers[label] = stack.enter_context(
                        open_video_writer(partial / f'{file_stem(context.classes, label)}.mp4', mask.shape,
                                          context.fps, H264_MASK))
                    for _ in range(t):
                        writers[label](black)
                for label, write in writers.items():
                    write((mask == label) * np.uint8(255))


def file_stem(classes: Sequence[str], label: int) -> str:
    """Name of a class as a file name without suffix: letters, digits, ``-``, ``_`` and inner dots remain.

    Classes whose names differ in other characters or in case only get the number of the class as well.
    """
    stem = _plain(class_name(classes, label)) or 'class'
    others = {_plain(name).casefold() for k, name in enumerate(classes) if k not in (0, label)}
    while stem.casefold() in others or stem == 'class':
        stem = f'{stem}_{label}'
    return stem


def _plain(name: str) -> str:
    return re.sub(r'[^\w.-]+', '_', name).strip('._')[:MAX_NAME]
