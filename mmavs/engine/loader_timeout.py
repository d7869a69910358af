"""Name the worker of a data loader that delivers nothing, and end it."""
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from mmavs.utils.errors import DataError

# Letters of /proc/PID/stat.
STATES = {'T': 'is stopped (SIGSTOP)', 't': 'is stopped by a debugger', 'D': 'waits for the storage',
          'Z': 'has ended'}
# Seconds that a killed worker gets to end; one that waits for a network file system may need longer.
PATIENCE = 5.0


@contextmanager
def naming_late_worker() -> Iterator[None]:
    """Replace the error of a data loader's time-out by one that names the worker, and end its workers.

    PyTorch names none, and a stopped worker ignores the signal that is meant to end it: the program would wait for it
    when it exits.

    Raises:
        DataError: A worker has not delivered its batch in the ``timeout`` of the data loader.
    """
    try:
        yield
    except RuntimeError as error:
        iterator = _loader_iterator(error.__traceback__)
        if iterator is None or not str(error).startswith('DataLoader timed out'):
            raise
        late = _describe_late_worker(iterator)
        _end_workers(iterator)
        raise DataError(f'{late}: look at the storage of the data. If it is slow, or the run was suspended that long, '
                        'set a larger timeout in the data loader of the config, for example '
                        'train_dataloader.timeout=3600, or 0 to wait without end; --resume continues a training'
                        ) from error


def _loader_iterator(traceback: TracebackType | None) -> _MultiProcessingDataLoaderIter | None:
    """The iterator of the data loader in whose methods an error occurred."""
    while traceback is not None:
        owner = traceback.tb_frame.f_locals.get('self')
        if isinstance(owner, _MultiProcessingDataLoaderIter):
            return owner
        traceback = traceback.tb_next
    return None


def _describe_late_worker(iterator: _MultiProcessingDataLoaderIter) -> str:
    worker = iterator._task_info[iterator._rcvd_idx][0]
    pid = iterator._workers[worker].pid
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:  # not Linux
        state = ''
    return (f'worker {worker} of a data loader (process {pid}) has delivered no batch for {iterator._timeout:g} s and '
            f'{STATES.get(state, "is still running")}')


def _end_workers(iterator: _MultiProcessingDataLoaderIter) -> None:
    iterator._shutdown_workers()
    for worker in iterator._workers:
        if worker.is_alive():  # it is stopped, or the storage keeps it from ending
            worker.kill()
            worker.join(PATIENCE)
