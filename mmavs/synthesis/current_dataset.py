"""Recognize a synthetic dataset that is there already, by its manifest."""
from pathlib import Path

from mmavs.utils.json_files import read_json

MANIFEST = 'synthesis.json'


def is_current(directory: Path, arguments: dict, replace: bool = True) -> bool:
    """Check if the directory holds the dataset of these arguments.

    It is an error if the directory holds any other file or, unless ``replace``, the dataset of other arguments. An
    incomplete dataset, or one of an earlier version of this module, is not current.
    """
    if not directory.exists() or not any(directory.iterdir()):
        return False
    manifest = directory / MANIFEST
    if not manifest.is_file():
        raise FileExistsError(f'{directory} is not empty and has no {MANIFEST}: it was not written by this tool and is '
                              'not changed. Choose another directory or move it away.')
    try:
        found = read_json(manifest, 'the description of a synthetic dataset', ('arguments', 'num_files'))
        if not isinstance(found['num_files'], int) or not isinstance(found['arguments'], dict):
            raise ValueError(f"{manifest}: num_files is {found['num_files']!r} and arguments {found['arguments']!r}, "
                             'expected a number and an object')
    except ValueError as error:
        raise ValueError(f'{error}: the directory is not changed. Choose another one or remove it') from error
    num_files = count_files(directory)
    if num_files > found['num_files']:
        raise FileExistsError(f"{directory} has {num_files} files, but this tool wrote only {found['num_files']} of "
                              f'them, says {MANIFEST}. It is not changed. Choose another directory or move it away.')
    other = {key for key in {*found['arguments'], *arguments} - {'version'}
             if found['arguments'].get(key) != arguments.get(key)}
    if other and not replace:
        stated = ', '.join(f'{key}: {found["arguments"].get(key)!r}' for key in sorted(other))
        raise FileExistsError(f'{directory} holds another dataset than the one to be written ({stated}). It is not '
                              'replaced. Choose another directory or remove it.')
    return found['arguments'] == arguments and num_files == found['num_files']


def count_files(directory: Path) -> int:
    """Number of files below a directory."""
    return sum(path.is_file() for path in directory.rglob('*'))
