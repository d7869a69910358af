"""Progress bars of the library."""
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar('T')


def track_progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a progress bar on stderr, if that is a terminal.

    Args:
        items: The items to iterate over.
        description: Text before the bar.
        total: Number of items; None: the length of ``items``.
    """
    console = Console(stderr=True)
    return iter(track(items, description, total, console=console, disable=not console.is_terminal))
