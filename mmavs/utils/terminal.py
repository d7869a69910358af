"""Keep messages that a user cannot act on off the terminal, and messages of all kinds off the data on stdout."""
import io
import logging
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext, redirect_stdout

# MMEngine's own checkpoint hook causes both.
DEPRECATIONS = ('"FileClient" will be deprecated', '"HardDiskBackend" is the alias')


def quiet_libraries() -> None:
    """Import MMSegmentation and MMPretrain without their messages about optional parts ("Could not import OneDL").

    They would print them when the first config is checked. Entry points call this before that, in each process that
    does not begin as a copy (fork) of another one.
    """
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        import mmpretrain.datasets  # noqa: F401
        import mmseg.datasets  # noqa: F401


def messages_to_stderr(enabled: bool = True) -> AbstractContextManager:
    """Print on stderr inside of the context, if enabled: what a command prints on stdout after it is data alone.

    MMEngine's loggers write to the stdout of the moment when they are made.
    """
    return redirect_stdout(sys.stderr) if enabled else nullcontext()


def concerns_user(record: logging.LogRecord) -> bool:
    """Return False for deprecations that only the libraries can mend; a filter for loggers."""
    return not record.getMessage().startswith(DEPRECATIONS)
