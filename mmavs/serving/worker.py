"""The worker process: loads the models and segments one uploaded video after the other.

FFmpeg decodes files from strangers in it. A crash, or a job beyond its limits, ends this process and not the server.
"""
from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from mmavs.apis import AVSInferencer
from mmavs.utils.errors import USER_ERRORS, user_message
from mmavs.utils.parent_process import end_with_parent
from mmavs.utils.terminal import quiet_libraries

from .limits import MEGABYTE, Limits
from .messages import Failure, Job, Ready, ServedModel, VideoResult
from .segmentation import segment_video

try:
    import resource
except ImportError:  # Windows
    resource = None

# Parts of the messages of errors of PyTorch and FFmpeg when memory cannot be had.
NO_MEMORY = ('not enough memory', "can't allocate memory", 'Cannot allocate memory', 'out of memory',
             'Unable to allocate')


class JobCancelledError(Exception):
    """The server does not want the job anymore."""


def run_worker(connection: Connection, models: list[ServedModel], device: str | None, num_threads: int,
               limits: Limits) -> None:
    """Load the first model, then segment the videos of the jobs that come through the connection, until it closes.

    Args:
        connection: Pipe to the server: jobs come in; messages go out, for each job a last one that is a complete
            :class:`VideoResult` or a :class:`Failure`. ``None`` that comes in during a job cancels it.
        models: The models; others than the first are loaded when a job asks for them.
        device: Device of the models.
        num_threads: Most threads of PyTorch on a CPU.
        limits: Limits of each job.
    """
    end_with_parent()
    torch.set_num_threads(min(num_threads, torch.get_num_threads()))  # OMP_NUM_THREADS may say fewer
    quiet_libraries()
    by_name = {model.name: model for model in models}
    inferencers: dict[str, AVSInferencer] = {}

    def load(name: str) -> AVSInferencer:
        if name not in inferencers:
            model = by_name[name]
            with warnings.catch_warnings():
                if model.random:  # the page says it
                    warnings.simplefilter('ignore')
                inferencers[name] = AVSInferencer(model.config, model.checkpoint, device)
        return inferencers[name]

    with suppress(EOFError, BrokenPipeError):
        try:
            load(models[0].name)
        except Exception as error:
            connection.send(_failure(error, None))
            return
        connection.send(Ready())
        while True:
            job = connection.recv()
            if job is not None:  # None cancels a job that has ended meanwhile
                connection.send(_run_job(job, load, limits, connection))
                connection.send(Ready())


def _run_job(job: Job, load, limits: Limits, connection: Connection) -> VideoResult | Failure:
    """Run a job and return the last message about it."""
    notes: list[str] = []
    last: VideoResult | None = None

    def report(message: object) -> None:
        nonlocal last
        if connection.poll() and connection.recv() is None:
            raise JobCancelledError
        if isinstance(message, VideoResult):
            last = VideoResult(**{**vars(message), 'notes': notes})
            if message.complete:
                return
            message = last
        connection.send(message)

    def note(message: Warning | str, category: type[Warning], *_, **__) -> None:
        text = visible(str(message), job)
        if issubclass(category, UserWarning) and text not in notes:
            notes.append(text)

    try:
        with limited_memory(limits.job_bytes), warnings.catch_warnings():
            warnings.simplefilter('always', UserWarning)
            warnings.showwarning = note
            segment_video(load(job.model), job, limits, report)
        return last
    except JobCancelledError:
        return Failure('cancelled', 'The job was cancelled.')
    except Exception as error:
        return _failure(error, job)


def _failure(error: Exception, job: Job | None) -> Failure:
    """Describe an error in a sentence without a path of the server."""
    if isinstance(error, MemoryError) or any(part in str(error) for part in NO_MEMORY):
        return Failure('memory', 'The video needs more memory than a job may use: make it smaller or shorter.')
    message = user_message(error) if isinstance(error, USER_ERRORS) else None
    if message is None:
        traceback.print_exception(error, file=sys.stderr)
        return Failure('program', 'The video could not be segmented because of a fault of the program. '
                                  'The log of the server has the details.')
    return Failure('input', message if job is None else visible(message, job))


def visible(text: str, job: Job) -> str:
    """Replace the paths of a job in a text by names that its user knows."""
    for path, name in ((job.out_dir, 'results'), (job.video, job.video.name),
                       (job.swapped_audio, 'the swapped audio')):
        if path is not None:
            text = text.replace(str(path), name)
    return text


@contextmanager
def limited_memory(num_bytes: int) -> Iterator[None]:
    """Limit the address space of this process to what it has now and ``num_bytes`` more.

    On a GPU the limit is left to the server, which watches the memory of its workers: the driver reserves addresses.
    """
    status = Path('/proc/self/statm')
    if resource is None or torch.cuda.is_initialized() or not status.exists():
        yield
        return
    used = int(status.read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = used + max(num_bytes, MEGABYTE)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
