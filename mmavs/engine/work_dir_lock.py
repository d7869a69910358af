"""Lock of a work directory, so that two trainings do not write into it at once."""
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from mmengine.dist import is_main_process
from mmengine.logging import print_log

LOCK, OWNER = 'training.lock', 'training.lock.json'
# Loader workers of a killed training hold its lock until they notice that it has ended.
PATIENCE = 10.0


@contextmanager
def locked_work_dir(work_dir: str | Path) -> Iterator[None]:
    """Hold the lock of a work directory in the main process.

    The system releases it when the process ends, also if it is killed: no lock is left behind. ``training.lock.json``
    names the owner. On a file system without locks there is a warning instead.

    Raises:
        ValueError: Another training has the lock; the message names its process and machine.
    """
    if not is_main_process():
        yield
        return
    work_dir = Path(work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    lock, owner = FileLock(work_dir / LOCK), work_dir / OWNER
    try:
        _acquire(lock, owner)
    except NotImplementedError:
        print_log(f'{work_dir} is on a file system without locks: do not train twice into it at once', 'current', 30)
        yield
        return
    try:
        owner.write_text(json.dumps(dict(pid=os.getpid(), host=socket.gethostname())))
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, owner: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            lock.acquire(timeout=0)
            return
        except Timeout:
            pid, host = _read_owner(owner)
            # The lock of a process that has ended is released soon.
            if host == socket.gethostname() and not _is_running(pid) and time.monotonic() < end:
                time.sleep(0.1)
                continue
            raise ValueError(f'{owner.parent}: process {pid} on {host} trains into this directory. Wait until it has '
                             'ended, end it, or choose another directory with --work-dir') from None


def _read_owner(owner: Path) -> tuple[int | str, str]:
    try:
        stated = json.loads(owner.read_text())
        return int(stated['pid']), str(stated['host'])
    except (OSError, ValueError, KeyError, TypeError):
        return '(unknown)', '(unknown)'


def _is_running(pid: int | str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        pass  # another user's
    return True
