"""Write datasets of clips that are composed of cut-outs."""
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace as with_values
from functools import partial
from pathlib import Path

from mmavs.utils.files import natural_order
from mmavs.utils.images import IMAGE_SUFFIXES

from .clip import SyntheticClip
from .cutout_scenes import CutOutSource, make_cutout_clip
from .cutouts import CutOuts, read_cutouts, split_files
from .scenes import SPLITS
from .synthesize import write_dataset

#: To be increased when the same arguments give other clips than before.
CUTOUTS_VERSION = 2


def compose_cutouts(out: str | Path, subset: str, cutouts: str | Path, num_train: int, num_val: int, num_test: int,
                    backgrounds: str | Path | None = None, hold_out: int | None = None, seed: int = 0,
                    size: int = 224, workers: int = 1, replace: bool = True,
                    categories: Sequence[str] | None = None) -> Path:
    """Write clips of cut-out objects and their recordings in the layout of MS3 or AVSS.

    Splits share neither backgrounds (photos, or the random parameters of procedural ones) nor compositions. They share
    cut-outs and recordings, unless ``hold_out`` is given.

    Args:
        out: Directory for the data root, which is named as in AVSBench.
        subset: 'ms3' (binary masks) or 'avss' (class indices, part v1m).
        cutouts: See :func:`read_cutouts`.
        num_train: Clips of the training split.
        num_val: Clips of the validation split.
        num_test: Clips of the test split.
        backgrounds: Directory of photos, also in its subdirectories, none of which should show a class; None for
            procedural backgrounds only.
        hold_out: Number k: instance k (modulo their number) of each category that has several is kept for the test
            split, which then has no other categories and instances. None: every split has all instances.
        seed: Seed, not negative; the same arguments and files give the same clips.
        size: Side of the frames in pixels.
        workers: Number of processes.
        replace: See :func:`synthesize_clips`.
        categories: Classes to use, see :meth:`CutOuts.select`; None for all.

    Returns:
        Data root of the subset.

    Raises:
        FileExistsError: See :func:`synthesize_clips`.
        FileNotFoundError: There are no cut-outs, or a file is missing.
        ValueError: A file or an argument is invalid.
    """
    if subset not in ('ms3', 'avss'):
        raise ValueError(f"subset is {subset!r}, expected 'ms3' or 'avss' for cut-outs")
    counts = (num_train, num_val, num_test)
    if min(counts) < 0 or sum(counts) == 0:
        raise ValueError(f'num_train, num_val, num_test are {counts}, expected numbers >= 0 that are not all 0')
    found = read_cutouts(cutouts)
    source = CutOutSource(found if categories is None else found.select(categories), {}, hold_out)
    if hold_out is not None:
        source.cutouts.check_hold_out(hold_out)
    if backgrounds is not None:
        source = with_values(source, photos=split_files(list_photos(backgrounds), seed))
    jobs = [(split, index) for split, count in zip(SPLITS, counts, strict=True) for index in range(count)]
    photos = [photo for split in SPLITS for photo in source.photos.get(split, [])]
    arguments = dict(source='cut-outs', cutouts_version=CUTOUTS_VERSION, inputs=fingerprint(source.cutouts, photos),
                     num_train=num_train, num_val=num_val, num_test=num_test, hold_out=hold_out, seed=seed, size=size)
    classes = source.cutouts.categories
    return write_dataset(out, subset, arguments, jobs, partial(_make_job, source=source, seed=seed, size=size),
                         classes, range(len(classes) + 1), workers, None, replace)


def list_photos(directory: str | Path) -> list[Path]:
    """Image files in a directory and its subdirectories, in the natural order of their names.

    Raises:
        FileNotFoundError: There is none.
    """
    # By the directory, too: names that occur in several would keep the order of the file system.
    paths = sorted((path for path in Path(directory).rglob('*') if path.suffix.lower() in IMAGE_SUFFIXES),
                   key=lambda path: (natural_order(path), path.relative_to(directory).as_posix()))
    if not paths:
        raise FileNotFoundError(f'{directory}: no photos for the backgrounds, expected image files in this directory')
    return paths


def _make_job(job: tuple[str, int], source: CutOutSource, seed: int, size: int) -> tuple[SyntheticClip, str]:
    return make_cutout_clip(source, *job, seed, size), 'v1m'


def fingerprint(cutouts: CutOuts, photos: Iterable[Path] = ()) -> str:
    """Digest of cut-outs and photos: their names, and the sizes and times of the files."""
    digest = hashlib.sha256()
    items = [*(item for items in cutouts.sounding.values() for item in items), *cutouts.silent, *cutouts.off_screen]
    for item in items:
        digest.update(repr((item.name, item.category, item.size, item.place)).encode())
    for file in (*(file for item in items for file in (item.image, item.audio) if file), *photos):
        stat = file.stat()
        digest.update(repr((file.name, stat.st_size, stat.st_mtime_ns)).encode())
    return digest.hexdigest()
