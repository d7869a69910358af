"""Iterate in a thread that is some items ahead, so that reading and predicting overlap."""
from collections.abc import Iterable, Iterator
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar('T')
_END = object()


class _Failure:
    """The exception that ended the items."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def read_ahead(items: Iterable[T], depth: int) -> Iterator[T]:
    """Yield the items, which a thread takes before they are asked for.

    The thread starts with the first item that is asked for. It ends with the items, with their exception, or when this
    generator is closed: then it closes the items, if they are a generator, and is joined.

    Args:
        items: The items; all their code runs in the thread.
        depth: Items that wait at most. Two more exist: the one that is being made, and the one that is in use.

    Raises:
        Exception: Of the items, where they end.
    """
    queue: Queue = Queue(depth)
    stopped, ended = Event(), Event()

    def put(item: object) -> bool:
        while not stopped.is_set():
            try:
                queue.put(item, timeout=0.1)
                return True
            except Full:
                continue
        return False

    def read() -> None:
        try:
            for item in items:
                if not put(item):
                    break
            if hasattr(items, 'close'):
                items.close()
            put(_END)
        except BaseException as error:  # raised again where the items are used
            put(_Failure(error))
        finally:
            ended.set()

    thread = Thread(target=read, name='mmavs-read-ahead', daemon=True)
    thread.start()
    try:
        while (item := queue.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item
    finally:
        stopped.set()
        # Before Python 3.13, Ctrl-C in Thread.join marks a running thread as ended.
        ended.wait()
        thread.join()
