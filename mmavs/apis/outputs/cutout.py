"""Sounding objects cut out of the frames, as a video with alpha."""
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from mmavs.structures import UNLABELLED
from mmavs.visualization import write_video
from mmavs.visualization.video_writer import PRORES_ALPHA, VP9_ALPHA, VideoFormat

from ..video_chunk import VideoChunk
from .context import OutputContext

# Colors go on for this many pixels beyond the objects, where alpha is 0: compressing and resizing mix neighbors.
MARGIN = 8


def write_cutout(path: Path, chunks: Iterable[VideoChunk], context: OutputContext) -> None:
    """Write a WebM file for browsers: VP9 with alpha, opaque where an object sounds, and the audio of the video.

    Opus and Vorbis audio is copied, other audio is encoded in Opus.
    """
    _write(path, chunks, context, VP9_ALPHA)


def write_prores_cutout(path: Path, chunks: Iterable[VideoChunk], context: OutputContext) -> None:
    """Write a MOV file for video editors: ProRes 4444 with straight alpha, and the audio of the video.

    Audio that MOV files do not hold is encoded in AAC.
    """
    _write(path, chunks, context, PRORES_ALPHA)


def _write(path: Path, chunks: Iterable[VideoChunk], context: OutputContext, video_format: VideoFormat) -> None:
    frames = (cut_out(frame, mask) for chunk in chunks for frame, mask in zip(chunk.frames, chunk.masks))
    write_video(path, frames, context.fps, **context.audio, video_format=video_format)


def cut_out(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Cut the objects out of a frame.

    Args:
        frame: (H, W, 3) uint8 RGB.
        mask: (H, W) class of every pixel.

    Returns:
        (H, W, 4) uint8: color, and alpha 255 inside of the objects and 0 outside. At a distance from them, the color is
        black.
    """
    foreground = ((mask != 0) & (mask != UNLABELLED)).astype(np.uint8)
    near = cv2.dilate(foreground, np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8))
    return np.dstack([frame * near[..., None], foreground * np.uint8(255)])
