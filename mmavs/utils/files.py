"""Write files atomically, and digest them."""
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PARTIAL = '.partial'


def stream_sha256(file: BinaryIO) -> str:
    """Return the SHA-256 of an open file, from its position to its end, in hexadecimal."""
    digest = hashlib.sha256()
    while block := file.read(2**20):
        digest.update(block)
    return digest.hexdigest()


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write a file atomically: readers see either the old or the new content.

    Yields:
        Path to write to, beside ``path``, whose directory is made. The file moves to ``path`` at the end; after an
        error it is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
