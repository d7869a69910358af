"""Keep messages that a user cannot act on off the terminal, and messages of all kinds off the data on stdout."""
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout

# Beginnings of messages that say nothing to users: deprecations that MMEngine's own checkpoint hook causes, and the
# layout that mmpretrain reports of each backbone of timm.
NOTES = ('"FileClient" will be deprecated', '"HardDiskBackend" is the alias', 'backbone out_', 'backbone feature_info')


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


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Print warnings about the input as one line, ``warning: MESSAGE``, inside of the context.

    Others, such as deprecations, keep the place in the code, which says what to change.
    """
    default = warnings.formatwarning

    def format_warning(message: Warning | str, category: type[Warning], *args, **kwargs) -> str:
        return f'warning: {message}\n' if category is UserWarning else default(message, category, *args, **kwargs)

    warnings.formatwarning = format_warning
    try:
        yield
    finally:
        warnings.formatwarning = default


def concerns_user(record: logging.LogRecord) -> bool:
    """Return False for messages of libraries that a user cannot act on; a filter for loggers."""
    return not record.getMessage().startswith(NOTES)
