"""Write several outputs of a video at once, each in a thread, while the model predicts."""
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import Full, Queue
from threading import Thread

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
        super().__init__(daemon=True)
        self.error: BaseException | None = None
        self._consumer = consumer
        # One chunk waits while another is written: memory is bounded.
        self._queue: Queue = Queue(1)

    def run(self) -> None:
        try:
            self._consumer(self._chunks())
        except _AbortedError:
            pass
        except BaseException as error:  # raised again by run_pipeline
            self.error = error

    def put(self, item: VideoChunk | BaseException | None) -> None:
        """Hand over a chunk, None at the end, or an exception; waits for the consumer."""
        while self.is_alive():
            try:
                return self._queue.put(item, timeout=0.1)
            except Full:
                continue

    def _chunks(self) -> Iterator[VideoChunk]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item


def run_pipeline(chunks: Iterator[VideoChunk], consumers: Sequence[Consumer]) -> None:
    """Hand each chunk to all consumers, which work in parallel with what makes the chunks.

    Raises:
        Exception: Of the chunks or of a consumer; the other consumers are then aborted, and leave nothing.
    """
    threads = [_ConsumerThread(consumer) for consumer in consumers]
    for thread in threads:
        thread.start()
    end = _AbortedError()
    try:
        for chunk in chunks:
            for thread in threads:
                thread.put(chunk)
            if any(thread.error for thread in threads):
                break
        else:
            end = None
    finally:
        for thread in threads:
            thread.put(end)
        for thread in threads:
            thread.join()
    for thread in threads:
        if thread.error:
            raise thread.error
