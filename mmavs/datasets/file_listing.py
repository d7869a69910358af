"""List the clips of a CSV file and the files of a directory."""
import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

from mmavs.audio.io import AUDIO_SUFFIXES
from mmavs.utils.files import MAX_NAME, atomic_write, read_text, stays_below
from mmavs.utils.images import IMAGE_SUFFIXES

# Keys of a clip that name audio files; a loading transform names the one that it reads.
AUDIO_KEYS = ('audio_path', 'log_mel_path', 'audio_paths')


class DirectoryNames:
    """Names of the files in a directory.

    Args:
        names: The names, sorted.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = names

    @cached_property
    def by_stem(self) -> dict[str, list[str]]:
        """The names by their stem."""
        names: dict[str, list[str]] = {}
        for name in self.names:
            names.setdefault(_stem(name), []).append(name)
        return names

    @cached_property
    def unique(self) -> frozenset[str]:
        """The names with a stem that no other has."""
        return frozenset([names[0] for names in self.by_stem.values() if len(names) == 1])

    @cached_property
    def images(self) -> list[str]:
        """The names with the suffix of an image."""
        return [name for name in self.names if name.lower().endswith(IMAGE_SUFFIXES)]


# The directories of most clips of a dataset hold the same names, which are analyzed once.
_directory_names = lru_cache(maxsize=256)(DirectoryNames)


def _stem(name: str) -> str:
    """A name that does not begin with a dot, without its suffix."""
    return name.rpartition('.')[0] or name


# A function from a directory to the names in it: list_directory, or a cached version of it.
Listing = Callable[[str], DirectoryNames]


def read_csv(path: str | Path, columns: Iterable[str], advice: str = 'add what is missing') -> list[dict]:
    """Read a CSV file with a header.

    Args:
        path: The file.
        columns: Columns that it must have.
        advice: What to do if it lacks one, for the message.

    Returns:
        One dict per row, with the values stripped of blanks, '' where the row ends before a column.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not text, a column is missing or repeated, or a row has no value in one of ``columns``.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such file, expected the list of clips; is data_root right?')
    text = read_text(path, 'a CSV file')
    if '\0' in text:
        line = text.partition('\0')[0].count('\n') + 1
        raise ValueError(f'{path}: line {line} holds a NUL byte, expected a CSV file: write it again')
    with io.StringIO(text, newline='') as file:
        reader = _rows(file, path)
        line, header = next(reader, (0, []))
        header = [name.strip() for name in header]
        missing = [name for name in columns if name not in header]
        repeated = [name for name in columns if header.count(name) > 1]
        if repeated:
            raise ValueError(f'{path}: several columns are called {repeated[0]!r}, expected one')
        if missing:
            raise ValueError(f"{path}: no column {', '.join(map(repr, missing))}, found {', '.join(header) or 'none'}; "
                             f'{advice}')
        rows = []
        for line, values in reader:
            if not any(values):
                continue
            row = dict.fromkeys(header, '') | dict(zip(header, (value.strip() for value in values)))
            for name in columns:
                if not row.get(name):
                    raise ValueError(f'{path}: line {line} has no value in the column {name!r}')
            rows.append(row)
    return rows


def _rows(file: io.StringIO, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the last line, and the values, of each row of a CSV file."""
    reader = csv.reader(file)
    try:
        for values in reader:
            yield reader.line_num, values
    except csv.Error as error:  # a field of more than 131072 characters: a quote that is not closed
        raise ValueError(f'{path}: line {reader.line_num} cannot be read ({error}), expected a CSV file: is a quote '
                         'not closed?') from error


def check_names(rows: Iterable[Mapping[str, str]], columns: Iterable[str], path: str | Path) -> None:
    """Raise a ValueError if a value, of which paths are made, is not a plain relative path; empty ones are left out.

    Args:
        rows: Rows of a list of clips.
        columns: Columns whose values become parts of paths: of files that are read, and of results that are written.
        path: The list, for the message.
    """
    columns = tuple(columns)
    for row in rows:
        for column in columns:
            value = row.get(column)
            if value and not stays_below(value):
                raise ValueError(f'{path}: {column} is {value!r}, expected a name that stays in its directory: a '
                                 "relative path without '..', '.', '//', backslashes and control characters, whose "
                                 f'parts have at most {MAX_NAME} bytes')


def write_csv(path: str | Path, rows: Iterable[dict], columns: Iterable[str]) -> None:
    """Write a CSV file with a header, atomically.

    Args:
        path: The file.
        rows: Values by column; a key that is not a column is a ValueError.
        columns: Columns in their order.
    """
    with atomic_write(path) as partial, open(partial, 'w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, columns, lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)


def list_directory(directory: str) -> DirectoryNames:
    """List the names in a directory; empty if there is no such directory.

    Hidden names, which begin with a dot, are left out: macOS puts a ``._NAME`` beside every file on some disks.
    """
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        names = []
    return _directory_names(tuple(sorted([name for name in names if name[0] != '.'])))


def all_unique(paths: list[str], listing: Listing) -> bool:
    """Check if files of one directory are all there, each the only one with its stem.

    For nearly all clips this is the whole check, at a fraction of the cost of :func:`candidates`: datasets have up to a
    million files. False also if they are not in one directory.
    """
    if not paths:
        return True
    directory, name = os.path.split(paths[0])
    prefix = paths[0].removesuffix(name)
    return listing(directory).unique.issuperset([path.removeprefix(prefix) for path in paths])


def exists(path: str, listing: Listing) -> bool:
    """Check if a file is in the listing of its directory. The disk is read once per directory, not per file."""
    directory, name = os.path.split(path)
    names = listing(directory)
    return name in names.unique or name in names.names


def candidates(path: str, listing: Listing) -> list[str]:
    """List the files that can stand for a file of a layout: the same name with any suffix of an image or of audio.

    Args:
        path: A file with the suffix of the layout, such as ``frames/0.jpg``. If that is the suffix of neither an image
            nor audio (``audio.pkl``), only the file itself counts.
        listing: See :func:`list_directory`.
    """
    directory, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    names = listing(directory).by_stem.get(stem, ())
    suffixes = _interchangeable_suffixes(suffix)
    return [os.path.join(directory, other) for other in names if os.path.splitext(other)[1].lower() in suffixes]


@lru_cache
def _interchangeable_suffixes(suffix: str) -> frozenset[str]:
    return frozenset(next((group for group in (IMAGE_SUFFIXES, AUDIO_SUFFIXES) if suffix.lower() in group), (suffix, )))


def describe_missing(path: str, listing: Listing) -> str:
    """Message on a file without exactly one candidate: what was found, and what is expected."""
    found = [os.path.basename(other) for other in candidates(path, listing)]
    if found:
        return (f"{path} is not unique: found {' and '.join(found)}, expected one of them; remove the others or move "
                'them elsewhere')
    directory, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    others = listing(directory).by_stem.get(stem, ())
    unread = f"; found {', '.join(others)}, which is not in a format that is read" if others else ''
    return f'{path} is missing{unread}'


def existing_path(path: str, listing: Listing) -> str:
    """The one candidate for a file of a layout; the path itself if there is none or several."""
    if all_unique([path], listing):
        return path
    found = candidates(path, listing)
    return found[0] if len(found) == 1 else path


def audio_files(clip: dict, key: str) -> list[str]:
    """List the files of a clip under one of the ``AUDIO_KEYS``; empty if the dataset has no audio of that kind."""
    files = clip.get(key)
    return [files] if isinstance(files, str) else list(files or ())
