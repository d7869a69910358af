"""Videos with sound."""
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

PLAYHEAD = (255, 255, 255)


def write_video(path: str | Path,
                pictures: Iterable[np.ndarray],
                fps: int,
                waveform: np.ndarray | None = None,
                sample_rate: int = 16000) -> None:
    """Write an MP4 file: H.264 (yuv420p) pictures and AAC sound, which browsers play.

    Args:
        path: The file; its folder is made.
        pictures: (H, W, 3) uint8 RGB, H and W even, one for each video frame.
        fps: Video frames per second.
        waveform: (L,) float in [-1, 1], beginning with the first picture; None for a silent film.
        sample_rate: Samples of the waveform per second.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w', options={'movflags': '+faststart'}) as container:
        pictures = iter(pictures)
        first = next(pictures)
        video = container.add_stream('libx264', rate=fps, options={'crf': '20', 'preset': 'veryfast'})
        video.height, video.width = first.shape[:2]
        video.pix_fmt = 'yuv420p'
        sound = None if waveform is None else container.add_stream('aac', rate=sample_rate, layout='mono')

        for picture in _chain(first, pictures):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format='rgb24')))
        container.mux(video.encode())
        if sound is not None:
            for packet_samples in _audio_frames(waveform, sample_rate):
                container.mux(sound.encode(packet_samples))
            container.mux(sound.encode())


def play_stills(stills: np.ndarray,
                seconds: float,
                fps: int,
                playhead_box: tuple[int, int, int, int] | None = None) -> Iterator[np.ndarray]:
    """Hold T stills over a duration, with a line that runs through a box as time passes.

    Args:
        stills: (T, H, W, 3) uint8; still t is seen from t / T to (t + 1) / T of the duration.
        seconds: The duration.
        fps: Pictures per second.
        playhead_box: (left, top, right, bottom) in pixels, or None for no line.

    Yields:
        ``round(seconds * fps)`` pictures (H, W, 3).
    """
    count = round(seconds * fps)
    for i in range(count):
        picture = stills[i * len(stills) // count]
        if playhead_box is not None:
            left, top, right, bottom = playhead_box
            picture = picture.copy()
            x = left + round((right - left - 2) * i / count)
            picture[top:bottom, x:x + 2] = PLAYHEAD
        yield picture


def _audio_frames(waveform: np.ndarray, sample_rate: int, length: int = 1024) -> Iterator[av.AudioFrame]:
    samples = np.clip(np.asarray(waveform, np.float32), -1, 1)
    for start in range(0, len(samples), length):
        frame = av.AudioFrame.from_ndarray(samples[None, start:start + length], format='fltp', layout='mono')
        frame.sample_rate = sample_rate
        frame.pts = start
        frame.time_base = Fraction(1, sample_rate)
        yield frame


def _chain(first: np.ndarray, rest: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    yield first
    yield from rest
