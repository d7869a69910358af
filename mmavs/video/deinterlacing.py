"""Deinterlace frames."""
from __future__ import annotations

from collections.abc import Iterable, Iterator

import av


def deinterlace(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Replace frames that are flagged as interlaced: one frame for each, of the time of its first field.

    FFmpeg's bwdif takes the lines of the second field from their neighbors in space and in the frames before and after.
    Other frames are not changed.
    """
    graph = kind = None
    for frame in frames:
        if graph and kind != _kind(frame):
            yield from _flush(graph)
            graph = None
        if graph is None:
            if not frame.interlaced_frame:
                yield frame
                continue
            graph, kind = _deinterlacer(frame), _kind(frame)
        graph.push(frame)
        yield from _pull(graph)
    if graph:
        yield from _flush(graph)


def _kind(frame: av.VideoFrame) -> tuple:
    return frame.width, frame.height, frame.format.name, frame.time_base


def _deinterlacer(frame: av.VideoFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base),
        graph.add('bwdif', 'mode=send_frame:parity=auto:deint=interlaced'), graph.add('buffersink')).configure()
    return graph


def _pull(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _flush(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    graph.push(None)
    yield from _pull(graph)
