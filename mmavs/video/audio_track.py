"""Read the audio track of a video file by its timestamps."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from mmavs.audio.io import check_channels, check_rate

from .container import audio_stream, decode, open_video

# Timestamps of audio are off by some samples in real files; what differs by more seconds is a gap.
AUDIO_TOLERANCE = 0.02


class AudioTrack:
    """Audio of a video file, read in order with bounded memory.

    Args:
        path: The video file, which must have an audio track; of several, the first is read.
        start: Timestamp of the first frame in the file (:attr:`VideoProperties.start`), where time 0 is.

    Attributes:
        rate: Samples per second.
        channels: Number of channels.
        num_samples: Samples from time 0 to the end of the track; None before the end is reached.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: FFmpeg cannot read it, it has no audio track, or one with a rate or channels beyond the limits of
            audio files (:mod:`mmavs.audio.io`).
    """

    def __init__(self, path: str | Path, start: float = 0.0) -> None:
        self.path = path
        with open_video(path) as container:
            stream = audio_stream(container, path)
            if stream is None:
                raise ValueError(f'{path}: no audio track')
            self.rate, self.channels = stream.rate, stream.channels
            check_rate(self.rate, f'{path}: audio track')
            check_channels(self.channels, f'{path}: audio track')
        self._blocks = self._decode_blocks(start)
        self._next: tuple[int, np.ndarray] | None = None  # a block after a gap
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
            position, block = self._next or next(self._blocks, (None, None))
            self._next = None
            if block is None:
                self.num_samples = have
                break
            # Gaps are silence; what overlaps with earlier samples is dropped. A gap may take hours: it is filled as far
            # as it is read.
            if position > last:
                self._next, position, block = (position, block), last, block[:0]
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
            layout, properties, resampler, expected = stream.layout, None, None, None
            for frame in decode(container, stream, self.path):
                position = expected
                if frame.pts is not None:
                    stamped = round((float(frame.pts * frame.time_base) - start) * self.rate)
                    if expected is None or abs(stamped - expected) > AUDIO_TOLERANCE * self.rate:
                        position = stamped
                position = position or 0
                # Broadcasts change the number of channels when a program ends.
                if properties != (properties := (frame.format.name, frame.layout.name, frame.sample_rate)):
                    check_rate(frame.sample_rate, f'{self.path}: audio track')
                    # Not planar: PyAV fails to read eight planes.
                    resampler = av.AudioResampler(format='flt', layout=layout, rate=self.rate)
                for converted in resampler.resample(frame):
                    block = converted.to_ndarray().reshape(-1, self.channels)
                    expected = position + len(block)
                    if expected > 0:
                        yield max(0, position), block[max(0, -position):]
                    position = expected
