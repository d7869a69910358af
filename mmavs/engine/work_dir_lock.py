"""Lock of a work directory, so that two trainings do not write into it at once."""
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.dist import is_main_process

from mmavs.utils.directory_lock import locked_directory

LOCK = 'training.lock'


@contextmanager
def locked_work_dir(work_dir: str | Path) -> Iterator[None]:
    """Hold the lock of a work directory in the main process; see :func:`mmavs.utils.directory_lock.locked_directory`.

    ``training.lock.json`` names the owner.

    Raises:
        ValueError: Another training has the lock; the message names its process and machine.
    """
    if not is_main_process():
        yield
        return
    with locked_directory(Path(work_dir, LOCK), f'trains into {work_dir}', 'choose another directory with --work-dir'):
        yield
