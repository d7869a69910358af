"""Files that appear under their name when they are complete."""
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = '.partial'


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write a file so that under its name lies the old content or the new one at any moment.

    Yields:
        Where to write: beside ``path``, whose folder is made. What is there moves to ``path`` at the end, unless an
        error came.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    yield partial
    os.replace(partial, path)
