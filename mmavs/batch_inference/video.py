"""Segment one video of many: an error is recorded, and the others go on."""
from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mmavs.utils.errors import USER_ERRORS, user_message
from mmavs.utils.files import FULL_DISK_ERRORS

from .options import SegmentOptions
from .records import ResultDirectory, VideoRecord
from .storage import local_video

if TYPE_CHECKING:
    from mmavs.apis import AVSInferencer

#: Processes that may end while they segment a video; then it is a failure, so that the others are reached.
MAX_ATTEMPTS = 3
Progress = Callable[[float, float | None], None]


def segment_video(inferencer: AVSInferencer,
                  record: VideoRecord,
                  target: Path,
                  options: SegmentOptions,
                  on_progress: Progress | None = None,
                  path: str | None = None) -> None:
    """Segment a video, and fill in its record; a video that cannot be used is a failure with the reason.

    Args:
        inferencer: The inferencer.
        record: The record of the video, changed in place; its ``files`` are below ``target``.
        target: Directory of the results of this video; removed if it is empty.
        options: Outputs, rate and batch size.
        on_progress: As for :meth:`mmavs.apis.AVSInferencer.write`.
        path: The file to read; None: that of the record.

    Raises:
        OSError: The disk is full; the results of other videos cannot be written either.
        Exception: An error of the program.
    """
    begin, path = time.monotonic(), path or record.video
    record.status = 'interrupted'
    try:
        paths = inferencer.write(path, target, options.outputs, options.fps, options.batch_size, on_progress)
        record.status, record.files = 'segmented', list(map(str, paths))
    except USER_ERRORS as error:
        message = user_message(error)
        if message is None:
            raise
        record.status, record.error = 'failed', message.replace(path, record.video)
        if isinstance(error, OSError) and error.errno in FULL_DISK_ERRORS:
            raise
    finally:
        if target.is_dir() and not any(target.iterdir()):
            target.rmdir()
        record.seconds = round(time.monotonic() - begin, 3)


def segment_listed(inferencer: AVSInferencer,
                   results: ResultDirectory,
                   video: str,
                   name: str,
                   options: SegmentOptions,
                   on_progress: Progress | None = None) -> VideoRecord:
    """Segment a video of a list, unless its record says that this was done, and write its record.

    Errors of the program are recorded as well: one odd video does not end a run over thousands.

    Args:
        inferencer: The inferencer.
        results: Directory of the results of all videos.
        video: Path or URL of the video.
        name: Name of its results.
        options: Outputs, rate and batch size.
        on_progress: As for :meth:`mmavs.apis.AVSInferencer.write`.

    Raises:
        OSError: The disk is full, or the directory of the results cannot be written.
    """
    earlier = results.read_record(name)
    if is_done(earlier, video):
        return earlier
    running = earlier is not None and earlier.video == video and earlier.status == 'running'
    record = VideoRecord(video, name, attempts=earlier.attempts if running else 0)
    if record.attempts >= MAX_ATTEMPTS:
        record.status = 'failed'
        record.error = (f'{video}: the process that segmented it ended {record.attempts} times, for example because '
                        'its memory did not suffice')
        results.write_record(record)
        return record
    results.write_record(record.begin())
    try:
        _segment_stored(inferencer, results, record, options, on_progress)
    finally:
        if record.status == 'running':
            record.status = 'interrupted'
        results.write_record(record)
    return record


def is_done(record: VideoRecord | None, video: str) -> bool:
    """Whether a record says that this video is segmented."""
    return record is not None and record.video == video and record.status == 'segmented'


def _segment_stored(inferencer: AVSInferencer, results: ResultDirectory, record: VideoRecord, options: SegmentOptions,
                    on_progress: Progress | None) -> None:
    """Segment a video from where it is stored to where the results are."""
    try:
        with local_video(record.video) as path, results.writing(record.name) as target:
            segment_video(inferencer, record, target, options, on_progress, path)
            record.files = [f'{record.name}/{Path(file).name}' for file in record.files]
    except OSError as error:
        record.status, record.files = 'failed', []
        record.error = user_message(error) or _internal_error(error)
        if error.errno in FULL_DISK_ERRORS:
            raise
    except Exception as error:
        record.status, record.files, record.error = 'failed', [], user_message(error) or _internal_error(error)


def _internal_error(error: Exception) -> str:
    return f'an error of the program, {type(error).__name__}: {error}'
