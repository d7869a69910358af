"""Check the files of clips before a training or a test reads them, except those that have not changed since."""
import os
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from mmavs.utils.progress import track_progress

from .checked_clips import CheckedClips
from .clip_dataset import ClipDataset, loading_transforms

Item, Result = TypeVar('Item'), TypeVar('Result')
# Clips that a thread takes at a time: handing over each one takes longer than comparing its files.
CHUNK = 16
# Seconds to compare the files of a clip from which on several threads do it: they wait for a network or a disk.
SLOW = 2e-3
# Threads beside one for each core, because files on a network take time without one.
MIN_THREADS, MAX_THREADS = 4, 16


def check_clips(dataset: ClipDataset,
                clips: Sequence[dict],
                num_threads: int | None = None,
                checked: CheckedClips | None = None,
                description: str | None = None) -> tuple[list[str], list[str]]:
    """Check the files that the pipeline of a dataset reads, decoding as little as possible.

    Found are truncated images, audio and log-mel files, mask values that are not a class, sizes that differ within a
    clip, and audio that holds NaN or is too short for a frame. Damage in the middle of a frame is not found: frames are
    only decoded when they are loaded.

    Args:
        dataset: The dataset.
        clips: Its clips to check.
        num_threads: Number of clips checked in parallel; None: the number of cores, from ``MIN_THREADS`` to
            ``MAX_THREADS``.
        checked: Earlier results, to which those of this call are added and saved, also if it is interrupted; None:
            every clip is checked.
        description: Text of the progress bar; None: without it.

    Returns:
        One line for each clip that cannot be used; one for each whose audio is shorter than its frames, or more than
        twice as long. The lines name the file.
    """
    loaders = list(loading_transforms(dataset.pipeline.transforms))
    num_threads = num_threads or _default_threads()

    def check(clip: dict, fingerprint: str) -> tuple[list[str], list[str]]:
        """Check one clip: its problem, if it has one, and the warnings about it."""
        try:
            warnings = list(filter(None, [loader.check_files(clip) for loader in loaders]))
        except (ValueError, OSError, pickle.UnpicklingError) as error:
            return [f"{clip['split']} {clip['clip_id']}: {' '.join(str(error).split())}"], []
        if checked is not None:
            checked.add(clip, fingerprint, warnings)
        return [], warnings

    problems, warnings, changed = [], [], []
    for clip, fingerprint in _with_fingerprints(clips, checked, num_threads, description):
        known = checked.find(clip, fingerprint) if checked is not None else None
        if known is None:
            changed.append((clip, fingerprint))
        else:
            warnings += known
    try:
        with ThreadPoolExecutor(num_threads) as pool:
            results = _map_chunks(pool, lambda item: check(*item), changed)
            for problem, warning in track_progress(results, description, len(changed)) if description else results:
                problems += problem
                warnings += warning
    finally:
        if checked is not None:
            checked.save()
    return sorted(problems), sorted(warnings)


def _with_fingerprints(clips: Sequence[dict], checked: CheckedClips | None, num_threads: int,
                       description: str | None) -> Iterator[tuple[dict, str]]:
    """Yield the clips with their fingerprints, empty without earlier results.

    Threads are used only if the first files are slow. Otherwise they would take up to three times the CPU time of a
    single one, because after each file they wait for each other.
    """
    if checked is None:
        yield from ((clip, '') for clip in clips)
        return
    start, first, rest = time.perf_counter(), clips[:CHUNK], clips[CHUNK:]
    fingerprints = list(map(checked.fingerprint, first))
    slow = time.perf_counter() - start > SLOW * len(first)
    yield from zip(first, fingerprints)
    if not slow:
        yield from ((clip, checked.fingerprint(clip)) for clip in rest)
        return
    with ThreadPoolExecutor(num_threads) as pool:
        results = zip(rest, _map_chunks(pool, checked.fingerprint, rest))
        yield from track_progress(results, f'{description}: compare', len(rest)) if description else results


def _map_chunks(pool: ThreadPoolExecutor, function: Callable[[Item], Result],
                items: Iterable[Item]) -> Iterator[Result]:
    """Apply a function to items in the threads of a pool; yield the results in their order."""
    for chunk in pool.map(lambda chunk: list(map(function, chunk)), _chunks(items)):
        yield from chunk


def _default_threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return min(max(MIN_THREADS, cores), MAX_THREADS)


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    items = iter(items)
    while chunk := list(islice(items, CHUNK)):
        yield chunk
