"""Read the frames of video files by their timestamps.

Time is in seconds from the first frame, for frames and audio alike: audio that starts later begins with silence, audio
before the first frame is left out. Timestamps decide, not numbers of frames, so a variable frame rate is no trouble.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import numpy as np

from .color import to_rgb
from .container import audio_stream, decode, is_cover, open_video, video_stream
from .deinterlacing import deinterlace

#: Place of the frame of a second in AVSBench: frame int((k + 15/16) * rate) of the video belongs to second k.
FRAME_POSITION = Fraction(15, 16)
# Containers round timestamps, Matroska to a millisecond.
FRAME_TOLERANCE = 1e-3
# Seconds by which a timestamp may lie before that of an earlier frame; some files are in disorder by a few frames.
MAX_STEP_BACK = 1.0


@dataclass(frozen=True)
class VideoProperties:
    """Properties of a video file.

    Attributes:
        size: (H, W) of the frames as they are shown: upright, and with square pixels.
        frame_rate: Average number of frames per second, None if the file does not say.
        duration: Seconds, None if the file does not say.
        start: Timestamp of the first frame in the file, in seconds.
        audio_rate: Samples per second of the audio track, None without one.
    """
    size: tuple[int, int]
    frame_rate: Fraction | None
    duration: float | None
    start: float
    audio_rate: int | None


def probe_video(path: str | Path) -> VideoProperties:
    """Read the properties of a video; decodes the first frame.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: FFmpeg cannot read it, or it has no video stream or no frame.
    """
    with open_video(path) as container:
        stream = video_stream(container, path)
        frame = next(decode(container, stream, path), None)
        if frame is None:
            raise ValueError(f'{path}: the video stream holds no frame')
        height, width = _shown_size(frame, stream)
        audio = audio_stream(container, path)
        duration = None
        if stream.duration is not None:
            duration = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            duration = container.duration / av.time_base
        return VideoProperties(
            size=(width, height) if frame.rotation % 180 else (height, width),
            frame_rate=stream.average_rate,
            duration=duration,
            start=_time(frame, 0, stream),
            audio_rate=audio.rate if audio else None)


def start_time(path: str | Path) -> float:
    """Timestamp in a file, in seconds, that is time 0: that of the first frame, or of an audio file the first sample.

    Raises:
        FileNotFoundError, ValueError: As for :func:`probe_video`.
    """
    with open_video(path) as container:
        if any(not is_cover(stream) for stream in container.streams.video) or not container.streams.audio:
            return probe_video(path).start
        stream = container.streams.audio[0]
        return float((stream.start_time or 0) * stream.time_base)


def read_frames(path: str | Path, times: Iterable[float]) -> Iterator[np.ndarray]:
    """Decode the frames that are shown at given times.

    Args:
        path: The video file.
        times: Seconds from the first frame, ascending; may be endless.

    Yields:
        A frame (H, W, 3) uint8 RGB for each time, upright and with square pixels: the last one whose timestamp is not
        later. The video ends after the duration of its last frame; later times give nothing.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: FFmpeg cannot read it, or it is damaged; the message says after which time.
    """
    times = iter(times)
    wanted = next(times, None)
    with closing(_shown_frames(path)) as frames:
        for frame in frames:
            while wanted is not None and wanted < frame.end - FRAME_TOLERANCE:
                yield frame.image
                wanted = next(times, None)
            if wanted is None:
                return


def sample_frames(path: str | Path, fps: Fraction, position: float) -> Iterator[tuple[float, np.ndarray]]:
    """Decode one frame for each interval of a video: interval k lasts from k / fps to (k + 1) / fps.

    Args:
        path: The video file.
        fps: Intervals per second.
        position: Place of the frame in its interval, in [0, 1).

    Yields:
        Times in seconds from the first frame, and frames as of :func:`read_frames`. The last interval is incomplete if
        the video ends in it. If that place is not reached, its frame is the last one of the video; if not even half of
        it is reached, it is left out, except in a video that has no other.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: As for :func:`read_frames`.
    """
    count, last = 0, None
    with closing(_shown_frames(path)) as frames:
        for last in frames:
            while (time := float((count + position) / fps)) < last.end - FRAME_TOLERANCE:
                yield time, last.image
                count += 1
    if last is not None and (count == 0 or last.end * fps - count >= 0.5):
        yield last.begin, last.image


class _ShownFrame:
    """A decoded frame, converted when it is used for the first time.

    Args:
        frame: The frame.
        size: (H, W) with square pixels, before rotation.
        begin: Seconds from the first frame at which it is shown.
        end: Seconds from the first frame at which it is no longer shown.
    """

    def __init__(self, frame: av.VideoFrame, size: tuple[int, int], begin: float, end: float) -> None:
        self._frame, self._size, self.begin, self.end = frame, size, begin, end

    @cached_property
    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, upright."""
        image = to_rgb(self._frame, self._size)
        # The rotation is counterclockwise, in degrees; other angles than quarters occur in no camera.
        return np.ascontiguousarray(np.rot90(image, round(self._frame.rotation / 90)))


def _shown_frames(path: str | Path) -> Iterator[_ShownFrame]:
    """Decode all frames; one size, that of the first, serves them all."""
    with open_video(path) as container:
        stream = video_stream(container, path)
        start = time = gap = shown = size = None
        for number, frame in enumerate(deinterlace(decode(container, stream, path))):
            stamp = _time(frame, number, stream)
            start = stamp if start is None else start
            begin, time = time or 0.0, stamp - start
            if time < begin - MAX_STEP_BACK:
                raise ValueError(f'{path}: timestamps jump back from {begin:.2f} s to {time:.2f} s, as in files that '
                                 'were joined: copy it (ffmpeg -i OLD -c copy NEW)')
            gap = time - begin
            if shown is None:
                size = _shown_size(frame, stream)
            else:
                yield _ShownFrame(shown, size, begin, time)
            shown = frame
        if shown is not None:
            yield _ShownFrame(shown, size, time, _end_of_last(shown, time, gap, start, container, stream))


def _time(frame: av.VideoFrame, number: int, stream: av.VideoStream) -> float:
    """Timestamp of a frame in seconds; streams without timestamps count frames."""
    return frame.time if frame.time is not None else number / float(stream.average_rate or 25)


def _end_of_last(frame: av.VideoFrame, time: float, gap: float, start: float,
                 container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """Time at which the last frame is no longer shown.

    It is shown as long as the file says or as the frame before it, but not beyond the end of the file: the frames of a
    variable rate may claim to be shown longer.
    """
    seconds = max(float((frame.duration or 0) * frame.time_base), gap) or 1 / float(stream.average_rate or 25)
    if container.duration is None:
        return time + seconds
    file_end = ((container.start_time or 0) + container.duration) / av.time_base - start
    return max(time + 2 * FRAME_TOLERANCE, min(time + seconds, file_end))


def _shown_size(frame: av.VideoFrame, stream: av.VideoStream) -> tuple[int, int]:
    """(H, W) with square pixels, before rotation."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return frame.height, round(frame.width * ratio) if ratio else frame.width
