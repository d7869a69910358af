"""Run the jobs of the page: their directories, their results and their metrics."""
from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from .limits import Limits
from .messages import Job, Progress, StageTime, VideoResult
from .metrics import Metrics
from .worker_pool import JobError, WorkerPool


class JobRunner:
    """Runs jobs on a pool of workers.

    Args:
        pool: The workers.
        directory: Directory of the files of the server.
        examples: Example videos, whose audio is the swapped one.
        limits: Limits of the jobs.
        metrics: Metrics to update.
    """

    def __init__(self, pool: WorkerPool, directory: Path, examples: Sequence[Path], limits: Limits,
                 metrics: Metrics) -> None:
        self.pool, self.directory, self.examples, self.limits, self.metrics = pool, directory, examples, limits, metrics
        self.num_running = 0

    def run(self, video: Path, model: str, fps: float, compared: bool,
            waited: float = 0) -> Iterator[Progress | VideoResult | None]:
        """Run a job; closing the generator cancels it.

        Args:
            video: The uploaded video.
            model: Name of the model.
            fps: Frames per second to segment.
            compared: Whether to segment with the muted and the swapped audio as well.
            waited: Seconds that the job has waited in the queue.

        Yields:
            Progress and results, None at least each second without any.

        Raises:
            JobError: The job ended without a result, or an argument is wrong.
        """
        self.check(video, model, fps)
        job = Job(video, self.directory / 'jobs' / secrets.token_hex(8), model, fps, compared,
                  self._swapped_audio(video))
        job.out_dir.mkdir(parents=True)
        self.metrics.stage_seconds.labels('queue').observe(waited)
        outcome = 'cancelled'
        self.num_running += 1
        try:
            with closing(self.pool.run(job)) as messages:
                for message in messages:
                    if isinstance(message, StageTime):
                        self.metrics.stage_seconds.labels(message.stage).observe(message.seconds)
                        continue
                    if isinstance(message, VideoResult) and message.complete:
                        outcome = 'finished'
                        remove_intermediate(job.out_dir, message)
                    yield message
        except JobError as error:
            outcome = error.kind
            raise
        finally:
            self.num_running -= 1
            self.metrics.jobs.labels(outcome).inc()
            if outcome != 'finished':
                shutil.rmtree(job.out_dir, ignore_errors=True)

    def check(self, video: Path | None, model: str, fps: float) -> None:
        """Raise a JobError if an argument of a job is wrong."""
        names = [model.name for model in self.pool.models]
        if video is None:
            raise JobError('input', 'Choose a video first.')
        if model not in names:
            raise JobError('input', f"There is no model {model!r}: choose one of {', '.join(names)}.")
        if not isinstance(fps, int | float) or not 0 < fps <= self.limits.frames_per_second:
            raise JobError('input', f'{fps!r} frames per second are not possible: choose at most '
                                    f'{self.limits.frames_per_second}.')
        if _size(video) > self.limits.upload_bytes:
            raise JobError('input', f'The video has more than {self.limits.upload_bytes} bytes: make it smaller.')

    def _swapped_audio(self, video: Path) -> Path | None:
        """The audio of the first example that is not the video itself."""
        others = [example for example in self.examples if example.name != video.name]
        return others[0] if others else None

    def stored_bytes(self) -> int:
        """Bytes of the uploads and results that have not been deleted."""
        return sum(map(_size, _paths_below(self.directory)))


def remove_intermediate(directory: Path, result: VideoResult) -> None:
    """Remove the files of a job that are not among its results."""
    kept = {*result.files.values(), result.spectrogram, *(shown.overlay for shown in result.conditions)}
    for path in _paths_below(directory):
        if path.is_file() and path not in kept:
            path.unlink()


def delete_old_files(directory: Path, seconds: float, keep: Path) -> None:
    """Delete the files of a directory that are older than some seconds, and old directories that have become empty.

    Args:
        directory: The directory.
        seconds: The age.
        keep: A directory below it whose files are not deleted.
    """
    limit = time.time() - seconds
    for path in sorted(_paths_below(directory), reverse=True):  # files come before the directories that hold them
        try:
            if path.lstat().st_ctime < limit and not path.is_relative_to(keep):
                path.rmdir() if path.is_dir() else path.unlink()
        except OSError:  # a directory that is not empty, or one that a job has just removed
            continue


def _paths_below(directory: Path) -> Iterator[Path]:
    """Files and directories below a directory, while jobs make and remove some: ``rglob`` would raise an error."""
    for parent, directories, files in os.walk(directory):
        yield from (Path(parent, name) for name in (*directories, *files))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
