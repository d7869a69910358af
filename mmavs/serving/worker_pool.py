"""Worker processes that segment, each one job at a time, with limits on time and memory."""
from __future__ import annotations

import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .limits import Limits
from .messages import Failure, Job, Progress, Ready, ServedModel, StageTime, VideoResult

# Seconds between two looks at time and memory of a job.
INTERVAL = 0.1
# Seconds that a cancelled job has to end before its worker is replaced.
GRACE = 5.0
# Module that the workers need: imported once, in the process that they are copies of.
PRELOADED = 'mmavs.serving.worker'


class JobError(Exception):
    """A job ended without a result; the message is a sentence for its user.

    Attributes:
        kind: 'input', 'memory', 'time', 'crash' or 'program'.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Worker:
    """A worker process.

    Args:
        pool: The pool, whose settings it gets.
    """

    def __init__(self, pool: WorkerPool) -> None:
        self._limits = pool.limits
        self._connection, other = pool.context.Pipe()
        self._process = pool.context.Process(
            target=_run_worker, args=(other, list(pool.models), pool.device, pool.num_threads, pool.limits),
            name='mmavs-worker', daemon=True)
        self._process.start()
        other.close()

    def wait_until_ready(self) -> None:
        """Wait for the models.

        Raises:
            ValueError: They cannot be loaded.
        """
        try:
            message = self._connection.recv()
        except EOFError:
            raise ValueError('a worker process ended while it loaded the models; its messages are above') from None
        if isinstance(message, Failure):
            raise ValueError(message.text)

    def run(self, job: Job) -> Iterator[Progress | StageTime | VideoResult | None]:
        """Run a job; yields its messages, and None each ``INTERVAL`` without one.

        Raises:
            JobError: It ended without a result. The worker may have ended too.
        """
        self._connection.send(job)
        end, allowed = time.monotonic() + self._limits.job_seconds, self.memory() + self._limits.job_bytes
        while True:
            if time.monotonic() > end:
                self.kill()
                raise JobError('time', f'The job took longer than {self._limits.job_seconds:g} seconds and was ended: '
                                       'use a shorter video, or fewer frames per second.')
            if self.memory() > allowed:
                self.kill()
                raise JobError('memory', 'The video needs more memory than a job may use: make it smaller or shorter.')
            message = self._receive(INTERVAL)
            if isinstance(message, Failure):
                raise JobError(message.kind, message.text)
            yield message
            if isinstance(message, VideoResult) and message.complete:
                return

    def settle(self) -> bool:
        """Wait until no job runs, and cancel the one that does; returns whether the worker can be used again."""
        try:
            if not self._idle(0.5):
                self._connection.send(None)
                if not self._idle(GRACE):
                    self.kill()
        except (OSError, JobError):
            self.kill()
        return self._process.is_alive()

    def memory(self) -> int:
        """Bytes of memory that the process uses; 0 where the system does not say."""
        return process_memory(self._process.pid)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _idle(self, seconds: float) -> bool:
        """Whether the worker says within some seconds that it waits for a job; drops other messages."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if isinstance(self._receive(INTERVAL), Ready):
                return True
        return False

    def _receive(self, seconds: float) -> object:
        """The next message, None if there is none within some seconds; a JobError if the process has ended."""
        try:
            return self._connection.recv() if self._connection.poll(seconds) else None
        except (EOFError, OSError):
            self.kill()
            raise JobError('crash', 'The video made the process that read it crash: it is damaged, or was made to do '
                                    'so.') from None


class WorkerPool:
    """A number of workers; one that ends is replaced.

    Args:
        models: The models; the first is loaded at the start.
        limits: Limits of the jobs; ``concurrent_jobs`` is the number of workers.
        device: Device of the models; None: the GPU if there is one, else the CPU.
    """

    def __init__(self, models: Sequence[ServedModel], limits: Limits, device: str | None = None) -> None:
        self.models, self.limits, self.device = models, limits, device
        self.num_threads = max(1, len(os.sched_getaffinity(0)) // limits.concurrent_jobs)
        # Not copies of the server, which has threads; the imports of PyTorch and OpenMMLab are done once for all.
        methods = multiprocessing.get_all_start_methods()
        self.context = multiprocessing.get_context('forkserver' if 'forkserver' in methods else 'spawn')
        if 'forkserver' in methods:
            self.context.set_forkserver_preload([PRELOADED])
        self._idle: queue.Queue[Worker] = queue.Queue()
        self._workers: set[Worker] = set()
        self._closed = False

    def start(self) -> None:
        """Start the workers and wait for their models.

        Raises:
            ValueError: They cannot be loaded.
        """
        for worker in [self._add() for _ in range(self.limits.concurrent_jobs)]:
            worker.wait_until_ready()
            self._idle.put(worker)

    @property
    def num_ready(self) -> int:
        """Number of the workers that wait for a job."""
        return self._idle.qsize()

    @property
    def num_alive(self) -> int:
        """Number of the worker processes that run."""
        return sum(worker.is_alive for worker in tuple(self._workers))

    def make_examples(self, directory: Path) -> list[Path]:
        """Put the example videos into a directory, in a process of its own, and return their paths."""
        process = self.context.Process(target=_make_examples, args=(directory, ), name='mmavs-examples')
        process.start()
        process.join()
        return sorted(directory.glob('*.mp4'))

    def memory(self) -> int:
        """Bytes of memory of all workers."""
        return sum(worker.memory() for worker in tuple(self._workers))

    def run(self, job: Job) -> Iterator[Progress | StageTime | VideoResult | None]:
        """Run a job on the next worker that is idle; closing the generator cancels it and does not wait.

        Yields:
            Messages of the worker, and None at least every second without one.

        Raises:
            JobError: The job ended without a result.
        """
        while (worker := self._take()) is None:
            yield None
        try:
            yield from worker.run(job)
        finally:
            self._settle(worker)

    def close(self) -> None:
        """End all workers."""
        self._closed = True
        for worker in tuple(self._workers):
            worker.kill()

    def _take(self) -> Worker | None:
        """The next idle worker; None if there is none within a second."""
        try:
            worker = self._idle.get(timeout=1)
        except queue.Empty:
            return None
        if worker.is_alive:
            return worker
        self._settle(worker)  # ended while it was idle
        return None

    def _settle(self, worker: Worker) -> None:
        threading.Thread(target=self._give_back, args=(worker, ), name='mmavs-settle', daemon=True).start()

    def _add(self) -> Worker:
        worker = Worker(self)
        self._workers.add(worker)
        return worker

    def _give_back(self, worker: Worker) -> None:
        """Make a worker idle again, or replace it."""
        while not worker.settle() and not self._closed:
            self._workers.discard(worker)
            worker = self._add()
            try:
                worker.wait_until_ready()
                break
            except ValueError as error:
                print(f'a worker cannot be replaced: {error}', flush=True)
                time.sleep(GRACE)
        self._idle.put(worker)


def process_memory(pid: int) -> int:
    """Bytes of memory that a process uses; 0 where the system does not say, or when it has ended."""
    try:
        return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    except (OSError, ValueError, IndexError):
        return 0


def _make_examples(directory: Path) -> None:
    # Imported here, as below: the server itself does not need PyTorch.
    from .examples import copy_examples

    copy_examples(directory)


def _run_worker(*arguments) -> None:
    from .worker import run_worker

    run_worker(*arguments)
