"""Videos with audio."""
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from numbers import Real
from pathlib import Path

import av
import numpy as np
from torch import Tensor

from mmavs.utils.files import atomic_write

from .video_audio import copy_audio_track, encode_waveform
from .waveform import check_rate, to_mono

PLAYHEAD = (255, 255, 255)
# Players know the rates of film and television (30000 / 1001) and their multiples, not arbitrary fractions.
MAX_DENOMINATOR = 1001


def write_video(path: str | Path,
                frames: Iterable[np.ndarray],
                fps: Real,
                waveform: np.ndarray | Tensor | None = None,
                sample_rate: int | None = None,
                audio_of: str | Path | None = None) -> None:
    """Write an MP4 file that browsers play: H.264 (yuv420p) video, and AAC audio unless a track is copied.

    Frames are taken one after the other, and audio is written along with them, so memory is bounded.

    Args:
        path: The file; its directory is created.
        frames: Video frames (H, W, 3) uint8 RGB of one size. The format has even sizes only: an odd height or width is
            padded by a repeated row or column at the end.
        fps: Video frames per second: an integer, a fraction or a float such as 29.97.
        waveform: Audio that starts with the first frame, as for :func:`to_mono`; None for a video without audio.
        sample_rate: Samples of the waveform per second, needed with a waveform. Rates that AAC lacks are resampled to
            16 kHz.
        audio_of: A video file whose audio track, from its first frame on, is the audio. It is copied; a track of a
            codec that MP4 files do not hold is encoded anew, in mono. Without a track the video has no audio.

    Raises:
        ValueError: There is no frame, a frame has another shape or type, or a rate is not a positive number.
    """
    path = Path(path)
    if not fps > 0 or not np.isfinite(float(fps)):
        raise ValueError(f'{path}: fps is {fps!r}, expected a positive number of frames per second')
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError(f'{path}: there are no frames, expected at least one')
    frames = _even_frames(chain([first], frames), np.shape(first), path)
    rate = Fraction(fps if isinstance(fps, (int, Fraction)) else float(fps)).limit_denominator(MAX_DENOMINATOR)
    with atomic_write(path) as partial, av.open(str(partial), 'w', 'mp4', {'movflags': '+faststart'}) as container:
        video = container.add_stream('libx264', rate=rate, options={'crf': '20', 'preset': 'veryfast'})
        video.height, video.width = (size + size % 2 for size in np.shape(first)[:2])
        video.pix_fmt = 'yuv420p'
        audio = iter(())
        if audio_of is not None:
            audio = copy_audio_track(audio_of, container)
        elif waveform is not None:
            audio = encode_waveform(to_mono(waveform), check_rate(sample_rate), container)
        waiting = next(audio, None)
        for k, frame in enumerate(frames):
            while waiting is not None and waiting[0] <= k / rate:
                container.mux(waiting[1])
                waiting = next(audio, None)
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format='rgb24')))
        container.mux(video.encode())
        while waiting is not None:
            container.mux(waiting[1])
            waiting = next(audio, None)


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


def _even_frames(frames: Iterable[np.ndarray], shape: tuple[int, ...], path: Path) -> Iterator[np.ndarray]:
    """Check each frame, and pad it to an even height and width."""
    for t, frame in enumerate(frames):
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise ValueError(f'{path}: frame {t} has shape {frame.shape} and type {frame.dtype}, expected (H, W, 3) '
                             'uint8')
        if frame.shape != shape:
            raise ValueError(f'{path}: frame {t} has shape {frame.shape} and frame 0 {shape}, expected one size')
        yield np.pad(frame, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode='edge')
