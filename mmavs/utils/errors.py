"""Print user errors as one line; let programming errors raise a traceback."""
import functools
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .files import DISK_ERRORS

PACKAGE = str(Path(__file__).parents[1])
# Classes of the errors that mmavs raises, with a message for the user, where data and configs enter.
USER_ERRORS = (ValueError, TypeError, OSError, ImportError, pickle.UnpicklingError)
# Exit status of a program that Ctrl-C has ended: 128 + SIGINT, as shells report it.
INTERRUPTED = 130


class DivergedError(ValueError):
    """Losses, gradients or predictions of a training are NaN or infinite; the message says where."""


class DataError(ValueError):
    """User error in a worker of a data loader, for example a damaged file; carries the message of the original error.

    PyTorch raises it again in the main process from its class and its formatted traceback only. The traceback ends with
    the class and the message, of which the message is kept.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f'{__name__}.{type(self).__qualname__}: ')[2].rstrip())


@contextmanager
def cli_errors() -> Iterator[None]:
    """Exit with ``error: MESSAGE`` for a user error, see :func:`user_message`; other errors keep their traceback.

    The messages name the file, key or library, what was found and what is expected; a traceback would bury them.
    Ctrl-C prints ``interrupted`` and exits with status 130.
    """
    try:
        yield
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(INTERRUPTED)
    except USER_ERRORS as error:
        message = user_message(error)
        if message is None:
            raise
        sys.exit(f'error: {printable(message)}')


def printable(message: str) -> str:
    """Escape control characters in a message, except newlines: names in a file could command the terminal."""
    return ''.join(x if x.isprintable() or x == '\n' else ascii(x)[1:-1] for x in message)


def worker_errors(load: Callable) -> Callable:
    """Decorate a function that loads a clip: user errors leave a worker of a data loader as a :class:`DataError`."""

    @functools.wraps(load)
    def load_in_worker(*args, **kwargs):
        try:
            return load(*args, **kwargs)
        except USER_ERRORS as error:
            # Not at the top of the file: the command line imports it, and importing PyTorch takes seconds.
            from torch.utils.data import get_worker_info

            message = user_message(error)
            if get_worker_info() is None or message is None or isinstance(error, DataError):
                raise
            raise DataError(message) from error

    return load_in_worker


def user_message(error: Exception) -> str | None:
    """Return the message of a user error, None for an error of the program.

    User errors are those that a ``raise`` statement of mmavs raised, the system's errors about a file (no permission,
    disk full), whose messages name it, and the errors of MMEngine and MMPretrain that say how to install a package.
    """
    if isinstance(error, ImportError) and 'pip install' in str(error):
        return ' '.join(str(error).split())
    if isinstance(error, DataError) or getattr(error, 'filename', None):
        return str(error)
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return f'{error}: a file, or the standard output, cannot be written'
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    is_ours = innermost.filename.startswith(PACKAGE) and innermost.line.startswith('raise ')
    return str(error) if is_ours else None
