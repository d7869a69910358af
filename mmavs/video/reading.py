"""Read frames and audio of video files by their timestamps.

Time is in seconds from the first frame, for frames and audio alike: audio that starts later begins with silence, audio
before the first frame is left out. Timestamps decide, not numbers of frames, so a variable frame rate is no trouble.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import numpy as np

#: Place of the frame of a second in AVSBench: frame int((k + 15/16) * rate) of the video belongs to second k.
FRAME_POSITION = Fraction(15, 16)
# Containers round timestamps, Matroska to a millisecond; audio of real files is off by some samples.
FRAME_TOLERANCE = 1e-3
AUDIO_TOLERANCE = 0.02


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
        stream = _video_stream(container, path)
        frame = next(_decode(container, stream, path), None)
        if frame is None:
            raise ValueError(f'{path}: the video stream holds no frame')
        height, width = _shown_size(frame, stream)
        audio = next(iter(container.streams.audio), None)
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
        height, width = self._size
        image = self._frame.reformat(width=width, height=height, format='rgb24').to_ndarray()
        # The rotation is counterclockwise, in degrees; other angles than quarters occur in no camera.
        return np.ascontiguousarray(np.rot90(image, round(self._frame.rotation / 90)))


def _shown_frames(path: str | Path) -> Iterator[_ShownFrame]:
    """Decode all frames; one size, that of the first, serves them all."""
    with open_video(path) as container:
        stream = _video_stream(container, path)
        start = time = gap = shown = size = None
        for number, frame in enumerate(_decode(container, stream, path)):
            stamp = _time(frame, number, stream)
            start = stamp if start is None else start
            begin, time = time or 0.0, stamp - start
            gap = time - begin
            if shown is None:
                size = _shown_size(frame, stream)
            else:
                yield _ShownFrame(shown, size, begin, time)
            shown = frame
        if shown is not None:
            yield _ShownFrame(shown, size, time, _end_of_last(shown, time, gap, start, container, stream))


class AudioTrack:
    """Audio of a video file, read in order with bounded memory.

    Args:
        path: The video file, which must have an audio track.
        start: Timestamp of the first frame in the file (:attr:`VideoProperties.start`), where time 0 is.

    Attributes:
        rate: Samples per second.
        channels: Number of channels.
        num_samples: Samples from time 0 to the end of the track; None before the end is reached.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: FFmpeg cannot read it, or it has no audio track.
    """

    def __init__(self, path: str | Path, start: float = 0.0) -> None:
        self.path = path
        with open_video(path) as container:
            stream = next(iter(container.streams.audio), None)
            if stream is None:
                raise ValueError(f'{path}: no audio track')
            self.rate, self.channels = stream.rate, stream.channels
        self._blocks = self._decode_blocks(start)
        self.num_samples: int | None = None
        self._begin, self._samples = 0, np.zeros((0, self.channels), np.float32)

    def read(self, start: float, end: float) -> np.ndarray:
        """Samples from ``start`` to ``end`` in seconds, as :meth:`read_samples`."""
        return self.read_samples(round(start * self.rate), round(end * self.rate))

    def read_samples(self, first: int, last: int) -> np.ndarray:
        """Samples ``first`` to ``last``, (L, channels) float32 in [-1, 1]; silence where there are none.

        Raises:
            ValueError: ``first`` lies before that of an earlier call, or the file is damaged.
        """
        if first < self._begin:
            raise ValueError(f'{self.path}: audio is read in order; {first / self.rate} s lies before what was read')
        blocks, have = [self._samples], self._begin + len(self._samples)
        while self.num_samples is None and have < last:
            position, block = next(self._blocks, (None, None))
            if block is None:
                self.num_samples = have
                break
            # Gaps are silence; what overlaps with earlier samples is dropped.
            block = block[max(0, have - position):]
            blocks += [np.zeros((max(0, position - have), self.channels), np.float32), block]
            have += len(blocks[-2]) + len(block)
        self._samples = np.concatenate(blocks)
        dropped = min(first - self._begin, len(self._samples))
        self._samples, self._begin = self._samples[dropped:], first
        result = np.zeros((max(0, last - first), self.channels), np.float32)
        available = self._samples[:last - first]
        result[:len(available)] = available
        return result

    def close(self) -> None:
        """Close the file, of which nothing is read anymore."""
        self._blocks.close()

    def _decode_blocks(self, start: float) -> Iterator[tuple[int, np.ndarray]]:
        """Position of the first sample, and samples (n, channels), of each decoded block from time 0 on."""
        with open_video(self.path) as container:
            stream = container.streams.audio[0]
            resampler = av.AudioResampler(format='fltp')
            expected = None
            for frame in _decode(container, stream, self.path):
                position = expected
                if frame.pts is not None:
                    stamped = round((float(frame.pts * frame.time_base) - start) * self.rate)
                    if expected is None or abs(stamped - expected) > AUDIO_TOLERANCE * self.rate:
                        position = stamped
                position = position or 0
                for converted in resampler.resample(frame):
                    block = converted.to_ndarray().T
                    expected = position + len(block)
                    if expected > 0:
                        yield max(0, position), block[max(0, -position):]
                    position = expected


@contextmanager
def open_video(path: str | Path) -> Iterator[av.container.InputContainer]:
    """Open a file or a URL.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: FFmpeg cannot read it.
    """
    path = str(path)
    # FFmpeg opens URLs too, which are no paths.
    if '://' not in path and not Path(path).is_file():
        raise FileNotFoundError(f'{path}: no such video file')
    try:
        container = av.open(path)
    except av.error.FFmpegError as error:
        raise ValueError(f'{path}: FFmpeg cannot read this as a video ({error.strerror})') from error
    with container:
        yield container


def _video_stream(container: av.container.InputContainer, path: str | Path) -> av.VideoStream:
    streams = [stream for stream in container.streams.video
               if not stream.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        raise ValueError(f'{path}: no video stream{" but audio" if container.streams.audio else ""}, expected a video')
    streams[0].thread_type = 'AUTO'
    return streams[0]


def _decode(container: av.container.InputContainer, stream: av.stream.Stream, path: str | Path) -> Iterator:
    time = 0.0
    try:
        for frame in container.decode(stream):
            time = frame.time if frame.time is not None else time
            yield frame
    except av.error.FFmpegError as error:
        raise ValueError(
            f'{path}: the {stream.type} stream is damaged after {time:.2f} s ({error.strerror})') from error


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
