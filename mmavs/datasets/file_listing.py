"""List the clips of a CSV file and the files of a directory."""
import csv
import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg')
# Keys of a clip that name audio files; a loading transform names the one that it reads.
AUDIO_KEYS = ('audio_path', 'log_mel_path', 'audio_paths')

# A function from a directory to the names in it: list_directory, or a cached version of it.
Listing = Callable[[str], frozenset[str]]


def read_csv(path: str | Path, columns: Iterable[str], advice: str = 'add what is missing') -> list[dict]:
    """Read a CSV file with a header.

    Args:
        path: The file.
        columns: Columns that it must have.
        advice: What to do if it lacks one, for the message.

    Returns:
        One dict per row, with the values stripped of blanks.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not text, a column is missing, or a row has no value in one of ``columns``.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file, expected the list of clips; is data_root right?')
    try:
        text = path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path}: not a CSV file in UTF-8 ({error})') from error
    with io.StringIO(text, newline='') as file:
        reader = csv.reader(file)
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in columns if name not in header]
        if missing:
            raise ValueError(f"{path}: no column {', '.join(map(repr, missing))}, found {', '.join(header) or 'none'}; "
                             f'{advice}')
        rows = []
        for values in reader:
            if not any(values):
                continue
            row = dict(zip(header, (value.strip() for value in values)))
            for name in columns:
                if not row.get(name):
                    raise ValueError(f'{path}: line {reader.line_num} has no value in the column {name!r}')
            rows.append(row)
    return rows


def list_directory(directory: str) -> frozenset[str]:
    """List the names in a directory; empty if there is no such directory."""
    try:
        return frozenset(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def exists(path: str, listing: Listing) -> bool:
    """Check if a file is in the listing of its directory. The disk is read once per directory, not per file."""
    directory, name = os.path.split(path)
    return name in listing(directory)


def audio_files(clip: dict, key: str) -> list[str]:
    """List the files of a clip under one of the ``AUDIO_KEYS``; empty if the dataset has no audio of that kind."""
    files = clip.get(key)
    return [files] if isinstance(files, str) else list(files or ())
