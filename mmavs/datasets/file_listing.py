"""List and look up the files of a dataset."""
import csv
import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg')


Listing = Callable[[str], frozenset[str]]


# The kinds of sound that a clip may have; transforms name the one that they read.
SOUND_KEYS = ('audio_path', 'log_mel_path', 'audio_paths')


def read_csv(path: str | Path, columns: Iterable[str], advice: str = 'add what is missing') -> list[dict]:
    """Read a CSV file with a header.

    Args:
        path: The file.
        columns: Columns that it must have.
        advice: What to do where it lacks one.

    Returns:
        One dict per row, with the values stripped of blanks.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no text, a column is missing, or a row has no value in one of ``columns``.
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


def sound_files(clip: dict, key: str) -> list[str]:
    """The files of a clip under one of the ``SOUND_KEYS``, none where the data set has no such sounds."""
    files = clip.get(key)
    return [files] if isinstance(files, str) else list(files or ())


def list_folder(folder: str) -> frozenset[str]:
    """The names in a folder; none where there is no such folder."""
    try:
        return frozenset(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def exists(path: str, listing: Listing) -> bool:
    """Whether a file is in the listing of its folder: one look at the disk per folder, not per file."""
    folder, name = os.path.split(path)
    return name in listing(folder)
