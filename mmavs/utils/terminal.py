"""Keep messages of other libraries off the terminal that a user of mmavs cannot act on."""
import io
import logging
import warnings
from contextlib import redirect_stdout

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


def concerns_user(record: logging.LogRecord) -> bool:
    """Return False for deprecations that only the libraries can mend; a filter for loggers."""
    return not record.getMessage().startswith(DEPRECATIONS)
