"""Segment videos by Ray Data, in workers on one machine or on a cluster.

Each worker is a process with a model of its own. Ray Data gives it one block of videos after the other, and starts
it again if it ends. The frames of a video are decoded in a second process beside it, on a CPU that the worker has
reserved.
"""
from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from numbers import Real
from pathlib import Path
from types import ModuleType

import numpy as np

from mmavs.apis.inferencer import AVSInferencer
from mmavs.apis.video_source import VideoSource
from mmavs.utils.errors import USER_ERRORS, DataError, user_message
from mmavs.utils.optional_packages import optional_import
from mmavs.utils.terminal import quiet_libraries

from .options import SegmentOptions
from .records import ResultDirectory, VideoRecord
from .video import segment_listed

PURPOSE = 'the engine ray'
#: CPUs of a worker: one decodes, the others are threads of the model and of the outputs.
CPUS_PER_WORKER = 2
# Frames that wait between the decoder and the model.
DECODED_AHEAD = 8
# Blocks that the videos are divided into at most; the blocks of a short list have one video.
MAX_BLOCKS = 4000


def segment_all(videos: Sequence[tuple[str, str]],
                out: str,
                options: SegmentOptions,
                on_progress: Callable[[float, str], None],
                address: str | None = None,
                workers: int | None = None,
                cpus_per_worker: int = CPUS_PER_WORKER) -> Iterator[VideoRecord]:
    """Segment the videos.

    Args:
        videos: Video, and name of its results; all paths must be those of every machine.
        out: Directory of the results.
        options: Model and outputs. With the device 'cpu', workers have no GPU.
        on_progress: Not called: the records say how many videos are done.
        address: Address of a Ray cluster, 'auto' for that of this machine; None starts Ray here, and stops it.
        workers: Number of workers; None: as many as there are GPUs, or, without any, as the CPUs suffice for.
        cpus_per_worker: CPUs that each reserves, at least 2: one to decode, the others for the model and the outputs.

    Yields:
        The record of each video when its block is done.

    Raises:
        ImportError: Ray is not installed.
        ValueError: The model cannot be used, or the cluster cannot be reached.
    """
    ray = optional_import('ray', PURPOSE, 'ray[data]')
    optional_import('ray.data', PURPOSE, 'ray[data]')
    out = out if '://' in out else str(Path(out).absolute())
    started = _start(ray, address, workers, cpus_per_worker)
    try:
        use_gpu = options.device != 'cpu' and ray.cluster_resources().get('GPU', 0) >= 1
        if workers is None:
            cpus = int(ray.cluster_resources().get('CPU', 0)) // cpus_per_worker
            workers = int(ray.cluster_resources()['GPU']) if use_gpu else max(1, cpus)
        yield from _run(ray, videos, out, replace(options, device='cuda' if use_gpu else 'cpu'),
                        min(workers, len(videos)), cpus_per_worker)
    finally:
        if started:
            ray.shutdown()


def _start(ray: ModuleType, address: str | None, workers: int | None, cpus_per_worker: int) -> bool:
    """Connect to a cluster or start one; return whether that is to be undone."""
    if ray.is_initialized():
        return False
    options = dict(address=address, logging_level=logging.WARNING)
    if address is None:
        # 'local': without an address, ray.init would join a cluster that runs on this machine already. Stated CPUs:
        # Ray's own counting would let each worker use all cores.
        needed = (workers or 1) * cpus_per_worker
        options |= dict(address='local', include_dashboard=False, num_cpus=max(needed, len(os.sched_getaffinity(0))))
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ValueError(f'Ray cannot be used ({error}): start a cluster (ray start --head), and name its address') \
            from error
    return True


def _run(ray: ModuleType, videos: Sequence[tuple[str, str]], out: str, options: SegmentOptions, workers: int,
         cpus_per_worker: int) -> Iterator[VideoRecord]:
    """Run Ray Data over the videos; yield their records."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger('ray.data').setLevel(logging.WARNING)
    items = [dict(video=video, name=name) for video, name in videos]
    dataset = ray.data.from_items(items, override_num_blocks=min(len(items), MAX_BLOCKS)).map_batches(
        VideoWorker,
        fn_constructor_args=(out, options),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=cpus_per_worker,
        num_gpus=1 if options.device == 'cuda' else 0)
    for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format='numpy'):
        for text in batch['record']:
            content = json.loads(text)
            if 'fatal' in content:
                raise ValueError(content['fatal'])
            yield VideoRecord(**content)


class VideoWorker:
    """A worker with its model: Ray Data calls it with batches of videos.

    Args:
        out: Directory of the results.
        options: Model and outputs.
    """

    def __init__(self, out: str, options: SegmentOptions) -> None:
        quiet_libraries()
        self._options, self._fatal = options, None
        try:
            self._results = ResultDirectory(out)
            self._inferencer = RemoteDecodingInferencer(*options.model_arguments())
        except USER_ERRORS as error:
            # An exception would reach the user with the tracebacks of two processes.
            self._fatal = user_message(error)
            if self._fatal is None:
                raise

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[str]]:
        """Segment the videos of a batch; the records are JSON."""
        return dict(record=[json.dumps(self._segment(*map(str, row))) for row in zip(batch['video'], batch['name'])])

    def _segment(self, video: str, name: str) -> dict:
        if self._fatal is None:
            try:
                return asdict(segment_listed(self._inferencer, self._results, video, name, self._options))
            except OSError as error:
                self._fatal = user_message(error)
                if self._fatal is None:
                    raise
        return dict(fatal=self._fatal)


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
