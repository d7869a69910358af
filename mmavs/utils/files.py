"""Write files and directories atomically, digest files, order and check their names."""
import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .partial_paths import PARTIAL, partial_path

# Errors of a disk while a file is written: full, over its quota, file too large, read-only, damaged.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
# Of these, those after which no other file can be written either.
FULL_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# Lists, logs and reports of the largest datasets have some 10 MB.
MAX_TEXT = 2**30
# Bytes of a part of a name from a list. File systems take 255, of which suffixes need some.
MAX_NAME = 200
# Nearly all names in lists, which need no closer look: parts of at most 100 characters that do not begin with a dot.
PLAIN_NAME = re.compile(r'[\w-][\w.-]{,99}(/[\w-][\w.-]{,99})*', re.ASCII)


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Key that sorts by numbers in a name: text alternates with digits, which compare by value."""
    parts = re.split(r'([0-9]+)', path.name)
    return [(int(part), part) if i % 2 else (0, part) for i, part in enumerate(parts)]


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
    _check_writable(path, path.parent, 'file')


def check_writable_directory(path: str | Path) -> None:
    """Raise an OSError, which names the directory, if no file can be written into it; it is made."""
    _check_writable(Path(path), Path(path), 'directory')


def _check_writable(path: Path, directory: Path, kind: str) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Permissions do not say it all: a file system may be read-only or full.
        with tempfile.NamedTemporaryFile(dir=directory, prefix=f'.{path.name}.', suffix=PARTIAL) as file:
            file.write(b' ')
    except OSError as error:
        raise OSError(f'{path}: cannot be written ({error.strerror}), expected the path of a {kind} that '
                      'can') from error


def stays_below(name: str) -> bool:
    """Whether a name from a list is a plain relative path, which stays below the directory that it is joined to.

    Parts are separated by '/'. Absolute paths, empty parts, '.' and '..', backslashes (separators on Windows) and
    control characters are refused: one path would have several names, or lead elsewhere. Parts that are too long for
    the name of a file are, too.
    """
    if PLAIN_NAME.fullmatch(name):
        return True
    parts = name.split('/')
    return not (set(parts) & {'', '.', '..'} or '\\' in name or any(character < ' ' for character in name)
                or any(len(part.encode(errors='replace')) > MAX_NAME for part in parts))


def require_regular(path: str | Path, kind: str) -> None:
    """Raise a FileNotFoundError if there is no such file, a ValueError if it is not a regular one.

    Opening a pipe would wait forever.

    Args:
        path: The file.
        kind: What the file is, with its article, for messages.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such file, expected {kind}')
    if not path.is_file():
        raise ValueError(f'{path}: not a regular file, expected {kind}')


def read_text(path: str | Path, kind: str = 'a text file') -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Args:
        path: The file.
        kind: What the file is, with its article, for messages.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a regular file, larger than ``MAX_TEXT``, or not UTF-8.
    """
    path = Path(path)
    require_regular(path, kind)
    if path.stat().st_size > MAX_TEXT:
        raise ValueError(f'{path}: {path.stat().st_size} bytes, expected {kind} of at most {MAX_TEXT}')
    try:
        return path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path}: not {kind} in UTF-8 ({error})') from error


@contextmanager
def errors_with_name(path: str | Path) -> Iterator[None]:
    """Add the name of the file that is written to the system's errors without one, such as that of a full disk.

    ``torch.save`` to an open file hides such an error behind one of its own; it is raised here. With the name of a file
    instead of an open one it loses the error, and TorchScript's ``save`` ends the process.
    """
    try:
        yield
    except RuntimeError as error:
        hidden = error.__context__
        if isinstance(hidden, OSError) and hidden.errno in DISK_ERRORS:
            raise OSError(hidden.errno, hidden.strerror, str(path)) from error
        raise
    except OSError as error:
        if error.filename is None and (error.errno in DISK_ERRORS or isinstance(error, PermissionError)):
            error.filename = str(path)
        raise


@contextmanager
def atomic_write(path: str | Path, suffix: str = '', sync: bool = False) -> Iterator[Path]:
    """Write a file atomically: readers see either the old or the new content. Several processes may write it at once.

    Args:
        path: The file, whose directory is made.
        suffix: End of the name of the file to write to, for writers that choose the format by it.
        sync: Whether the content is on the disk before the file moves, so that a crash of the machine keeps it.

    Yields:
        Path of an empty file beside ``path`` to write to. It moves to ``path`` at the end; an error removes it.

    Raises:
        OSError: The file cannot be written, for example because the disk is full; names the file.
    """
    path = Path(path)
    with errors_with_name(path), partial_path(path, suffix=suffix) as partial:
        yield partial
        if sync:
            with open(partial, 'r+b') as file:
                os.fsync(file.fileno())
        os.replace(partial, path)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Write a directory atomically: it appears under its name, in place of an earlier one, when it is complete.

    Several processes may write it at once; the last one to finish replaces the results of the others.

    Yields:
        Empty directory beside ``path`` to write to. It moves to ``path`` at the end; after an error it is removed.

    Raises:
        OSError: As for :func:`atomic_write`.
    """
    path = Path(path)
    with errors_with_name(path), partial_path(path, directory=True) as partial:
        yield partial
        _replace_directory(partial, path)


def _replace_directory(new: Path, path: Path) -> None:
    """Move a directory to a path, in place of the one there, which takes two renames: removing it takes long."""
    while True:
        with partial_path(path, directory=True) as bin_:
            former = bin_ / path.name
            if path.is_dir():
                with suppress(FileNotFoundError):
                    os.rename(path, former)
            try:
                os.rename(new, path)
                return
            except OSError as error:
                # Another process has put a directory there in between.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    if former.exists():
                        os.rename(former, path)
                    raise

