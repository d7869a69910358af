"""Make many objects without collections of those that exist."""
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def frozen_garbage(collect: bool = True) -> Iterator[None]:
    """Exclude the objects that exist from garbage collection inside of the context.

    Python collects again and again while many lists and dicts are made, each time through the hundred thousands of
    objects of the imported libraries, which takes longer than making them.

    Args:
        collect: Whether objects that are made inside are still collected. False if all of them are kept: looking
            through them frees nothing.
    """
    enabled = gc.isenabled()
    freeze = not gc.get_freeze_count()  # otherwise somebody has excluded them for good
    if freeze:
        gc.freeze()
    if not collect:
        gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
        if freeze:
            gc.unfreeze()
