"""Audio of a video at another rate, with bounded memory."""
import numpy as np

from mmavs.audio.io import check_samples
from mmavs.audio.resampling import resample, resampled_section

from .reading import AudioTrack


class ResampledAudio:
    """Audio track of a video at another rate, from which sections are read; equal to resampling it as a whole.

    Args:
        track: The track, which nothing else reads.
        rate: Samples per second of the sections.
        stereo: Whether the sections have two channels; otherwise the channels are averaged.

    Raises:
        ValueError: The track does not have the two channels of ``stereo``.
    """

    def __init__(self, track: AudioTrack, rate: int, stereo: bool = False) -> None:
        if stereo and track.channels != 2:
            raise ValueError(f'{track.path}: the audio track has {track.channels} channel(s), expected 2: the model '
                             'takes stereo')
        self._track, self._rate, self._stereo = track, rate, stereo
        self._samples, self._begin = np.zeros((2 if stereo else 1, 0), np.float32), 0

    def section(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start`` to ``stop``, (L,), or (2, L) in stereo; fewer if the track ends before.

        Raises:
            ValueError: Samples were forgotten or are NaN, or the file is damaged.
        """
        if start < self._begin:
            raise ValueError(f'{self._track.path}: audio before {self._begin / self._rate} s was forgotten')
        end = self._begin + self._samples.shape[1]
        if stop > end:
            self._samples = np.concatenate([self._samples, self._resample(end, stop)], 1)
        section = self._samples[:, start - self._begin:max(0, stop - self._begin)]
        return section if self._stereo else section[0]

    def forget(self, start: int) -> None:
        """Samples before ``start`` are not read anymore."""
        dropped = min(max(0, start - self._begin), self._samples.shape[1])
        self._samples, self._begin = self._samples[:, dropped:], self._begin + dropped

    def close(self) -> None:
        """Close the file of the track, of which nothing is read anymore."""
        self._track.close()

    def _resample(self, start: int, stop: int) -> np.ndarray:
        """Samples (channels, L) of the track from ``start`` to ``stop``, or to its end."""
        track = self._track
        first, last, skip = resampled_section(start, stop, track.rate, self._rate)
        samples = track.read_samples(first, last)
        if track.num_samples is not None:
            samples = samples[:max(0, track.num_samples - first)]
            stop = min(stop, track.num_samples * self._rate // track.rate)
        if stop <= start:
            return np.zeros((len(self._samples), 0), np.float32)
        check_samples(samples, f'{track.path}: audio track')
        channels = samples.T if self._stereo else samples.mean(1)[None]
        kept = slice(skip, skip + stop - start)
        return np.stack([resample(x.clip(-1, 1), track.rate, self._rate)[kept] for x in channels])
