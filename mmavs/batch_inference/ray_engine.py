"""Segment videos by Ray Data, in workers on one machine or on a cluster.

Each worker is a process with a model of its own. Ray Data gives it one block of videos after the other, and starts
it again if it ends. The frames of a video are decoded in a second process beside it, on a CPU that the worker has
reserved.
"""
from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import numpy as np

from mmavs.utils.errors import USER_ERRORS, user_message
from mmavs.utils.optional_packages import optional_import
from mmavs.utils.terminal import quiet_libraries

from .options import SegmentOptions
from .ray_cluster import connect, worker_room
from .records import ResultDirectory, VideoRecord
from .video import segment_listed

PURPOSE = 'the engine ray'
#: CPUs of a worker: one decodes, the others are threads of the model and of the outputs.
CPUS_PER_WORKER = 2
# Blocks that the videos are divided into at most; the blocks of a short list have one video.
MAX_BLOCKS = 4000


def segment_all(videos: Sequence[tuple[str, str]],
                out: str,
                options: SegmentOptions,
                on_progress: Callable[..., None],
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
        workers: Number of workers; None: as many as the cluster has room for, one per GPU if there are GPUs.
        cpus_per_worker: CPUs that each reserves, at least 2: one to decode, the others for the model and the outputs.

    Yields:
        The record of each video when its block is done.

    Raises:
        ImportError: Ray is not installed.
        ValueError: The model cannot be used, the cluster cannot be reached, or it has no room for a worker.
    """
    ray = optional_import('ray', PURPOSE, 'ray[data]')
    optional_import('ray.data', PURPOSE, 'ray[data]')
    out = out if '://' in out else str(Path(out).absolute())
    started = connect(ray, address, (workers or 1) * cpus_per_worker)
    try:
        use_gpu = options.device != 'cpu' and ray.cluster_resources().get('GPU', 0) >= 1
        needed = dict(CPU=cpus_per_worker, GPU=1) if use_gpu else dict(CPU=cpus_per_worker)
        room = worker_room(ray, needed, workers)
        most = min(workers or room, len(videos))
        yield from _run(ray, videos, out, replace(options, device='cuda' if use_gpu else 'cpu'), min(room, most), most,
                        cpus_per_worker)
    finally:
        if started:
            ray.shutdown()


def _run(ray: ModuleType, videos: Sequence[tuple[str, str]], out: str, options: SegmentOptions, workers: int,
         most_workers: int, cpus_per_worker: int) -> Iterator[VideoRecord]:
    """Run Ray Data over the videos with a number of workers, more if machines are added; yield their records."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger('ray.data').setLevel(logging.WARNING)
    logging.getLogger('ray.data._internal.progress').setLevel(logging.ERROR)  # warns that there are no bars
    items = [dict(video=video, name=name) for video, name in videos]
    dataset = ray.data.from_items(items, override_num_blocks=min(len(items), MAX_BLOCKS)).map_batches(
        VideoWorker,
        fn_constructor_args=(out, options),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=workers, max_size=most_workers),
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
        # Imported here: the process that hands out the videos needs no models.
        from .remote_decoding import RemoteDecodingInferencer

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
