"""Clips whose files have been checked before and have not changed since, in a file of the user's cache."""
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from mmavs.utils.cache_directory import cache_directory
from mmavs.utils.files import stream_sha256
from mmavs.utils.json_files import read_json, write_json
from mmavs.version import __version__

from .clip_dataset import ClipDataset, loading_transforms

# Raise it if the checks of a loading transform change: clips are then checked again.
FORMAT = 1
# Seconds to wait for other processes that write the file; each takes a tenth of a second.
PATIENCE = 60
# The values of attributes that state how a transform checks its files.
PLAIN = (str, int, float, bool, type(None))


class CheckedClips:
    """Cache of the clips of a dataset that passed the check of their files, with the warnings about them.

    A clip is unchanged if its entry in the dataset (paths, classes, encoding) and the size and the modification time of
    each file are the same. The cache is a file for each dataset, split and setting of the loading transforms, in
    ``checked_clips`` of :func:`mmavs.utils.cache_directory.cache_directory`. Several processes may use it at once: each
    adds its clips to those of the others. A damaged file is discarded, and a directory that cannot be written is left
    alone, both with a warning.

    Args:
        dataset: The dataset.
        directory: Another directory for the file.
        hash_content: Compare the SHA-256 of each file instead of size and time. It reads all files, but finds changes
            that keep both, and files that were only touched count as unchanged.
    """

    def __init__(self, dataset: ClipDataset, directory: str | Path | None = None, hash_content: bool = False) -> None:
        loaders = list(loading_transforms(dataset.pipeline.transforms))
        # The check of masks compares the first frame with them, whether frames are loaded or not.
        self._keys = sorted({'frame_paths', *(loader.path_key for loader in loaders)})
        self._hash_content = hash_content
        self._settings = json.dumps(
            dict(format=FORMAT, mmavs=__version__, data_root=os.path.realpath(dataset.data_root), split=dataset.split,
                 hash_content=hash_content, loaders=[_settings(loader) for loader in loaders]))
        name = hashlib.sha256(self._settings.encode()).hexdigest()[:16]
        directory = Path(directory or cache_directory() / 'checked_clips')
        self.path = directory / f'{dataset.SUBSET}_{dataset.split}-{name}.json'
        self._new: dict[str, list] = {}
        self._clips = self._read()

    def fingerprint(self, clip: dict) -> str:
        """Digest of the entry of a clip and the state of its files; take it before they are checked."""
        # The place of a clip in the list changes if another one is added.
        state = [repr({key: value for key, value in clip.items() if key != 'sample_idx'})]
        for key in self._keys:
            paths = clip.get(key)
            paths = (paths, ) if isinstance(paths, str) else paths or ()
            state += [self._file_state(path) for path in paths if path is not None]
        return hashlib.blake2b('\n'.join(state).encode(errors='surrogateescape'), digest_size=16).hexdigest()

    def find(self, clip: dict, fingerprint: str) -> list[str] | None:
        """Warnings about a clip that has been checked and is unchanged; None if it is to be checked."""
        found = self._clips.get(clip['clip_id'])
        return found[1] if found is not None and found[0] == fingerprint else None

    def add(self, clip: dict, fingerprint: str, warnings: Sequence[str]) -> None:
        """Add a clip that has passed the check."""
        self._new[clip['clip_id']] = [fingerprint, list(warnings)]

    def save(self) -> None:
        """Write the clips that were added; those that other processes have written meanwhile are kept."""
        if not self._new:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with FileLock(self.path.with_suffix('.lock'), timeout=PATIENCE):
                    self._write(self._read() | self._new)
            except (NotImplementedError, Timeout):  # no locks here: at worst, clips of others are checked once more
                self._write(self._clips | self._new)
        except OSError as error:
            print_log(f'{self.path}: the clips that were checked cannot be written ({error.strerror or error}), the '
                      "next run checks them again: set TORCH_HOME to a directory that can be written, or "
                      'CheckDataHook(cache_dir=...)', 'current', logging.WARNING)
        self._clips, self._new = self._clips | self._new, {}

    def _write(self, clips: dict[str, list]) -> None:
        write_json(self.path, dict(settings=self._settings, clips=clips), indent=None)

    def _read(self) -> dict[str, list]:
        if not self.path.exists():
            return {}
        try:
            content = read_json(self.path, 'a list of checked clips', ('settings', 'clips'))
            _require_clips(content['clips'], self.path)
            return content['clips'] if content['settings'] == self._settings else {}
        except (OSError, ValueError) as error:
            print_log(f'{error}; the file is discarded, and all clips are checked', 'current', logging.WARNING)
            return {}

    def _file_state(self, path: str) -> str:
        try:
            if self._hash_content:
                with open(path, 'rb') as file:
                    return stream_sha256(file)
            state = os.stat(path)
            return f'{state.st_size} {state.st_mtime_ns}'
        except OSError:  # the check says what is wrong
            return 'unreadable'


def _settings(loader: BaseTransform) -> dict:
    """Name of a loading transform and the attributes that state how it checks its files."""
    return dict(type=f'{type(loader).__module__}.{type(loader).__qualname__}',
                **{key: value for key, value in vars(loader).items() if _is_plain(value)})


def _is_plain(value: object) -> bool:
    return isinstance(value, PLAIN) or isinstance(value, list | tuple) and all(map(_is_plain, value))


def _require_clips(clips: object, path: Path) -> None:
    if not isinstance(clips, dict) or not all(
            isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and _is_strings(entry[1])
            for entry in clips.values()):
        raise ValueError(f'{path}: the clips are damaged, expected a fingerprint and warnings for each')


def _is_strings(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)

