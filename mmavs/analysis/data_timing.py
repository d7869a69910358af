"""Measure the data path: the stages of a pipeline, the workers of a data loader, the files of a clip."""
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmcv.transforms import BaseTransform
from torch.utils.data import DataLoader

from mmavs.datasets import ClipDataset
from mmavs.datasets.clip_dataset import loading_transforms

KIB = 1024


@dataclass
class StageTimes:
    """Seconds that a pipeline takes for one clip, on average over the clips of a pass.

    Attributes:
        stages: CPU seconds of each stage, in the order of the pipeline: reading of the files and decoding (a loading
            transform without reading them) apart, nested transforms without the one around them.
        read_from_disk: Wall seconds in which the files come from the disk instead of the page cache; NaN if the system
            cannot drop them from it.
        total: CPU seconds of the whole pipeline, of which the stages are the parts.
    """
    stages: dict[str, float] = field(default_factory=dict)
    read_from_disk: float = 0.
    total: float = 0.


class StageTimer:
    """Measure each stage of the pipeline of a dataset, in this process.

    Args:
        dataset: The dataset, whose pipeline is changed: use another one for other measurements.
    """

    def __init__(self, dataset: ClipDataset) -> None:
        self.dataset = dataset
        self._clock = _StageClock(dataset.pipeline.transforms)
        self._loaders = list(loading_transforms(dataset.pipeline.transforms))

    def measure(self, indices: Sequence[int]) -> StageTimes:
        """Load clips.

        The files of a clip are read once more before the pipeline reads them, which measures the reading apart from the
        decoding; from then on they are in the page cache.

        Args:
            indices: Indices of the clips.
        """
        self._clock.reset()
        reading, from_disk, total = defaultdict(float), 0., 0.
        for index in indices:
            clip = self.dataset.get_data_info(index)
            files = {self._clock.names[loader]: files_of(clip, loader.path_key) for loader in self._loaders}
            from_disk += _read_from_disk([path for paths in files.values() for path in paths])
            for name, paths in files.items():
                begin = time.process_time()
                _read(paths)
                reading[name] += time.process_time() - begin
            begin = time.process_time()
            self.dataset[index]
            total += time.process_time() - begin
        stages, count = {}, len(indices)
        for name, seconds in self._clock.seconds.items():
            if name in reading:
                stages[f'{name}: read files'] = reading[name] / count
                stages[f'{name}: decode'] = max(0., seconds - reading[name]) / count
            else:
                stages[name] = seconds / count
        return StageTimes(stages, from_disk / count, total / count)


class _StageClock:
    """CPU seconds of each transform of a pipeline, without those nested in it."""

    def __init__(self, transforms: Iterable[BaseTransform]) -> None:
        self.names: dict[BaseTransform, str] = {}
        self.seconds: dict[str, float] = {}
        self._nested = 0.
        for name, transform in _named_transforms(transforms):
            count = sum(other.split(' #')[0] == name for other in self.seconds)
            name = f'{name} #{count + 1}' if count else name
            self.names[transform], self.seconds[name] = name, 0.
            transform.transform = self._timed(name, transform.transform)

    def reset(self) -> None:
        """Set the seconds to 0."""
        self.seconds = dict.fromkeys(self.seconds, 0.)

    def _timed(self, name: str, transform: Callable[[dict], dict]) -> Callable[[dict], dict]:

        def timed(results: dict) -> dict:
            outer, self._nested = self._nested, 0.
            begin = time.process_time()
            try:
                return transform(results)
            finally:
                taken = time.process_time() - begin
                self.seconds[name] += taken - self._nested
                self._nested = outer + taken

        return timed


def _named_transforms(transforms: Iterable[BaseTransform], before: str = '') -> Iterator[tuple[str, BaseTransform]]:
    for transform in transforms:
        name = type(transform).__name__
        yield before + name, transform
        inner = getattr(transform, 'transforms', ())
        yield from _named_transforms(getattr(inner, 'transforms', inner), f'{before}{name} / ')


def files_of(clip: dict, key: str) -> list[str]:
    """Paths under a key of a clip: one, or those of the frames that have a file."""
    paths = clip.get(key)
    return [paths] if isinstance(paths, str) else [path for path in paths or () if path is not None]


def _read(paths: Iterable[str]) -> None:
    for path in paths:
        Path(path).read_bytes()


def _read_from_disk(paths: Sequence[str]) -> float:
    if not hasattr(os, 'posix_fadvise'):
        return float('nan')
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    begin = time.perf_counter()
    _read(paths)
    return time.perf_counter() - begin


def time_loader(loader: DataLoader, num_batches: int) -> tuple[float, float]:
    """Measure a data loader with workers.

    Args:
        loader: The data loader.
        num_batches: Batches to time, after one for each worker, at most as many as there are.

    Returns:
        Batches per second of wall time, and the memory of a worker in MiB, the largest: its proportional set size
        (PSS), in which memory that processes share is divided among them; NaN if the system does not state it.

    Raises:
        ValueError: The data loader has too few batches.
    """
    num_batches = min(num_batches, len(loader) - loader.num_workers - 1)  # workers end with the last batch
    if num_batches < 1:
        raise ValueError(f'the data loader has {len(loader)} batch(es) for {loader.num_workers} worker(s), expected '
                         f'at least {loader.num_workers + 2}')
    batches = iter(loader)
    for _ in range(loader.num_workers):
        next(batches)
    begin = time.perf_counter()
    for _ in range(num_batches):
        next(batches)
    rate = num_batches / (time.perf_counter() - begin)
    return rate, max(proportional_memory(worker.pid) for worker in batches._workers)


def proportional_memory(pid: int) -> float:
    """Proportional set size of a process in MiB; NaN if the system does not state it."""
    try:
        lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    except OSError:
        return float('nan')
    return next(int(line.split()[1]) for line in lines if line.startswith('Pss:')) / KIB
