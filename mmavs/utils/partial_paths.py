"""Names for what is being written: no two processes write under one, and what a killed process has left is reused."""
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PARTIAL = '.partial'


@contextmanager
def partial_path(path: Path, directory: bool = False, suffix: str = '') -> Iterator[Path]:
    """Yield an empty file or directory beside a path, to write to; at the end it is removed if it is still there.

    It is called ``NAME.partial``, or ``NAME.1.partial`` and so on while other processes write under these names. The
    system's lock on it tells: that of a process that has ended, also if it was killed, is free, and its name is used
    again. On a file system without locks the name is random, and what a killed process has left stays.

    Args:
        path: What is written; its directory is made.
        directory: Whether it is a directory.
        suffix: End of the name, for writers that choose the format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, descriptor = _claim(path, directory, suffix)
    try:
        yield partial
    finally:
        # Once it has moved to its place, another process may have taken the name.
        if descriptor is None or _is_at(descriptor, partial):
            _remove(partial)
        if descriptor is not None:
            os.close(descriptor)


def _claim(path: Path, directory: bool, suffix: str) -> tuple[Path, int | None]:
    """Take the first name that no other process has; return it, and the open file that holds its lock or None."""
    for number in count() if fcntl else ():
        partial = path.with_name(f"{path.name}{f'.{number}' if number else ''}{PARTIAL}{suffix}")
        try:
            descriptor = _lock(partial, directory)
        except BlockingIOError:
            continue
        except _NoLocksError:
            break
        for left in partial.iterdir() if directory else ():
            _remove(left)
        return partial, descriptor
    partial = path.with_name(f'{path.name}.{secrets.token_hex(4)}{PARTIAL}{suffix}')
    partial.mkdir() if directory else partial.touch()
    return partial, None


class _NoLocksError(Exception):
    """The file system has no locks for this kind of file."""


def _lock(partial: Path, directory: bool) -> int:
    """Open a file or directory, which is made, and lock it; a BlockingIOError if another process has the lock."""
    while True:
        if directory:
            partial.mkdir(exist_ok=True)
        try:
            descriptor = os.open(partial, os.O_RDONLY if directory else os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the process that had it has just ended
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, partial):
                if not directory:
                    os.ftruncate(descriptor, 0)
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError as error:
            os.close(descriptor)
            raise _NoLocksError from error
        os.close(descriptor)  # moved or removed before the lock was taken


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one at a path."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
