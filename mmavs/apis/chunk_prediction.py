"""Predict a video chunk by chunk, with memory that does not depend on its duration."""
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import numpy as np
import torch

from .mask_priors import PriorOfFrame
from .read_ahead import read_ahead
from .video_chunk import VideoChunk
from .video_source import VideoSource
from .window_prediction import FRAMES_PER_BATCH, WindowPredictor

#: Frames that are read and resized to the network's input while the model predicts.
FRAMES_AHEAD = 16
#: Most frames of the size of the video that wait for their masks. Where more would have to, the video is read twice.
MAX_WAITING_FRAMES = 32
#: Frames that are ready when the video is read a second time.
REREAD_AHEAD = 4


def predict_chunks(predictor: WindowPredictor,
                   source: VideoSource,
                   return_prob: bool = False,
                   batch_size: int | None = None,
                   with_frames: bool = True,
                   mask_prior: PriorOfFrame | None = None) -> Iterator[VideoChunk]:
    """Predict the windows of a video and put their frames in order.

    A thread reads the video, another one reads it again if that is needed for the frames of the chunks. When the
    generator is used up or closed, both have ended and the files of the source are closed.

    Args:
        predictor: Predictor of the model.
        source: The video.
        return_prob: Whether the chunks have ``foreground_prob``.
        batch_size: Windows that the model gets at once; None: as many as have 10 frames.
        with_frames: Whether the chunks have ``frames``.
        mask_prior: As for :meth:`WindowPredictor.predict`.

    Yields:
        Chunks of at most as many frames as a window. Interleaved windows fill each other's gaps: many frames are
        complete at once, and leave one chunk for each window that follows.

    Raises:
        ValueError: The video holds no frame, or is damaged.
    """
    length = predictor.cutter(source.fps).clip_length
    waiting = max(length * source.fps, length * (batch_size or FRAMES_PER_BATCH // length or 1))
    frames = _WaitingFrames(source, with_frames, reread=waiting > MAX_WAITING_FRAMES)
    outputs = ('pred_sem_seg', 'foreground_prob') if return_prob else ('pred_sem_seg', )
    predicted: dict[int, tuple[np.ndarray, ...]] = {}

    def take(start: int, stop: int) -> VideoChunk:
        masks, *prob = map(np.stack, zip(*(predicted.pop(k) for k in range(start, stop))))
        return VideoChunk(start, *frames.take(stop - start), masks, *prob)

    windows = predictor.predict(
        frames.read(), source.audio, source.fps, source.lead, mask_prior, outputs, prob_dtype=torch.float16,
        batch_size=batch_size, frames_ahead=FRAMES_AHEAD)
    start = stop = 0
    with closing(source), closing(frames), closing(windows):
        for window, sample in windows:
            fields = [sample.get(name).cpu().numpy() for name in outputs]
            for t in np.flatnonzero(window.new):
                # Copies: a view would keep the masks of all frames of the window.
                predicted[int(window.frames[t])] = tuple(field[t].copy() for field in fields)
            while stop in predicted:
                stop += 1
            # Some fractional rates leave gaps always, so frames do not wait until there is none.
            if stop - start >= length or stop - start == len(predicted):
                ready = min(stop, start + length)
                yield take(start, ready)
                start = ready
        if stop == 0:
            raise ValueError(f'{source.name}: the video holds no frame')
        while start < stop:
            ready = min(stop, start + length)
            yield take(start, ready)
            start = ready


class _WaitingFrames:
    """Frames of the size of the video, for when their masks are predicted.

    Args:
        source: The video.
        needed: Whether the frames are needed, or only their times.
        reread: Whether to read the video a second time instead of keeping the frames.
    """

    def __init__(self, source: VideoSource, needed: bool, reread: bool) -> None:
        self._source = source
        self._times: deque[float] = deque()
        self._kept: deque[np.ndarray] | None = deque() if needed and not reread else None
        self._read_again = None
        if needed and reread:
            self._read_again = read_ahead((frame for _, frame in source.open_frames()), REREAD_AHEAD)

    def read(self) -> Iterator[np.ndarray]:
        """Read the video."""
        for time, frame in self._source.open_frames():
            self._times.append(time)
            if self._kept is not None:
                self._kept.append(frame)
            yield frame

    def take(self, count: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return times and frames of the next ``count`` frames, which have been read."""
        times = np.array([self._times.popleft() for _ in range(count)])
        if self._read_again is not None:
            return times, list(islice(self._read_again, count))
        return times, [] if self._kept is None else [self._kept.popleft() for _ in range(count)]

    def close(self) -> None:
        """End the thread that reads again."""
        if self._read_again is not None:
            self._read_again.close()
