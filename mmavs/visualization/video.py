"""Videos with audio."""
from collections.abc import Iterable, Iterator
from itertools import chain
from numbers import Real
from pathlib import Path

import numpy as np
from torch import Tensor

from .video_writer import H264, VideoFormat, open_video_writer

PLAYHEAD = (255, 255, 255)


def write_video(path: str | Path,
                frames: Iterable[np.ndarray],
                fps: Real,
                waveform: np.ndarray | Tensor | None = None,
                sample_rate: int | None = None,
                audio_of: str | Path | None = None,
                video_format: VideoFormat = H264) -> None:
    """Write a video, by default an MP4 file that browsers play: H.264 (yuv420p), and AAC audio unless it is copied.

    Frames are taken one after the other, and audio is written along with them, so memory is bounded.

    Args:
        path: The file; its directory is created.
        frames: Video frames (H, W, 3) uint8 RGB of one size, with other channels for other formats.
        fps: Video frames per second, as for :func:`mmavs.visualization.video_writer.open_video_writer`.
        waveform: Audio that starts with the first frame, as there.
        sample_rate: Samples of the waveform per second.
        audio_of: A file whose audio track is the audio, as there.
        video_format: Container and codecs.

    Raises:
        OSError: The file cannot be written.
        ValueError: There is no frame, a frame has another shape or type, or a rate is not a positive number.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError(f'{path}: there are no frames, expected at least one')
    with open_video_writer(path, np.shape(first)[:2], fps, video_format, waveform, sample_rate, audio_of) as write:
        for frame in chain([first], frames):
            write(frame)


def play_stills(stills: np.ndarray,
                seconds: float,
                fps: Real,
                playhead_box: tuple[int, int, int, int] | None = None) -> Iterator[np.ndarray]:
    """Show T stills over a duration, with a playhead that moves through a box.

    Args:
        stills: (T, H, W, 3) uint8; still t is shown from t / T to (t + 1) / T of the duration.
        seconds: The duration.
        fps: Video frames per second.
        playhead_box: (left, top, right, bottom) in pixels, or None for no playhead.

    Yields:
        ``round(seconds * fps)`` video frames (H, W, 3), at least one.
    """
    count = max(1, round(seconds * float(fps)))
    for i in range(count):
        frame = stills[i * len(stills) // count]
        if playhead_box is not None:
            left, top, right, bottom = playhead_box
            frame = frame.copy()
            x = left + round((right - left - 2) * i / count)
            frame[top:bottom, x:x + 2] = PLAYHEAD
        yield frame
