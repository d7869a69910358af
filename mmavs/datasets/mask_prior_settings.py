"""The settings with which the mask priors of a directory were made, in a JSON file beside them."""
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmavs.utils.json_files import read_json, to_json

from .mask_priors import PRIOR_SUFFIX

SETTINGS_FILE = 'mask_priors.json'
FORMAT = 'mmavs mask priors 1'


def read_settings(directory: str | Path) -> dict[str, Any] | None:
    """Read the settings of a directory; None if it has none, as those of the authors.

    Raises:
        ValueError: The file is damaged or of another format.
    """
    path = Path(directory, SETTINGS_FILE)
    try:
        content = read_json(path, 'the settings of mask priors')
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f'{error}; the settings of the mask priors beside it are not known: write to another '
                         'directory') from error
    if not isinstance(content, dict) or content.get('format') != FORMAT or not isinstance(
            content.get('settings'), dict):
        raise ValueError(f'{path}: expected the settings of mask priors, format {FORMAT!r}')
    return content['settings']


def claim_directory(directory: str | Path, settings: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
    """Record the settings of a directory of mask priors, or check that they are those that it has.

    Args:
        directory: The directory; it is made if it is missing.
        settings: What decides the content of the mask priors.
        notes: What is recorded beside them but may differ, such as the name of the model.

    Raises:
        ValueError: The mask priors in it were made with other settings, or by other programs.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / SETTINGS_FILE).exists():
        stranger = next(directory.rglob(f'*{PRIOR_SUFFIX}'), None)
        if stranger is not None:
            raise ValueError(f'{directory}: holds mask priors of unknown settings, such as {stranger.name}: write to '
                             'another directory, to keep both apart')
        # Several shards may begin at once: each writes a file of its own, the last one stays, all compare with it.
        partial = directory / f'{SETTINGS_FILE}.{os.getpid()}'
        content = dict(format=FORMAT, settings=settings, notes=notes)
        partial.write_text(to_json(content) + '\n', encoding='utf-8')
        os.replace(partial, directory / SETTINGS_FILE)
    found, wanted = read_settings(directory), json.loads(to_json(settings))
    different = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    if different:
        changes = ', '.join(f'{key} {found.get(key)!r}, now {wanted.get(key)!r}' for key in different)
        raise ValueError(f'{directory / SETTINGS_FILE}: the mask priors were made with other settings ({changes}): '
                         'write to another directory, or remove this one')
