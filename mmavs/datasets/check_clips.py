"""Check the files of clips before a training or a test reads them, except those that have not changed since."""
import os
import pickle
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from mmavs.utils.progress import track_progress

from .checked_clips import CheckedClips
from .clip_dataset import ClipDataset, loading_transforms

# Clips that a thread checks at a time: handing over each one takes longer than comparing its files.
CHUNK = 16
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

    def check(clip: dict) -> tuple[list[str], list[str]]:
        """Check one clip: its problem, if it has one, and the warnings about it."""
        if checked is not None:
            fingerprint = checked.fingerprint(clip)
            warnings = checked.find(clip, fingerprint)
            if warnings is not None:
                return [], warnings
        try:
            warnings = list(filter(None, [loader.check_files(clip) for loader in loaders]))
        except (ValueError, OSError, pickle.UnpicklingError) as error:
            return [f"{clip['split']} {clip['clip_id']}: {' '.join(str(error).split())}"], []
        if checked is not None:
            checked.add(clip, fingerprint, warnings)
        return [], warnings

    problems, warnings = [], []
    try:
        with ThreadPoolExecutor(num_threads or _default_threads()) as pool:
            results = (result for chunk in pool.map(lambda chunk: list(map(check, chunk)), _chunks(clips))
                       for result in chunk)
            for problem, warning in track_progress(results, description, len(clips)) if description else results:
                problems += problem
                warnings += warning
    finally:
        if checked is not None:
            checked.save()
    return sorted(problems), sorted(warnings)


def _default_threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return min(max(MIN_THREADS, cores), MAX_THREADS)


def _chunks(clips: Iterable[dict]) -> Iterator[list[dict]]:
    clips = iter(clips)
    while chunk := list(islice(clips, CHUNK)):
        yield chunk
