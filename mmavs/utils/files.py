"""Write files atomically, digest them, and tell names that stay in their directory."""
import hashlib
import os
import tempfile
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


def check_writable(path: str | Path) -> None:
    """Raise an OSError, which names the file, if it cannot be written; its directory is made.

    Call it before work that takes long: a result that cannot be written is lost.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f'{path}: is a directory, expected the name of a file')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Permissions do not say it all: a file system may be read-only or full.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f'.{path.name}.', suffix=PARTIAL) as file:
            file.write(b' ')
    except OSError as error:
        raise OSError(f'{path}: cannot be written ({error.strerror}), expected the path of a file that can') from error


def stays_below(name: str) -> bool:
    """Whether a name from a list is a plain relative path, which stays below the directory that it is joined to.

    Parts are separated by '/'. Absolute paths, empty parts, '.' and '..', backslashes (separators on Windows) and
    control characters are refused: one path would have several names, or lead elsewhere.
    """
    return not (set(name.split('/')) & {'', '.', '..'} or '\\' in name or any(character < ' ' for character in name))


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
