"""Files that are written for a segmented video: one kind of output per function."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..video_chunk import VideoChunk
from .class_masks import write_class_masks
from .coco import write_coco
from .context import OutputContext
from .cutout import write_cutout, write_prores_cutout
from .masks import write_mask_archive, write_mask_images
from .overlay import write_overlay
from .table import write_class_table
from .timeline import write_timeline

__all__ = ['OUTPUTS', 'Output', 'OutputContext', 'check_output_paths', 'output_paths']


@dataclass(frozen=True)
class Output:
    """A kind of output.

    Attributes:
        file: Its name in the directory of the results of a video.
        write: Function that writes it from path, chunks and context. It takes one chunk after the other, and the result
            appears under its name when it is complete. If the chunks end with an exception, nothing is left.
        needs_prob: Whether the chunks need ``foreground_prob``.
        needs_frames: Whether the chunks need ``frames``.
    """
    file: str
    write: Callable[[Path, Iterable[VideoChunk], OutputContext], None]
    needs_prob: bool = False
    needs_frames: bool = True

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return not Path(self.file).suffix


OUTPUTS = {
    'overlay': Output('overlay.mp4', write_overlay),
    'png': Output('masks', write_mask_images, needs_frames=False),
    'npz': Output('masks.npz', write_mask_archive, needs_frames=False),
    'coco': Output('coco', write_coco, needs_prob=True),
    'cutout': Output('cutout.webm', write_cutout),
    'cutout-prores': Output('cutout.mov', write_prores_cutout),
    'class-masks': Output('class-masks', write_class_masks, needs_frames=False),
    'csv': Output('classes.csv', write_class_table, needs_prob=True, needs_frames=False),
    'timeline': Output('timeline.png', write_timeline, needs_frames=False),
}


def output_paths(out_dir: str | Path, outputs: Sequence[str]) -> dict[str, Path]:
    """Paths of the results of a video, see :meth:`AVSInferencer.write`.

    Raises:
        ValueError: An output is unknown, or there is none.
    """
    if not outputs or isinstance(outputs, str) or set(outputs) - set(OUTPUTS):
        raise ValueError(f"outputs are {outputs!r}, expected a list of {', '.join(OUTPUTS)}")
    return {output: Path(out_dir) / OUTPUTS[output].file for output in outputs}


def check_output_paths(paths: Mapping[str, Path], source: str) -> None:
    """Check before a video is segmented that its results can be written, and make their directory.

    Args:
        paths: Of :func:`output_paths`.
        source: Path or URL of the video.

    Raises:
        OSError: The directory cannot be made or written to.
        ValueError: A result would replace the video, or a directory a file or the other way round.
    """
    for output, path in paths.items():
        if Path(os.path.realpath(source)).is_relative_to(os.path.realpath(path)):
            raise ValueError(f'{path}: the output {output!r} would replace the video {source}: choose another '
                             'directory for the results')
        if OUTPUTS[output].is_directory and path.exists() and not path.is_dir():
            raise ValueError(f'{path}: is a file, but the output {output!r} is a directory: move the file or choose '
                             'another directory for the results')
        if not OUTPUTS[output].is_directory and path.is_dir():
            raise ValueError(f'{path}: is a directory, but the output {output!r} is a file: move the directory or '
                             'choose another one for the results')
        for parent in [path.parent, *path.parent.parents]:
            if parent.exists() and not parent.is_dir():
                raise ValueError(f'{parent}: is a file, expected a directory for the results of {source}')
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise ValueError(f'{path.parent}: no permission to write the results of {source} there')
