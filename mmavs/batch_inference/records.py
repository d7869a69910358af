"""Records of the videos of a run, and the manifest, the table of them."""
from __future__ import annotations

import hashlib
import io
import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from mmavs.utils.directory_lock import locked_directory
from mmavs.utils.optional_packages import optional_import

from .options import SegmentOptions
from .storage import PURPOSE, Storage

#: Table of the videos in the directory of the results.
MANIFEST = 'manifest.parquet'
#: Directory, in that of the results, of the state of the run.
RUN = '_run'


@dataclass
class VideoRecord:
    """State of a video of a run, a row of the manifest.

    Attributes:
        video: Path or URL.
        name: Directory of its results, in that of all results.
        status: 'segmented'; 'failed'; 'running' in a worker, which may have ended since; 'interrupted' by the user;
            'pending' if it was not begun.
        files: Its results, relative to the directory of all results.
        error: Reason of a failure.
        seconds: Time that it took.
        attempts: Times that a worker has begun it; above 1 if a process ended meanwhile.
        worker: Host and process id of the last of them.
    """
    video: str
    name: str
    status: str = 'pending'
    files: list[str] = field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0
    attempts: int = 0
    worker: str | None = None

    def begin(self) -> VideoRecord:
        """Record that this process begins the video."""
        self.status, self.attempts, self.worker = 'running', self.attempts + 1, f'{socket.gethostname()}:{os.getpid()}'
        return self


class ResultDirectory:
    """Directory of the results of many videos, their records and their manifest.

    A record is written when its video begins, and when all its results are complete. It decides whether a video is
    done: after the end of a process, in the middle of a video or of an upload, that video is done again, and no other.

    Args:
        root: A local path, or a URL of a file system of fsspec.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._storage = Storage(root)

    def locked(self):
        """Context in which no other process on this file system runs into a local directory."""
        local = self._storage.local
        if local is None:
            return nullcontext()
        return locked_directory(local / RUN / 'lock', f'segments videos into {self.root}', 'choose another --out')

    def check_settings(self, options: SegmentOptions) -> None:
        """Store the options of a new run; compare those of a run that goes on with the earlier ones.

        Raises:
            ValueError: They differ: its results would be of two kinds.
        """
        content, name, settings = self._storage.read(f'{RUN}/settings.json'), f'{RUN}/settings.json', None
        if content is not None:
            settings = self._parse(content, name)
            for key, value in options.result_settings().items():
                if settings.get(key) != value:
                    raise ValueError(f'{self.root}: its results have {key} {settings.get(key)}, not {value}: use the '
                                     'same options to go on with that run, or another directory with --out')
        else:
            self._storage.write(name, json.dumps(options.result_settings(), indent=1).encode())

    def read_records(self) -> dict[str, VideoRecord]:
        """All records, by the names of their results."""
        contents = self._storage.read_directory(f'{RUN}/records', '.json')
        records = [VideoRecord(**self._parse(content, f'{RUN}/records')) for content in contents]
        return {record.name: record for record in records}

    def read_record(self, name: str) -> VideoRecord | None:
        """The record of a video; None if it was never begun."""
        content = self._storage.read(_record_file(name))
        return None if content is None else VideoRecord(**self._parse(content, _record_file(name)))

    def write_record(self, record: VideoRecord) -> None:
        """Write the record of a video atomically."""
        self._storage.write(_record_file(record.name), json.dumps(asdict(record)).encode())

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a local directory for the results of a video; at the end, all of them are in their place.

        An error leaves nothing of another file system's directory. A local directory holds what was complete.
        """
        if self._storage.local is not None:
            yield self._storage.local / name
            return
        with TemporaryDirectory(prefix='mmavs-results-') as directory:
            target = Path(directory, 'results')
            yield target
            if target.is_dir():
                self._storage.put(target, name)

    def write_manifest(self, records: Iterable[VideoRecord], options: SegmentOptions) -> None:
        """Write the manifest atomically: a Parquet file with a row for each record, and the options as metadata."""
        pa = optional_import('pyarrow', PURPOSE)
        pq = optional_import('pyarrow.parquet', PURPOSE)
        schema = pa.schema([
            ('video', pa.string()), ('name', pa.string()), ('status', pa.string()), ('files', pa.list_(pa.string())),
            ('error', pa.string()), ('seconds', pa.float64()), ('attempts', pa.int32()), ('worker', pa.string())],
            metadata={f'mmavs.{key}': value for key, value in options.result_settings().items()})
        table = pa.Table.from_pylist([asdict(record) for record in records], schema)
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        self._storage.write(MANIFEST, buffer.getvalue())

    def _parse(self, content: bytes, name: str) -> dict:
        try:
            return dict(json.loads(content))
        except (ValueError, TypeError) as error:
            raise ValueError(f'{self.root}/{name}: is damaged ({error}), expected a file of mmavs infer --list: remove '
                             f'the directory {RUN} to begin anew') from error


def _record_file(name: str) -> str:
    # Names have slashes and any characters; a digest is a name on every file system.
    return f'{RUN}/records/{hashlib.sha256(name.encode()).hexdigest()[:32]}.json'
