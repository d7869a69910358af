"""Make many objects without collections of those that exist."""
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def frozen_garbage() -> Iterator[None]:
    """Exclude the objects that exist from garbage collection inside of the context.

    Python collects again and again while many lists and dicts are made, each time through the hundred thousands of
    objects of the imported libraries, which takes longer than making them.
    """
    if gc.get_freeze_count():  # somebody has excluded them for good
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
