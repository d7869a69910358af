"""Overlay video: the masks on the frames, with the audio of the video."""
from collections.abc import Iterable
from pathlib import Path

from mmavs.visualization import overlay_masks, write_video

from ..video_chunk import VideoChunk
from .context import OutputContext


def write_overlay(path: Path, chunks: Iterable[VideoChunk], context: OutputContext) -> None:
    """Write the masks on the frames as a video, with the audio track of the video, copied."""
    frames = (
        overlay_masks(frame[None], mask[None], context.palette)[0]
        for chunk in chunks for frame, mask in zip(chunk.frames, chunk.masks))
    write_video(path, frames, context.fps, **context.audio)
