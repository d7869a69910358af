"""Write datasets of synthetic clips; a dataset that is up to date is not written again."""
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from mmavs.datasets.vpo import SUBSETS as VPO_SUBSETS
from mmavs.utils.directory_lock import locked_directory
from mmavs.utils.files import atomic_directory
from mmavs.utils.progress import track_progress

from .clip import SyntheticClip
from .composition import Pair, compose_clip, compose_still, read_classes, read_pairs
from .current_dataset import MANIFEST, count_files, is_current
from .layouts import DIRECTORIES, DatasetFiles, write_avss, write_metadata, write_ms3, write_s4
from .rendering import render_frames, render_scene
from .scenes import CATEGORIES, SPLITS, Scene, sample_scene, sample_twins, scene_stream
from .stills import make_still
from .vpo_layouts import write_cavp, write_clean, write_vpo_metadata

#: To be increased when the same arguments give other files than before: users' datasets are then written again.
VERSION = 7
# The position of a subset in this list is part of its random streams.
SUBSETS = ('s4', 'ms3', 'avss', *VPO_SUBSETS, 'twins')
#: AVSS: parts of the clips of a split, in turn.
AVSS_LABELS = ('v1s', 'v1m', 'v2')
#: VPO-MSMI: kinds of the clips of a split, in turn; the column multi_instance is 0 for those of VPO-MS.
MSMI_CYCLE = ('vpo-msmi', 'vpo-msmi', 'vpo-ms')
#: Mask values of the categories in the layout 'cavp': anything but the class indices.
CATEGORY_IDS = tuple(10 * index for index in range(len(CATEGORIES) + 1))


def make_clip(subset: str, split: str, index: int, seed: int, size: int) -> SyntheticClip:
    """Make procedural clip ``index`` of a split; it does not depend on the number of clips.

    Args:
        subset: 's4' (one source), 'ms3' (several), 'avss' (v1s, v1m and v2 with ten frames in turn), 'twins' (the same
            object twice; see ``sample_twins``), or 'vpo-ss', 'vpo-ms', 'vpo-msmi' (one frame; see ``make_still``).
        split: 'train', 'val' or 'test'.
        index: Number of the clip in its split.
        seed: Seed of the dataset.
        size: Side of the frames in pixels.
    """
    name = f'{split}_{index:05d}'
    if subset in VPO_SUBSETS:
        rng = scene_stream(seed, SUBSETS.index(subset), split, index)
        category = CATEGORIES[index % len(CATEGORIES)]
        return make_still(rng, _vpo_type(subset, index), split, category, name, seed, size)
    scene, rng = _sample(subset, split, index, seed)
    return render_scene(scene, name, seed, rng, size)


def _vpo_type(subset: str, index: int) -> str:
    """The kind of clip ``index`` of a subset of VPO."""
    return MSMI_CYCLE[index % 3] if subset == 'vpo-msmi' else subset


def visible_objects(subset: str, split: str, index: int, seed: int, size: int) -> np.ndarray:
    """Render the visible objects, sounding or not, of the clip that :func:`make_clip` makes of these arguments.

    Returns:
        (T, size, size) uint8: number of the visible object from 1, 0 for the background.
    """
    scene, rng = _sample(subset, split, index, seed)
    return render_frames(scene, seed, rng, size)[1]


def _sample(subset: str, split: str, index: int, seed: int) -> tuple[Scene, np.random.Generator]:
    """Sample the scene of a clip; the returned random stream continues with its rendering."""
    rng = scene_stream(seed, SUBSETS.index(subset), split, index)
    if subset == 'twins':
        return sample_twins(rng, split, 5, CATEGORIES[index % len(CATEGORIES)]), rng
    label = AVSS_LABELS[index % 3] if subset == 'avss' else None
    number = index // 3 if label else index
    scene = sample_scene(rng, split, 10 if label == 'v2' else 5, subset == 's4' or label == 'v1s',
                         CATEGORIES[number % len(CATEGORIES)])
    return scene, rng


def synthesize_clips(out: str | Path, subset: str, num_train: int, num_val: int, num_test: int, seed: int = 0,
                     size: int = 224, workers: int = 1, layout: str | None = None, replace: bool = True) -> Path:
    """Write procedural clips in the layout of a subset of AVSBench or VPO.

    Args:
        out: Directory for the data root, which is named as in AVSBench, for VPO after the subset.
        subset: 's4', 'ms3', 'avss', 'twins', 'vpo-ss', 'vpo-ms' or 'vpo-msmi'.
        num_train: Clips of the training split.
        num_val: Clips of the validation split, which is test in VPO.
        num_test: Clips of the test split.
        seed: Seed, not negative; the same arguments give the same files.
        size: Side of the frames in pixels.
        workers: Number of processes.
        layout: Of VPO, 'cavp' (the default) or 'clean', which is written beside it.
        replace: Whether a dataset of other arguments is replaced. One that is incomplete, or was written by an earlier
            version, always is.

    Returns:
        Data root of the subset.

    Raises:
        FileExistsError: The data root holds files that this function did not write, or a dataset of other arguments
            that is not to be replaced; another process wrote it while this one waited.
        ValueError: An argument is out of range.
    """
    counts = (num_train, num_val, num_test)
    if min(counts) < 0 or sum(counts) == 0:
        raise ValueError(f'num_train, num_val, num_test are {counts}, expected numbers >= 0 that are not all 0')
    jobs = [(split, index) for split, count in zip(SPLITS, counts, strict=True) for index in range(count)]
    arguments = dict(source='procedural', num_train=num_train, num_val=num_val, num_test=num_test, seed=seed, size=size)
    return write_dataset(out, subset, arguments, jobs, partial(_make_job, subset=subset, seed=seed, size=size),
                         CATEGORIES, CATEGORY_IDS, workers, layout, replace)


def compose_clips(out: str | Path, subset: str, pairs: str | Path, classes: str | Path, num_frames: int | None = None,
                  seed: int = 0, size: int = 224, workers: int = 1, layout: str | None = None,
                  replace: bool = True) -> Path:
    """Write clips composed of images and recordings in the layout of MS3, AVSS, VPO-SS or VPO-MS.

    VPO has a recording for each sounding class. Pairs without targets or with another number of recordings than of
    targets are left out, and from VPO-SS those with several targets.

    Args:
        out: Directory for the data root, which is named as in AVSBench, for VPO after the subset.
        subset: 'ms3' (binary masks), 'avss' (class indices), 'vpo-ss' or 'vpo-ms' (one frame).
        pairs: CSV file, see ``read_pairs``.
        classes: CSV file, see ``read_classes``.
        num_frames: Frames of a clip in the layout: 5 (the default), or 10 for 'avss' (part v2 instead of v1m); 1 for
            VPO.
        seed: Seed, not negative; the same arguments and inputs give the same files.
        size: Side of the frames in pixels; for VPO the longest side, to which larger images are shrunk.
        workers: See :func:`synthesize_clips`.
        layout: See :func:`synthesize_clips`.
        replace: See :func:`synthesize_clips`.

    Returns:
        Data root of the subset.

    Raises:
        FileExistsError: The data root holds files that this function did not write, or a dataset of other arguments
            that is not to be replaced; another process wrote it while this one waited.
        FileNotFoundError: An image, mask or recording is missing.
        ValueError: A CSV file or an argument is invalid, or a file is inconsistent with the others.
    """
    if subset == 's4':
        raise ValueError("subset is 's4', expected 'ms3' or 'avss': composed clips may have several sources, or none")
    if subset == 'twins':
        raise ValueError("subset is 'twins', expected 'ms3' or 'avss': twins are procedural, not composed")
    if subset == 'vpo-msmi':
        raise ValueError("subset is 'vpo-msmi', expected 'vpo-ss' or 'vpo-ms': masks of classes do not "
                         'distinguish the instances of a class')
    expected = (1, ) if subset in VPO_SUBSETS else (5, 10) if subset == 'avss' else (5, )
    num_frames = expected[0] if num_frames is None else num_frames
    if num_frames not in expected:
        raise ValueError(f"num_frames is {num_frames}, expected {' or '.join(map(str, expected))} for {subset!r}: the "
                         'layout has no others')
    names = read_classes(classes)
    jobs = read_pairs(pairs, names)
    if subset in VPO_SUBSETS:
        jobs = _pairs_of_vpo(jobs, subset, pairs)
    arguments = dict(source='composition', classes=names, inputs=_fingerprint(jobs), num_frames=num_frames, seed=seed,
                     size=size)
    make = partial(_compose_job, subset=subset, classes=names, seed=seed, size=size, num_frames=num_frames)
    return write_dataset(out, subset, arguments, jobs, make, names.values(), (0, *names), workers, layout, replace)


def _pairs_of_vpo(pairs: list[Pair], subset: str, path: str | Path) -> list[Pair]:
    """Select the pairs that have a recording for each target; VPO-SS has one target."""
    max_targets = 1 if subset == 'vpo-ss' else len(pairs)
    chosen = [pair for pair in pairs if 1 <= len(pair.targets) == len(pair.sounds) <= max_targets]
    if not chosen:
        raise ValueError(f'{path}: none of the {len(pairs)} pairs has a recording for each of its targets'
                         + (', one in VPO-SS' if max_targets == 1 else ''))
    return chosen


def _make_job(job: tuple[str, int], subset: str, seed: int, size: int) -> tuple[SyntheticClip, str]:
    if subset in VPO_SUBSETS:
        label = VPO_SUBSETS[_vpo_type(subset, job[1])]
    else:
        label = 'v1m' if subset == 'twins' else AVSS_LABELS[job[1] % 3]
    return make_clip(subset, *job, seed, size), label


def _compose_job(job: Pair, subset: str, classes: dict, seed: int, size: int,
                 num_frames: int) -> tuple[SyntheticClip, str]:
    if subset in VPO_SUBSETS:
        return compose_still(job, classes, size), VPO_SUBSETS[subset]
    return compose_clip(job, classes, seed, size, num_frames), 'v1m' if num_frames == 5 else 'v2'


def _write_job(number: int, job: object, make: Callable, directory: Path, subset: str, layout: str | None,
               classes: list[str], category_ids: Sequence[int]) -> tuple[list[dict], dict, int]:
    """Make a clip and write it; return its metadata rows, its entry in the manifest and its number of files."""
    cv2.setNumThreads(1)
    clip, label = make(job)
    files = DatasetFiles(directory)
    if subset == 's4':
        rows = [write_s4(files, clip)]
    elif subset == 'ms3':
        rows = [write_ms3(files, clip)]
    elif subset in ('avss', 'twins'):
        rows = [write_avss(files, clip, label, len(classes))]
    elif layout == 'cavp':
        rows = write_cavp(files, clip, number, subset, label, category_ids, classes)
    else:
        rows = write_clean(files, clip, subset, classes)
    return rows, dict(name=clip.name, split=clip.split, **clip.description), files.count


def write_dataset(out: str | Path, subset: str, arguments: dict, jobs: list, make: Callable, classes: Iterable[str],
                   category_ids: Sequence[int], workers: int, layout: str | None, replace: bool) -> Path:
    """Write one clip per job into a directory, which gets its name when it is complete.

    A directory whose manifest holds the same arguments is left as it is; one with other arguments is replaced, if
    ``replace`` says so. Of two processes, the second waits for the first; then it replaces nothing.
    """
    if subset not in SUBSETS:
        raise ValueError(f"subset is {subset!r}, expected one of {', '.join(SUBSETS)}")
    for name, least in (('seed', 0), ('size', 32)):
        if arguments[name] < least:
            raise ValueError(f'{name} is {arguments[name]}, expected at least {least}')
    if subset in VPO_SUBSETS:
        arguments['layout'] = layout = layout or 'cavp'
        directory = Path(out) / (subset if layout == 'cavp' else f'{subset}_{layout}')
    else:
        directory = Path(out) / DIRECTORIES[subset]
    if layout not in (('cavp', 'clean') if subset in VPO_SUBSETS else (None, )):
        raise ValueError(f"layout is {layout!r}, expected 'cavp' or 'clean' for VPO, none for the subsets of AVSBench")
    classes = ['background', *classes]
    arguments = json.loads(json.dumps(dict(version=VERSION, subset=subset, **arguments)))
    # Before there is a lock: a dataset may lie where nothing can be written.
    if is_current(directory, arguments, replace):
        return directory
    with locked_directory(directory.with_name(f'.{directory.name}.lock'), f'writes {directory}',
                          'choose another directory', wait=True) as waited:
        if not is_current(directory, arguments, replace and not waited):
            with atomic_directory(directory) as unfinished:
                write = partial(_write_job, make=make, directory=unfinished, subset=subset, layout=layout,
                                classes=classes, category_ids=category_ids)
                _write_files(unfinished, subset, arguments, jobs, write, classes, workers, layout)
    return directory


def _write_files(directory: Path, subset: str, arguments: dict, jobs: list, write: Callable, classes: list[str],
                 workers: int, layout: str | None) -> None:
    """Write all files of a dataset into an empty directory.

    Raises:
        OSError: Files are missing at the end, because somebody has removed them.
    """
    numbers = range(1, len(jobs) + 1)
    # Each process has one core: threads of PyTorch would wait for each other.
    with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1, )) as pool:
        writing = pool.map(write, numbers, jobs, chunksize=8) if workers > 1 else map(write, numbers, jobs)
        results = list(track_progress(writing, f'{subset} clips', len(jobs)))
    rows = [row for rows, _, _ in results for row in rows]
    files = DatasetFiles(directory)
    if subset in VPO_SUBSETS:
        write_vpo_metadata(files, subset, layout, rows)
    else:
        write_metadata(files, subset, rows, classes)
    num_files = files.count + sum(count for _, _, count in results) + 1
    manifest = dict(arguments=arguments, num_files=num_files, classes=classes, clips=[entry for _, entry, _ in results])
    files.add_json(MANIFEST, manifest)
    if count_files(directory) != num_files:
        raise OSError(f'{directory}: {count_files(directory)} of {num_files} files are there, the others have been '
                      'removed while the dataset was written: nothing is kept, write it again')


def _fingerprint(pairs: list[Pair]) -> str:
    """Digest of the pairs and of the sizes and times of their files."""
    # The repr of a pair holds the names of its fields: renaming a field makes users' datasets be written again.
    digest = hashlib.sha256()
    for pair in pairs:
        stats = [path.stat() for path in (pair.image, pair.mask, *pair.sounds)]
        digest.update(repr((pair, [(stat.st_size, stat.st_mtime_ns) for stat in stats])).encode())
    return digest.hexdigest()
