"""Lock of a directory, so that two processes do not write into it at once."""
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .files import errors_with_name

# Children of a killed process, such as the workers of a loader, hold its lock until they notice that it has ended.
PATIENCE = 10.0


@contextmanager
def locked_directory(lock: str | Path, activity: str, advice: str, wait: bool = False) -> Iterator[bool]:
    """Hold the lock of a directory.

    The system releases it when the process ends, also if it is killed: no lock is left behind. ``LOCK.json`` names the
    owner meanwhile. On a file system without locks there is a warning instead.

    Args:
        lock: File of the lock; its directory is made.
        activity: What the owner does, for messages: 'trains into DIRECTORY'.
        advice: What else the user can do than wait, for the message of the error.
        wait: Whether to wait for another owner, with one line that says so, instead of raising an error.

    Yields:
        Whether another process had the lock before.

    Raises:
        ValueError: Another process has the lock; the message names it and its machine.
    """
    lock = Path(lock)
    lock.parent.mkdir(parents=True, exist_ok=True)
    held, owner = FileLock(lock), lock.with_name(f'{lock.name}.json')
    try:
        waited = _acquire(held, owner, activity, advice, wait)
    except NotImplementedError:
        _warn(f'{lock.parent} is on a file system without locks: do not start a second process that {activity}')
        yield False
        return
    try:
        with errors_with_name(owner):
            owner.write_text(json.dumps(dict(pid=os.getpid(), host=socket.gethostname())))
        yield waited
    finally:
        owner.unlink(missing_ok=True)
        held.release()


def _acquire(lock: FileLock, owner: Path, activity: str, advice: str, wait: bool) -> bool:
    end, waited = time.monotonic() + PATIENCE, False
    while True:
        try:
            lock.acquire(timeout=0)
            return waited
        except Timeout:
            pid, host = _read_owner(owner)
            # The lock of a process that has ended is released soon.
            has_ended = host == socket.gethostname() and not _is_running(pid)
            if not wait and not (has_ended and time.monotonic() < end):
                raise ValueError(f'process {pid} on {host} {activity}. Wait until it has ended, end it, or '
                                 f'{advice}') from None
            if wait and not waited:
                _warn(f'process {pid} on {host} {activity}: waiting until it has ended')
            waited = True
            time.sleep(0.1)


def _warn(message: str) -> None:
    # Imported here: MMEngine imports PyTorch, which takes seconds.
    from mmengine.logging import print_log

    print_log(message, 'current', logging.WARNING)


def _read_owner(owner: Path) -> tuple[int | str, str]:
    try:
        stated = json.loads(owner.read_text())
        return int(stated['pid']), str(stated['host'])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return '(unknown)', '(unknown)'


def _is_running(pid: int | str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        pass  # another user's
    return True
