"""Videos with audio."""
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np

from mmavs.audio.log_mel import SAMPLE_RATE

PLAYHEAD = (255, 255, 255)


def write_video(path: str | Path,
                frames: Iterable[np.ndarray],
                fps: int,
                waveform: np.ndarray | None = None,
                sample_rate: int = SAMPLE_RATE) -> None:
    """Write an MP4 file that browsers play: H.264 (yuv420p) video and AAC audio.

    Args:
        path: The file; its directory is created.
        frames: Video frames (H, W, 3) uint8 RGB, H and W even.
        fps: Video frames per second.
        waveform: (L,) float in [-1, 1] that starts with the first frame; None for a video without audio.
        sample_rate: Samples of the waveform per second.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w', options={'movflags': '+faststart'}) as container:
        frames = iter(frames)
        first = next(frames)
        video = container.add_stream('libx264', rate=fps, options={'crf': '20', 'preset': 'veryfast'})
        video.height, video.width = first.shape[:2]
        video.pix_fmt = 'yuv420p'
        audio = None if waveform is None else container.add_stream('aac', rate=sample_rate, layout='mono')

        for frame in chain([first], frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format='rgb24')))
        container.mux(video.encode())
        if audio is not None:
            for audio_frame in _audio_frames(waveform, sample_rate):
                container.mux(audio.encode(audio_frame))
            container.mux(audio.encode())


def play_stills(stills: np.ndarray,
                seconds: float,
                fps: int,
                playhead_box: tuple[int, int, int, int] | None = None) -> Iterator[np.ndarray]:
    """Show T stills over a duration, with a playhead that moves through a box.

    Args:
        stills: (T, H, W, 3) uint8; still t is shown from t / T to (t + 1) / T of the duration.
        seconds: The duration.
        fps: Video frames per second.
        playhead_box: (left, top, right, bottom) in pixels, or None for no playhead.

    Yields:
        ``round(seconds * fps)`` video frames (H, W, 3).
    """
    count = round(seconds * fps)
    for i in range(count):
        frame = stills[i * len(stills) // count]
        if playhead_box is not None:
            left, top, right, bottom = playhead_box
            frame = frame.copy()
            x = left + round((right - left - 2) * i / count)
            frame[top:bottom, x:x + 2] = PLAYHEAD
        yield frame


def _audio_frames(waveform: np.ndarray, sample_rate: int, length: int = 1024) -> Iterator[av.AudioFrame]:
    samples = np.clip(np.asarray(waveform, np.float32), -1, 1)
    for start in range(0, len(samples), length):
        frame = av.AudioFrame.from_ndarray(samples[None, start:start + length], format='fltp', layout='mono')
        frame.sample_rate = sample_rate
        frame.pts = start
        frame.time_base = Fraction(1, sample_rate)
        yield frame
