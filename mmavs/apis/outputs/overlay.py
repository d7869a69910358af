"""Overlay video: the masks on the frames, with the audio of the video."""
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mmavs.visualization import overlay_masks, write_video
from mmavs.visualization.object_names import write_names

from ..video_chunk import VideoChunk
from .context import OutputContext


def write_overlay(path: Path, chunks: Iterable[VideoChunk], context: OutputContext) -> None:
    """Write the masks on the frames as a video, with the audio track of the video, copied.

    With several foreground classes, objects are named.
    """
    frames = (_draw(frame, mask, context) for chunk in chunks for frame, mask in zip(chunk.frames, chunk.masks))
    write_video(path, frames, context.fps, **context.audio)


def _draw(frame: np.ndarray, mask: np.ndarray, context: OutputContext) -> np.ndarray:
    painted = overlay_masks(frame[None], mask[None], context.palette)[0]
    return write_names(painted, mask, context.classes) if len(context.classes) != 2 else painted
