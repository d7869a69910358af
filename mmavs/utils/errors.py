"""A mistake of the user ends in one line, a mistake of the program in a traceback."""
import pickle
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE = str(Path(__file__).parents[1])
# What mmavs raises, with a message for the user, where data and configs enter.
MISTAKES = (ValueError, TypeError, OSError, ImportError, pickle.UnpicklingError)
# A file name and its line of code in a traceback; how the message behind a traceback begins.
FRAME = re.compile(r'^\s*File "(.+)", line \d+, in .+\n\s*(.*)', re.MULTILINE)
LAST = re.compile(r'^[\w.]+: ', re.MULTILINE)


@contextmanager
def cli_errors() -> Iterator[None]:
    """Exit with ``error: MESSAGE`` for a mistake (one of ``MISTAKES``) that mmavs itself raised.

    Its messages name the file, key or library, what was found and what is expected; the traceback would bury them,
    above all that of a worker of a data loader. So do the system's messages about files. All other errors keep their
    traceback.
    """
    try:
        yield
    except MISTAKES as error:
        message = _message(error)
        if message is None:
            raise
        sys.exit(f'error: {message}')


def _message(error: Exception) -> str | None:
    """What mmavs has to say about a mistake, None for errors that it did not raise."""
    text = str(error)
    if not re.match(r'Caught \w+ in \w+ worker process', text):
        innermost = traceback.extract_tb(error.__traceback__)[-1]
        ours = _is_raised_by_us(innermost.filename, innermost.line)
        # The system's own messages (no permission, disk full) name the file.
        return text if ours or getattr(error, 'filename', None) else None
    # The data loader passes on the traceback of its worker as a text.
    frames = list(FRAME.finditer(text))
    last = LAST.search(text, frames[-1].end()) if frames else None
    if last and _is_raised_by_us(frames[-1][1], frames[-1][2]):
        return text[last.end():].strip()
    return None


def _is_raised_by_us(filename: str, line: str) -> bool:
    return filename.startswith(PACKAGE) and line.startswith('raise ')
