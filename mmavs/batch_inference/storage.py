"""Files on local disks and on all file systems that fsspec knows, such as ``s3://bucket/directory``."""
from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmavs.utils.files import atomic_write
from mmavs.utils.optional_packages import optional_import
from mmavs.utils.partial_paths import PARTIAL

PURPOSE = 'reading and writing lists of videos'
# Protocols that FFmpeg reads in parts, so the video need not be downloaded first.
STREAMED = ('ftp', 'http', 'https')
# Protocols of file systems whose files appear when they are complete.
OBJECT_STORES = {'abfs', 'az', 'gcs', 'gs', 'memory', 'oss', 's3', 's3a'}
# Files that are read at once.
READ_AT_ONCE = 1000


def is_stored(path: str) -> bool:
    """Check if a path is a URL that fsspec opens, and not FFmpeg."""
    scheme = path.partition('://')[0]
    if scheme == path or os.path.exists(path):
        return False
    scheme = scheme.partition('::')[0]
    fsspec = optional_import('fsspec', PURPOSE)
    return scheme not in STREAMED and scheme in fsspec.available_protocols()


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Name the URL in the errors of a file system, whose classes and messages differ from one to the other.

    Raises:
        ImportError: The package of the file system is not installed.
        FileNotFoundError, OSError: It cannot be read or written.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(f'{url}: its file system needs a package that is not installed: pip install, then the '
                          f'package of this message: {error}') from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{url}: no such file or bucket') from error
    except Exception as error:
        raise OSError(f'{url}: cannot be read or written ({type(error).__name__}: {error})') from error


class Storage:
    """A directory, whose files are named relative to it.

    Args:
        root: A local path, or a URL of a file system of fsspec.

    Attributes:
        local: The directory if it is a local one, else None.

    Raises:
        ImportError, OSError: The file system cannot be used.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip('/') or root
        with storage_errors(root):
            self._fs, self._path = optional_import('fsspec.core', PURPOSE).url_to_fs(self.root)
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else {*self._fs.protocol}
        self.local = Path(self._path) if 'file' in protocols else None
        self._is_object_store = bool(protocols & OBJECT_STORES)

    def read(self, name: str) -> bytes | None:
        """Content of a file; None if it does not exist."""
        path = self._join(name)
        with storage_errors(f'{self.root}/{name}'):
            # Listings may be cached, and another machine may have written the file since.
            self._fs.invalidate_cache()
            try:
                return self._fs.cat_file(path)
            except FileNotFoundError:
                return None

    def read_directory(self, name: str, suffix: str) -> list[bytes]:
        """Content of all files of a directory with a suffix; of none if it does not exist."""
        path = self._join(name)
        with storage_errors(f'{self.root}/{name}'):
            self._fs.invalidate_cache()
            paths = [found for found in self._fs.find(path) if found.endswith(suffix)]
            contents = []
            for start in range(0, len(paths), READ_AT_ONCE):
                found = self._fs.cat(paths[start:start + READ_AT_ONCE])
                contents += found.values() if isinstance(found, dict) else [found]
            return contents

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically."""
        if self.local is not None:
            with atomic_write(self.local / name) as partial:
                partial.write_bytes(content)
            return
        with storage_errors(f'{self.root}/{name}'):
            self._write_remote(self._join(name), content)

    def put(self, directory: Path, name: str) -> None:
        """Copy the content of a local directory to one of the storage.

        What is there under the name of a file or directory of the content is replaced. Each file appears when it is
        complete, but not all of them at once: what tells that the directory is complete is to be written afterwards.
        """
        for entry in sorted(directory.iterdir()):
            with storage_errors(f'{self.root}/{name}/{entry.name}'):
                target = self._join(f'{name}/{entry.name}')
                if entry.is_dir():
                    self._fs.invalidate_cache()
                    if self._fs.exists(target):
                        self._fs.rm(target, recursive=True)
                    for file in sorted(file for file in entry.rglob('*') if file.is_file()):
                        self._put_file(file, f'{target}/{file.relative_to(entry).as_posix()}')
                else:
                    self._put_file(entry, target)

    def _put_file(self, file: Path, target: str) -> None:
        if self._is_object_store:
            self._fs.put_file(str(file), target)
            return
        self._fs.makedirs(target.rpartition('/')[0], exist_ok=True)
        self._fs.put_file(str(file), target + PARTIAL)
        self._fs.mv(target + PARTIAL, target)

    def _write_remote(self, target: str, content: bytes) -> None:
        if self._is_object_store:
            self._fs.pipe_file(target, content)
            return
        self._fs.makedirs(target.rpartition('/')[0], exist_ok=True)
        self._fs.pipe_file(target + PARTIAL, content)
        self._fs.mv(target + PARTIAL, target)

    def _join(self, name: str) -> str:
        return f'{self._path}/{name}'


@contextmanager
def local_video(video: str) -> Iterator[str]:
    """Yield a path that FFmpeg opens: the video itself, or a temporary copy of one that only fsspec opens.

    Raises:
        ImportError, OSError: It cannot be read; names the URL.
    """
    if not is_stored(video):
        yield video
        return
    with tempfile.TemporaryDirectory(prefix='mmavs-video-') as directory:
        with storage_errors(video):
            fs, path = optional_import('fsspec.core', PURPOSE).url_to_fs(video)
            copy = Path(directory, Path(path).name or 'video')
            fs.get_file(path, str(copy))
        yield str(copy)
