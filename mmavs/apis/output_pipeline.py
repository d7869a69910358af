"""Write several outputs of a video at once, each in a thread, while the model predicts."""
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from queue import Full, Queue
from threading import Event, Thread

from .video_chunk import VideoChunk

#: Takes chunks until they end.
Consumer = Callable[[Iterable[VideoChunk]], None]


class _AbortedError(Exception):
    """The chunks break off: what was written of them is to be removed."""


class _ConsumerThread(Thread):
    """Thread that hands chunks to a consumer.

    Attributes:
        error: The exception that ended the consumer, or None.
    """

    def __init__(self, consumer: Consumer) -> None:
        super().__init__(name='mmavs-output', daemon=True)
        self.error: BaseException | None = None
        self._consumer = consumer
        # One chunk waits while another is written: memory is bounded.
        self._queue: Queue = Queue(1)
        self._aborted = False
        # Before Python 3.13, Ctrl-C in Thread.join marks a running thread as ended.
        self._ended = Event()

    def run(self) -> None:
        try:
            self._consumer(self._chunks())
        except _AbortedError:
            pass
        except BaseException as error:  # raised again by run_pipeline
            self.error = error
        finally:
            self._ended.set()

    def put(self, chunk: VideoChunk | None) -> None:
        """Hand over a chunk, or None at the end. Waits for the consumer; a consumer that has ended gets nothing."""
        while not self._ended.is_set():
            try:
                return self._queue.put(chunk, timeout=0.1)
            except Full:
                continue

    def abort(self) -> None:
        """Let the consumer end with an exception when it takes the next chunk; does not wait."""
        self._aborted = True
        # A consumer that waits for a chunk gets one; if the queue is full, it does not wait.
        with suppress(Full):
            self._queue.put_nowait(None)

    def wait(self) -> None:
        """Wait until the consumer has ended."""
        self._ended.wait()
        self.join()

    def _chunks(self) -> Iterator[VideoChunk]:
        while True:
            chunk = self._queue.get()
            if self._aborted:
                raise _AbortedError
            if chunk is None:
                return
            yield chunk


def run_pipeline(chunks: Iterable[VideoChunk], consumers: Sequence[Consumer]) -> None:
    """Hand each chunk to all consumers, which work in parallel with what makes the chunks.

    All threads have ended when this returns or raises, also after a KeyboardInterrupt.

    Raises:
        Exception: Of the chunks or of a consumer; the other consumers are then aborted, and leave nothing.
    """
    threads = [_ConsumerThread(consumer) for consumer in consumers]
    started: list[_ConsumerThread] = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
        for chunk in chunks:
            for thread in threads:
                thread.put(chunk)
            _raise_error(threads)
        for thread in threads:
            thread.put(None)
        for thread in threads:
            thread.wait()
        _raise_error(threads)
    except BaseException:
        for thread in started:
            thread.abort()
        for thread in started:
            thread.wait()
        raise


def _raise_error(threads: Sequence[_ConsumerThread]) -> None:
    for thread in threads:
        if thread.error:
            raise thread.error
