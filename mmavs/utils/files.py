"""Write files and directories atomically, and digest files."""
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PARTIAL = '.partial'
# The disk, or the share of a user, is full; a file has reached its greatest size.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write a file atomically: readers see either the old or the new content.

    Yields:
        Path to write to, beside ``path``, whose directory is made. The file moves to ``path`` at the end; after an
        error it is removed.

    Raises:
        OSError: The file cannot be written, for example because the disk is full; names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    try:
        with _naming(path):
            yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Write a directory atomically: it appears under its name, in place of an earlier one, when it is complete.

    Yields:
        Directory to write to, beside ``path``, which is empty. It moves to ``path`` at the end; after an error it is
        removed.

    Raises:
        OSError: As for :func:`atomic_write`.
    """
    path = Path(path)
    partial = path.with_name(path.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with _naming(path):
            yield partial
        if path.is_dir():
            shutil.rmtree(path)
        os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in errors of a full disk, which writing to an open file raises without a name."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise OSError(error.errno, f'{os.strerror(error.errno)}, while it was written', str(path)) from error
        raise
