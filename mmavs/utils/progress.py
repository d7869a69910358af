"""Progress on stderr: a bar with the time left on a terminal, lines elsewhere."""
from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar('T')
#: Seconds in which a short loop finishes without a line in a log.
QUIET_SECONDS = 10


class ProgressReport:
    """Progress of work on stderr: a bar with the time left on a terminal, elsewhere a line each 10 %.

    Args:
        description: Text before the bar.
        total: Amount of work.
        quiet_seconds: Elsewhere, no line comes in the first seconds.
    """

    def __init__(self, description: str, total: float, quiet_seconds: float = 0) -> None:
        self.total, self._description, self._quiet_seconds = total, description, quiet_seconds
        console = Console(stderr=True)
        self._bar = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn('{task.description}', markup=False), BarColumn(), TaskProgressColumn(), TextColumn('left'),
                TimeRemainingColumn(), TextColumn('elapsed'), TimeElapsedColumn(), console=console)
            self._task = self._bar.add_task(description, total=total)

    def __enter__(self) -> ProgressReport:
        self._begin, self._tenths = time.monotonic(), 0
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, completed: float, description: str | None = None) -> None:
        """Report the work that is completed, of ``total``.

        Args:
            completed: The amount.
            description: New text before the bar; lines do not have it.
        """
        if self._bar is not None:
            self._bar.update(self._task, completed=completed, description=description)
            return
        elapsed = time.monotonic() - self._begin
        done = min(1.0, completed / self.total) if self.total else 1.0
        tenths = int(10 * done + 1e-9)
        if tenths > self._tenths and elapsed >= self._quiet_seconds:
            self._tenths = tenths
            left = timedelta(seconds=round(elapsed / done - elapsed))
            print(f'{self._description}: {10 * tenths} %, {left} left', file=sys.stderr, flush=True)


def item_progress(update: Callable[[float], None], number: int) -> Callable[[float, float | None], None]:
    """Return the function that reports the progress of one item of several, in seconds of a duration.

    Args:
        update: Called with the number of items that are done, with fractions.
        number: Items before this one.
    """
    return lambda seconds, duration: update(number + (min(1.0, seconds / duration) if duration else 0.0))


def track_progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a :class:`ProgressReport`, which writes no lines for loops of less than 10 seconds.

    Args:
        items: The items to iterate over.
        description: Text before the bar.
        total: Number of items; None: the length of ``items``, or no progress if they have none.
    """
    if total is None and not hasattr(items, '__len__'):
        yield from items
        return
    with ProgressReport(description, len(items) if total is None else total, QUIET_SECONDS) as report:
        for count, item in enumerate(items, 1):
            yield item
            report.update(count)
