"""Messages between the server and its worker processes."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

#: Audio conditions of a job, in the order in which they are segmented.
CONDITIONS = ('original', 'muted', 'swapped')


@dataclass(frozen=True)
class ServedModel:
    """A model of the server.

    Attributes:
        name: Name on the page.
        config: Name of a model of the zoo, config file, or exported model.
        checkpoint: Its checkpoint; None for random weights, or an exported model.
        random: Whether its weights are random.
    """
    name: str
    config: str
    checkpoint: str | None
    random: bool = False


@dataclass(frozen=True)
class Job:
    """A video to be segmented.

    Attributes:
        video: The uploaded file.
        out_dir: Empty directory of the results.
        model: Name of the :class:`ServedModel`.
        fps: Frames per second to segment.
        compared: Whether the muted and the swapped audio are segmented as well.
        swapped_audio: File whose audio is the swapped one.
    """
    video: Path
    out_dir: Path
    model: str
    fps: float
    compared: bool
    swapped_audio: Path | None = None


@dataclass(frozen=True)
class Ready:
    """The worker waits for a job."""


@dataclass(frozen=True)
class Progress:
    """The job has come to ``fraction`` of the whole; ``text`` says what it does."""
    fraction: float
    text: str


@dataclass(frozen=True)
class StageTime:
    """A stage of the job took ``seconds``."""
    stage: str
    seconds: float


@dataclass(frozen=True)
class ClassTime:
    """A class sounds from ``start`` to ``end`` seconds and covers a mean ``share`` of the frame."""
    start: float
    end: float
    share: float


@dataclass(frozen=True)
class ClassBand:
    """The times of a class in a video; ``color`` is '#rrggbb'."""
    name: str
    color: str
    times: list[ClassTime]


@dataclass(frozen=True)
class ConditionResult:
    """Results of a video with the audio of a condition.

    Attributes:
        condition: One of :data:`CONDITIONS`.
        overlay: The overlay video.
        bands: Times of the classes that occur.
        covered: Mean share of the frame that the masks cover.
    """
    condition: str
    overlay: Path
    bands: list[ClassBand]
    covered: float


@dataclass(frozen=True)
class VideoResult:
    """Results of a job; ``conditions`` grows while the job runs.

    Attributes:
        duration: Seconds of the overlay videos.
        conditions: Results of each audio condition.
        files: Files to download, by kind: overlay, png, rle, cutout, csv.
        spectrogram: Image of the spectrogram of the original audio, None without an audio track.
        notes: Warnings about the video.
        complete: Whether no more comes.
    """
    duration: float
    conditions: list[ConditionResult] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    spectrogram: Path | None = None
    notes: list[str] = field(default_factory=list)
    complete: bool = False


@dataclass(frozen=True)
class Failure:
    """The job, or the start of the worker, failed.

    Attributes:
        kind: 'input' for a video that cannot be used, 'memory', or 'program' for a fault of the program.
        text: A sentence for the user.
    """
    kind: str
    text: str
