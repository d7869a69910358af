"""End a process when the one that has started it ends."""
import os
import signal
import sys
import threading
import time

# Seconds between two comparisons.
INTERVAL = 1.0
# Seconds that a training has to write a checkpoint.
GRACE = 60.0

_watched: int | None = None


def _note_parent() -> None:
    global _parent, _watched
    _parent, _watched = os.getppid(), None


# When the command line is imported: PyTorch takes seconds more, in which the parent may end.
_note_parent()
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_note_parent)


def end_with_parent() -> None:
    """End this process when its parent ends, also if it has ended since this module was imported.

    A launcher that is killed (SIGKILL) cannot end the processes that it has started, and they would train on. A thread
    compares the process id of the parent, which changes when the parent ends. It sends SIGTERM to this process, with
    which a training writes a checkpoint (:class:`mmavs.engine.stop_signals.StopSignalHook`), and SIGKILL after
    ``GRACE`` seconds.

    Windows keeps the id of a parent that has ended: there this has no effect.
    """
    global _watched
    if _watched != _parent:
        _watched = _parent
        threading.Thread(target=_watch, args=(_parent, ), name='watch of the launcher', daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(INTERVAL)
    print(f'the launcher (process {parent}) has ended, and process {os.getpid()} that it has started ends too',
          file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)
