"""Make a whole data set of synthetic clips, or find that it is already there."""
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
from mmengine.utils import ProgressBar

from .clip import SyntheticClip
from .layouts import FOLDERS, write_avss, write_metadata, write_ms3, write_s4
from .scenes import CATEGORIES, SPLITS, render_scene, sample_scene, scene_stream

#: Raise when the same arguments give other files than before.
VERSION = 1
MANIFEST = 'synthesis.json'
AVSS_LABELS = ('v1s', 'v1m', 'v2')
SUBSETS = tuple(FOLDERS)


def make_clip(subset: str, split: str, index: int, seed: int, size: int) -> SyntheticClip:
    """Make clip ``index`` of a split; it does not depend on how many clips there are."""
    rng = scene_stream(seed, SUBSETS.index(subset), split, index)
    name = f'{split}_{index:05d}'
    label = AVSS_LABELS[index % 3] if subset == 'avss' else None
    scene = sample_scene(rng, split, 10 if label == 'v2' else 5, subset == 's4' or label == 'v1s',
                         CATEGORIES[index // (3 if label else 1) % len(CATEGORIES)])
    return render_scene(scene, name, seed, rng, size)


def _write_clip(job: tuple[str, int], folder: Path, subset: str, seed: int, size: int) -> tuple[dict, dict]:
    cv2.setNumThreads(1)
    split, index = job
    clip = make_clip(subset, split, index, seed, size)
    if subset == 's4':
        row = write_s4(folder, clip)
    elif subset == 'ms3':
        row = write_ms3(folder, clip)
    else:
        row = write_avss(folder, clip, AVSS_LABELS[index % 3], len(CATEGORIES) + 1)
    return row, dict(name=clip.name, split=split, **clip.description)


def synthesize_clips(out: str | Path, subset: str, num_train: int, num_val: int, num_test: int, seed: int = 0,
                     size: int = 224, workers: int = 1) -> Path:
    """Write a procedural data set in the layout of an AVSBench subset.

    Args:
        out (str | Path): data root; the subset gets AVSBench's folder name under it.
        subset (str): 's4', 'ms3' or 'avss'.
        num_train, num_val, num_test (int): clips per split.
        seed (int): the same arguments give the same files.
        size (int): side of the frames in pixels.
        workers (int): processes.

    Returns:
        Path: folder of the subset.

    Raises:
        FileExistsError: the folder holds something that this function did not write.
    """
    arguments = dict(source='procedural', subset=subset, num_train=num_train, num_val=num_val, num_test=num_test,
                     seed=seed, size=size)
    jobs = [(split, i) for split, n in zip(SPLITS, (num_train, num_val, num_test), strict=True) for i in range(n)]
    return build_dataset(Path(out) / FOLDERS[subset], subset, arguments, jobs,
                         partial(_write_clip, subset=subset, seed=seed, size=size), ['background', *CATEGORIES],
                         workers)


def build_dataset(folder: Path, subset: str, arguments: dict, jobs: list, write: Callable, classes: list[str],
                  workers: int = 1) -> Path:
    """Write clips into a new folder that appears under its name once it is complete.

    Args:
        folder (Path): where the data set will be. Left as it is where its manifest tells of the same arguments.
        subset (str): layout.
        arguments (dict): what the data set depends on, JSON types.
        jobs (list): one picklable item per clip.
        write (Callable): ``write(job, folder=...)`` writes a clip, returns its metadata row and its description.
        classes (list[str]): names of the mask values, background first.
        workers (int): processes.
    """
    arguments = dict(version=VERSION, **arguments)
    if folder.exists() and any(folder.iterdir()):
        manifest = folder / MANIFEST
        if not manifest.is_file():
            raise FileExistsError(f'{folder} is not empty and holds no {MANIFEST}: it was not written by this tool and '
                                  'is left alone. Name another folder or move it away.')
        found = json.loads(manifest.read_text())
        if found['arguments'] == arguments and found['num_files'] == _count_files(folder):
            return folder
    partial_folder = folder.with_name(f'.{folder.name}.partial')
    shutil.rmtree(partial_folder, ignore_errors=True)
    partial_folder.mkdir(parents=True)
    results, progress = [], ProgressBar(len(jobs))
    with ProcessPoolExecutor(workers) as pool:
        mapped = pool.map if workers > 1 else map
        options = dict(chunksize=8) if workers > 1 else {}
        for result in mapped(partial(write, folder=partial_folder), jobs, **options):
            results.append(result)
            progress.update()
    print()
    write_metadata(partial_folder, subset, [row for row, _ in results], classes)
    manifest = dict(arguments=arguments, num_files=_count_files(partial_folder) + 1, classes=classes,
                    clips=[description for _, description in results])
    (partial_folder / MANIFEST).write_text(json.dumps(manifest))
    shutil.rmtree(folder, ignore_errors=True)
    partial_folder.rename(folder)
    return folder


def _count_files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob('*'))
