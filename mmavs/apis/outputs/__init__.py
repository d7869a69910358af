"""Files that are written for a segmented video: one kind of output per function."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..video_chunk import VideoChunk
from .context import OutputContext
from .masks import write_mask_archive, write_mask_images
from .overlay import write_overlay

__all__ = ['OUTPUTS', 'Output', 'OutputContext', 'output_paths']


@dataclass(frozen=True)
class Output:
    """A kind of output.

    Attributes:
        file: Its name in the directory of the results of a video.
        write: Function that writes it from path, chunks and context. It takes one chunk after the other, and the result
            appears under its name when it is complete. If the chunks end with an exception, nothing is left.
        description: One line for the help of the command.
        needs_prob: Whether the chunks need ``foreground_prob``.
        needs_frames: Whether the chunks need ``frames``.
    """
    file: str
    write: Callable[[Path, Iterable[VideoChunk], OutputContext], None]
    description: str
    needs_prob: bool = False
    needs_frames: bool = True


OUTPUTS = {
    'overlay': Output('overlay.mp4', write_overlay, 'masks on the frames, with the original audio track'),
    'png': Output('masks', write_mask_images, 'class of every pixel, one indexed PNG per frame', needs_frames=False),
    'npz': Output('masks.npz', write_mask_archive, 'masks (T, H, W) uint8, times (T,) and classes',
                  needs_frames=False),
}


def output_paths(out_dir: str | Path, outputs: Sequence[str]) -> dict[str, Path]:
    """Paths of the results of a video, see :meth:`AVSInferencer.write`.

    Raises:
        ValueError: An output is unknown, or there is none.
    """
    if not outputs or isinstance(outputs, str) or set(outputs) - set(OUTPUTS):
        raise ValueError(f"outputs are {outputs!r}, expected a list of {', '.join(OUTPUTS)}")
    return {output: Path(out_dir) / OUTPUTS[output].file for output in outputs}
