"""Write a whole data set of synthetic clips, or find that it is already there."""
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from mmengine.utils import ProgressBar

from .clip import SyntheticClip
from .composition import Pair, compose_clip, read_classes, read_pairs
from .layouts import FOLDERS, write_avss, write_metadata, write_ms3, write_s4
from .rendering import render_frames, render_scene
from .scenes import CATEGORIES, SPLITS, Scene, sample_scene, scene_stream

#: To be raised when the same arguments give other files than before.
VERSION = 5
MANIFEST = 'synthesis.json'
SUBSETS = tuple(FOLDERS)
#: AVSS: clip i of a split is of this kind, by turns.
AVSS_LABELS = ('v1s', 'v1m', 'v2')


def make_clip(subset: str, split: str, index: int, seed: int, size: int) -> SyntheticClip:
    """Make procedural clip ``index`` of a split; it does not depend on how many clips there are.

    Args:
        subset: 's4' (one source), 'ms3' (several) or 'avss' (by turns v1s, v1m and v2 with ten frames).
        split: 'train', 'val' or 'test'.
        index: Number of the clip in its split.
        seed: Seed of the data set.
        size: Side of the frames in pixels.
    """
    scene, rng = _sample(subset, split, index, seed)
    return render_scene(scene, f'{split}_{index:05d}', seed, rng, size)


def visible_objects(subset: str, split: str, index: int, seed: int, size: int) -> np.ndarray:
    """What is seen at each pixel of the clip that :func:`make_clip` makes of these arguments, sounding or not.

    Returns:
        (T, size, size) uint8: a number from 1 for each object, 0 for the background.
    """
    scene, rng = _sample(subset, split, index, seed)
    return render_frames(scene, seed, rng, size)[1]


def _sample(subset: str, split: str, index: int, seed: int) -> tuple[Scene, np.random.Generator]:
    """The scene of a clip, and the stream that goes on to draw it."""
    rng = scene_stream(seed, SUBSETS.index(subset), split, index)
    label = AVSS_LABELS[index % 3] if subset == 'avss' else None
    turn = index // 3 if label else index
    scene = sample_scene(rng, split, 10 if label == 'v2' else 5, subset == 's4' or label == 'v1s',
                         CATEGORIES[turn % len(CATEGORIES)])
    return scene, rng


def synthesize_clips(out: str | Path, subset: str, num_train: int, num_val: int, num_test: int, seed: int = 0,
                     size: int = 224, workers: int = 1) -> Path:
    """Write procedural clips in the layout of an AVSBench subset.

    Args:
        out: Data root; the subset gets AVSBench's folder name under it.
        subset: 's4', 'ms3' or 'avss'.
        num_train: Clips of the training split.
        num_val: Clips of the validation split.
        num_test: Clips of the test split.
        seed: Not negative; the same arguments give the same files.
        size: Side of the frames in pixels.
        workers: Processes.

    Returns:
        Folder of the subset.

    Raises:
        FileExistsError: The folder holds files that this function did not write.
        ValueError: An argument is out of range.
    """
    counts = (num_train, num_val, num_test)
    if min(counts) < 0 or sum(counts) == 0:
        raise ValueError(f'num_train, num_val, num_test are {counts}, expected numbers >= 0 that are not all 0')
    jobs = [(split, index) for split, count in zip(SPLITS, counts, strict=True) for index in range(count)]
    arguments = dict(source='procedural', num_train=num_train, num_val=num_val, num_test=num_test, seed=seed, size=size)
    return _write_dataset(out, subset, arguments, jobs, partial(_make_job, subset=subset, seed=seed, size=size),
                          CATEGORIES, workers)


def compose_clips(out: str | Path, subset: str, pairs: str | Path, classes: str | Path, num_frames: int = 5,
                  seed: int = 0, size: int = 224, workers: int = 1) -> Path:
    """Write clips composed of pictures and recordings in the layout of MS3 or AVSS.

    Args:
        out: Data root; the subset gets AVSBench's folder name under it.
        subset: 'ms3' (binary masks) or 'avss' (class indices).
        pairs: CSV file, see ``read_pairs``.
        classes: CSV file, see ``read_classes``.
        num_frames: 5, or 10 for 'avss' (part v2 instead of v1m): what the layouts have.
        seed: Not negative; the same arguments and files give the same files.
        size: Side of the frames in pixels.
        workers: Processes.

    Returns:
        Folder of the subset.

    Raises:
        FileExistsError: The folder holds files that this function did not write.
        FileNotFoundError: A picture, mask or recording is missing.
        ValueError: A CSV file or an argument is wrong, or a file does not fit the others.
    """
    if subset == 's4':
        raise ValueError("subset is 's4', expected 'ms3' or 'avss': composed clips may have several sources, or none")
    if num_frames != 5 and (subset, num_frames) != ('avss', 10):
        raise ValueError(f"num_frames is {num_frames}, expected 5 or, for 'avss', 10: the layouts of AVSBench "
                         'have no others')
    names = read_classes(classes)
    jobs = read_pairs(pairs, names)
    arguments = dict(source='composition', classes=names, inputs=_fingerprint(jobs), num_frames=num_frames, seed=seed,
                     size=size)
    make = partial(_compose_job, classes=names, seed=seed, size=size, num_frames=num_frames)
    return _write_dataset(out, subset, arguments, jobs, make, names.values(), workers)


def _make_job(job: tuple[str, int], subset: str, seed: int, size: int) -> tuple[SyntheticClip, str]:
    return make_clip(subset, *job, seed, size), AVSS_LABELS[job[1] % 3]


def _compose_job(job: Pair, classes: dict, seed: int, size: int, num_frames: int) -> tuple[SyntheticClip, str]:
    return compose_clip(job, classes, seed, size, num_frames), 'v1m' if num_frames == 5 else 'v2'


def _write_job(job: object, make: Callable, folder: Path, subset: str, num_classes: int) -> tuple[dict, dict]:
    """Make a clip and write it; its metadata row and its entry in the manifest."""
    cv2.setNumThreads(1)
    clip, label = make(job)
    if subset == 's4':
        row = write_s4(folder, clip)
    elif subset == 'ms3':
        row = write_ms3(folder, clip)
    else:
        row = write_avss(folder, clip, label, num_classes)
    return row, dict(name=clip.name, split=clip.split, **clip.description)


def _write_dataset(out: str | Path, subset: str, arguments: dict, jobs: list, make: Callable, classes: Iterable[str],
                   workers: int) -> Path:
    """Write one clip per job into a folder that appears under its name once it is complete.

    A folder whose manifest tells of the same arguments is left as it is, one that tells of others is replaced.
    """
    if subset not in SUBSETS:
        raise ValueError(f"subset is {subset!r}, expected one of {', '.join(SUBSETS)}")
    for name, least in (('seed', 0), ('size', 32)):
        if arguments[name] < least:
            raise ValueError(f'{name} is {arguments[name]}, expected at least {least}')
    folder, classes = Path(out) / FOLDERS[subset], ['background', *classes]
    arguments = json.loads(json.dumps(dict(version=VERSION, subset=subset, **arguments)))
    if _is_current(folder, arguments):
        return folder
    partial_folder = folder.with_name(f'.{folder.name}.partial')
    shutil.rmtree(partial_folder, ignore_errors=True)
    partial_folder.mkdir(parents=True)
    write = partial(_write_job, make=make, folder=partial_folder, subset=subset, num_classes=len(classes))
    results, progress = [], ProgressBar(len(jobs))
    with ProcessPoolExecutor(workers) as pool:
        for result in pool.map(write, jobs, chunksize=8) if workers > 1 else map(write, jobs):
            results.append(result)
            progress.update()
    print()  # ends the progress bar's line
    write_metadata(partial_folder, subset, [row for row, _ in results], classes)
    manifest = dict(arguments=arguments, num_files=_count_files(partial_folder) + 1, classes=classes,
                    clips=[description for _, description in results])
    (partial_folder / MANIFEST).write_text(json.dumps(manifest))
    if folder.exists():
        shutil.rmtree(folder)
    partial_folder.rename(folder)
    return folder


def _is_current(folder: Path, arguments: dict) -> bool:
    """Whether the folder holds the data set of these arguments; an error if it holds anything foreign."""
    if not folder.exists() or not any(folder.iterdir()):
        return False
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise FileExistsError(f'{folder} is not empty and has no {MANIFEST}, so it was not written by this tool and is '
                              'left alone. Choose another folder or move it away.')
    found = json.loads(manifest.read_text())
    num_files = _count_files(folder)
    if num_files > found['num_files']:
        raise FileExistsError(f"{folder} has {num_files} files, but this tool wrote only {found['num_files']} of them. "
                              'It is left alone. Choose another folder or move it away.')
    return found['arguments'] == arguments and num_files == found['num_files']


def _count_files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob('*'))


def _fingerprint(pairs: list[Pair]) -> str:
    """Digest of the pairs and of the sizes and times of their files."""
    digest = hashlib.sha256()
    for pair in pairs:
        stats = [path.stat() for path in (pair.image, pair.mask, *pair.sounds)]
        digest.update(repr((pair, [(stat.st_size, stat.st_mtime_ns) for stat in stats])).encode())
    return digest.hexdigest()
