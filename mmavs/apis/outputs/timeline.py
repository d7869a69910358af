"""Timeline of a video: its spectrogram, and when and how large each class sounds."""
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from mmavs.audio.log_mel import HOP, NUM_MELS, SAMPLE_RATE, WINDOW, log_mel_spectrogram, mel_filters
from mmavs.audio.resampling import resample
from mmavs.utils.files import atomic_write
from mmavs.video import AudioTrack, ResampledAudio, open_video, start_time
from mmavs.visualization.object_names import class_name
from mmavs.visualization.timeline_figure import TimelineBand, draw_timeline
from mmavs.visualization.waveform import check_rate, to_mono

from ..inference import WholeAudio
from ..video_chunk import VideoChunk
from ..window_prediction import AudioSections
from .class_areas import class_areas
from .context import OutputContext

# Columns of the figure, or up to twice as many: about one for each of its pixels.
NUM_COLUMNS = 960


def write_timeline(path: Path, chunks: Iterable[VideoChunk], context: OutputContext) -> None:
    """Write a PNG figure: the spectrogram above, and a band for each class that occurs, in the order of appearance.

    A band shows when its class sounds and which share of the frame it covers. Memory does not depend on the duration:
    time is divided into about a thousand columns, which show means.
    """
    shares, spectrogram = ColumnMeans(256), _Spectrogram(context.audio)
    for chunk in chunks:
        rows = np.zeros((len(chunk.masks), 256), np.float32)
        for row, areas in zip(rows, class_areas(chunk)):
            for area in areas:
                row[area.label] = area.share
        shares.add(rows)
        spectrogram.read_until(shares.count / context.fps)
    columns = shares.columns()
    edges = np.minimum(np.arange(columns.shape[1] + 1) * shares.per_column, shares.count) / float(context.fps)
    bands = [TimelineBand(class_name(context.classes, label), context.palette[label], columns[label])
             for label in _by_appearance(columns)]
    figure = draw_timeline(context.name, edges, bands, spectrogram.log_mel())
    with atomic_write(path) as partial:
        figure.savefig(partial, format='png')


def _by_appearance(columns: np.ndarray) -> list[int]:
    present = columns > 0
    labels = np.flatnonzero(present.any(1))
    return labels[np.argsort(present[labels].argmax(1), kind='stable')].tolist()


class ColumnMeans:
    """Means of a sequence of vectors over at most twice ``NUM_COLUMNS`` columns, which become longer when need be.

    Args:
        length: Length of the vectors.

    Attributes:
        count: Number of vectors.
        per_column: Number of vectors in a column; a power of two. The last column may have fewer.
    """

    def __init__(self, length: int) -> None:
        self.count, self.per_column = 0, 1
        self._sums = np.zeros((2 * NUM_COLUMNS, length), np.float32)

    def add(self, vectors: np.ndarray) -> None:
        """Add the next vectors, (n, length)."""
        while len(vectors):
            room = len(self._sums) * self.per_column - self.count
            if room == 0:
                self._sums[:NUM_COLUMNS] = self._sums[::2] + self._sums[1::2]
                self._sums[NUM_COLUMNS:] = 0
                self.per_column *= 2
                continue
            part, vectors = vectors[:room], vectors[room:]
            columns = (self.count + np.arange(len(part))) // self.per_column
            starts = np.flatnonzero(np.diff(columns, prepend=-1))
            self._sums[columns[starts]] += np.add.reduceat(part, starts)
            self.count += len(part)

    def columns(self) -> np.ndarray:
        """The means, (length, columns)."""
        num_columns = -(-self.count // self.per_column)
        counts = np.full(num_columns, self.per_column)
        counts[-1:] = self.count - self.per_column * (num_columns - 1)
        return self._sums[:num_columns].T / counts


class _Spectrogram:
    """Log-mel spectrogram of the audio of a video, with bounded memory.

    Args:
        audio: As :attr:`OutputContext.audio`.
    """

    def __init__(self, audio: dict) -> None:
        self._audio, self._means = _open_audio(audio), ColumnMeans(NUM_MELS)
        self._window, self._filters = torch.hann_window(WINDOW), mel_filters()

    def read_until(self, seconds: Fraction) -> None:
        """Read the audio up to a time, second by second."""
        step = SAMPLE_RATE // HOP
        while self._audio is not None and self._means.count < round(seconds * step):
            columns = min(step, round(seconds * step) - self._means.count)
            start = self._means.count * HOP
            samples = self._audio.section(start, start + (columns - 1) * HOP + WINDOW)
            self._audio.forget(start + columns * HOP)
            samples = np.pad(samples, (0, (columns - 1) * HOP + WINDOW - len(samples)))
            self._means.add(log_mel_spectrogram(torch.from_numpy(samples), self._window, self._filters).numpy())

    def log_mel(self) -> np.ndarray | None:
        """Energies (64, columns); None without audio."""
        return self._means.columns() if self._means.count else None


def _open_audio(audio: dict) -> AudioSections | None:
    if audio.get('waveform') is not None:
        rate = check_rate(audio.get('sample_rate'))
        return WholeAudio(resample(to_mono(audio['waveform']), rate, SAMPLE_RATE))
    path = audio.get('audio_of')
    if path is None:
        return None
    with open_video(path) as source:
        if not source.streams.audio:
            return None
    return ResampledAudio(AudioTrack(path, start_time(path)), SAMPLE_RATE)
