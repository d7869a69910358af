"""Segment the videos of a list by one of the engines, and write the manifest."""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module

from mmavs.apis.result_names import result_names
from mmavs.utils.errors import printable
from mmavs.utils.progress import ProgressReport

from .options import SegmentOptions
from .records import MANIFEST, RUN, ResultDirectory, VideoRecord
from .video import is_done

#: Engine -> module with ``segment_all(videos, out, options, on_progress, **arguments)``, which yields records.
ENGINES = {'loop': 'loop_engine', 'ray': 'ray_engine'}


def segment_list(videos: Sequence[str],
                 out: str,
                 options: SegmentOptions,
                 engine: str = 'loop',
                 records: list[VideoRecord] | None = None,
                 **arguments: object) -> list[VideoRecord]:
    """Segment many videos, each into ``out/NAME``, and write the table ``out/manifest.parquet``.

    A run that has ended early is continued by a call with the same options: videos that are segmented are not done
    again, those that failed are. Results are the same whichever engine makes them.

    Args:
        videos: Paths and URLs, of :func:`mmavs.batch_inference.list_stored_videos`.
        out: Directory of the results, a local path or a URL of a file system of fsspec.
        options: Model and outputs.
        engine: One of ``ENGINES``: 'loop', one video after the other in this process; 'ray', in workers of Ray.
        records: List that gets the records of the videos, in their order, also if the run is interrupted.
        arguments: Of the engine, see :func:`mmavs.batch_inference.ray_engine.segment_all`.

    Returns:
        The records of these videos. The manifest also has those of earlier runs into ``out``.

    Raises:
        ImportError: A package of the engine or of a file system is not installed.
        OSError: The results cannot be written.
        ValueError: ``out`` has results of other options, another process writes into it, or the model cannot be used.
    """
    records = [] if records is None else records
    names = result_names(videos)
    for video, name in zip(videos, names):
        if name.partition('/')[0] in (RUN, MANIFEST):
            raise ValueError(f'{video}: its results would replace {name.partition("/")[0]} in {out}: rename the video')
    results = ResultDirectory(out)
    with results.locked():
        results.check_settings(options)
        all_records = results.read_records()
        todo, places = [], {}
        for place, (video, name) in enumerate(zip(videos, names)):
            earlier = all_records.get(name)
            records.append(earlier if is_done(earlier, video) else VideoRecord(video, name))
            places[name] = place
            if not is_done(earlier, video):
                todo.append((video, name))
        if len(todo) < len(videos):
            print(f'{len(videos) - len(todo)} of {len(videos)} video(s) are segmented already', file=sys.stderr)
        segment_all = import_module(f'.{ENGINES[engine]}', __package__).segment_all
        try:
            with ProgressReport('segment', len(todo)) as report:
                for done, record in enumerate(_engine(segment_all, todo, out, options, report, arguments), 1):
                    records[places[record.name]] = record
                    if record.status == 'failed':
                        print(f'error: {printable(record.error)}', file=sys.stderr)
                    report.update(done, f'{done} of {len(todo)}')
        except BaseException:
            all_records = results.read_records()
            for place, record in enumerate(records):
                stored = all_records.get(record.name)
                if record.status == 'pending' and stored is not None and stored.video == record.video:
                    records[place] = stored
            raise
        finally:
            # After Ctrl-C too: the manifest tells what is finished.
            all_records.update({record.name: record for record in records})
            results.write_manifest(all_records.values(), options)
    return records


def _engine(segment_all: Callable, todo: Sequence[tuple[str, str]], out: str, options: SegmentOptions,
            report: ProgressReport, arguments: dict) -> Iterator[VideoRecord]:
    return segment_all(todo, out, options, report.update, **arguments) if todo else iter(())
