"""An inferencer in a worker of Ray, whose frames are decoded in a process beside it."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from numbers import Real
from pathlib import Path

import numpy as np

from mmavs.apis.inferencer import AVSInferencer
from mmavs.apis.video_source import VideoSource
from mmavs.utils.errors import USER_ERRORS, DataError, user_message

# Frames that wait between the decoder and the model.
DECODED_AHEAD = 8


class RemoteDecodingInferencer(AVSInferencer):
    """Inferencer whose frames are decoded in a process of their own, a task of Ray on the same machine."""

    def _open(self, item: str | Path | dict, fps: Real | str, audio: str | Path | None = None) -> VideoSource:
        source = super()._open(item, fps, audio)
        return replace(source, open_frames=partial(_decode_remotely, source.open_frames))


def _decode_remotely(open_frames: Callable) -> Iterator[tuple[float, np.ndarray]]:
    """Yield the frames that another process decodes, which is ``DECODED_AHEAD`` frames ahead.

    Raises:
        DataError: The video is damaged.
    """
    import ray

    stream, complete = _remote_decoder().remote(open_frames), False
    try:
        for reference in stream:
            item = ray.get(reference)
            if isinstance(item, str):
                raise DataError(item)
            time, frame = item
            # A copy: Ray's shared memory is read-only, and its room is needed for the next frames.
            yield time, frame.copy()
        complete = True
    finally:
        if not complete:
            ray.cancel(stream)


@cache
def _remote_decoder():
    """Remote function that decodes, on this machine, with a CPU that the worker has reserved."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # A function in a function is sent as code: the other process imports what decodes, and not the models.
    def decode(open_frames: Callable) -> Iterator[tuple[float, np.ndarray] | str]:
        """Yield times and frames, or the message of the error that ends them: Ray would put tracebacks into it."""
        try:
            yield from open_frames()
        except USER_ERRORS as error:
            message = user_message(error)
            if message is None:
                raise
            yield message

    # A task that waited for another CPU could wait forever. On the same machine, because the video may be a copy there.
    node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(decode).options(
        num_cpus=0, num_returns='streaming', scheduling_strategy=node,
        _generator_backpressure_num_objects=DECODED_AHEAD)
