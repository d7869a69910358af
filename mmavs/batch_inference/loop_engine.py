"""Segment videos one after the other, in this process."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

from mmavs.utils.progress import item_progress

from .options import SegmentOptions
from .records import ResultDirectory, VideoRecord
from .video import segment_listed


def segment_all(videos: Sequence[tuple[str, str]], out: str, options: SegmentOptions,
                on_progress: Callable[..., None]) -> Iterator[VideoRecord]:
    """Segment the videos.

    Args:
        videos: Video, and name of its results.
        out: Directory of the results.
        options: Model and outputs.
        on_progress: Called with the number of videos that are done, with fractions, and at the begin of each with a
            text.

    Yields:
        The record of each video when it is done.
    """
    from mmavs import apis

    inferencer = apis.AVSInferencer(*options.model_arguments())
    results = ResultDirectory(out)
    for number, (video, name) in enumerate(videos):
        on_progress(number, f'{PurePosixPath(video).name} ({number + 1} of {len(videos)})')
        yield segment_listed(inferencer, results, video, name, options, item_progress(on_progress, number))
