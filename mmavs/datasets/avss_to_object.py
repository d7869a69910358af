"""Derive the frames and masks of S4 and MS3 at another size from those of AVSBench-semantic, as VCT's preparation."""
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np
from mmcv.image import imresize
from PIL import Image

from mmavs.utils.files import atomic_write
from mmavs.utils.images import read_image
from mmavs.utils.progress import track_progress

from .avsbench_object import EVALUATION_SIZE, AVSBenchMS3Dataset, AVSBenchS4Dataset, resized_directories
from .avss import NUM_FRAMES
from .avss_parts import PARTS
from .clip_dataset import ClipDataset
from .file_listing import (
    DirectoryNames,
    Listing,
    candidates,
    check_names,
    describe_missing,
    list_directory,
    read_csv,
)

# Subset -> its dataset.
SUBSETS = dict(s4=AVSBenchS4Dataset, ms3=AVSBenchMS3Dataset)


@dataclass
class Conversion:
    """Result of a conversion.

    Attributes:
        written: Number of files written.
        kept: Number of files that existed before and were left as they are.
        problems: One line for each clip that could not be converted completely, without line breaks.
    """

    written: int = 0
    kept: int = 0
    problems: list[str] = field(default_factory=list)


def convert_avss_to_object(avss_root: str | Path,
                           object_root: str | Path,
                           subset: str,
                           size: int = 384,
                           mask_prior: str | None = None,
                           metainfo: dict | None = None) -> Conversion:
    """Write frames and masks of S4 or MS3 that are made of the original ones in AVSBench-semantic.

    AVSBench-object ships frames of 224x224; the same clips are the parts v1s (S4) and v1m (MS3) of AVSBench-semantic,
    whose frames have their original size. A clip of ``s4_meta_data.csv`` or ``ms3_meta_data.csv`` is the row of
    ``metadata.csv`` with its name as ``vid`` or ``uid``. Its files are written into the data root of the subset::

        s4_data_384/visual_frames_384/{split}/{category}/{name}/{name}_{1..5}.png
        s4_data_384/gt_masks_384/train/{category}/{name}/{name}_1.png
        s4_data_384/gt_masks_224/{val,test}/{category}/{name}/{name}_{1..5}.png
        s4_data_384/pre_SAM_mask_384/{split}/{category}/{name}/{name}_{1..5}_mask_color.png     with ``mask_prior``

    (``ms3_data_384``: without ``{category}``, and frames without ``{split}``.) This is the layout '384' of
    :class:`AVSBenchS4Dataset` and :class:`AVSBenchMS3Dataset`; the audio stays where it is. Frames are resized to
    squares bilinearly, masks and mask priors to the nearest pixel, by Pillow as in the released code. Masks are
    binary: 255 where the label is not background, that is where the gray value of the color in ``labels_rgb`` is not
    0, or the class in ``labels_semantic`` if there is no ``labels_rgb``.

    Files are written atomically, and existing ones are kept: an interrupted conversion continues where it ended.

    Args:
        avss_root: Directory of AVSBench-semantic, with ``metadata.csv``, ``v1s`` and ``v1m``.
        object_root: Directory of the subset of AVSBench-object, with its CSV file; output directory.
        subset: 's4' or 'ms3'.
        size: Side of the frames and of the masks of training in pixels. Masks of evaluation have 224.
        mask_prior: Directory of the mask priors relative to ``avss_root``; None: there are none.
        metainfo: See :class:`ClipDataset`, for an S4-like dataset of other events.

    Raises:
        FileNotFoundError: A CSV file is missing.
        ValueError: A CSV file is not that of the subset, or the subset or the size is wrong.
        OSError: A file cannot be written.

    Source: released code of VCT, ``avs_tools/generate_data_384``.
    """
    if subset not in SUBSETS:
        raise ValueError(f"subset is {subset!r}, expected {' or '.join(SUBSETS)}")
    if size < 1:
        raise ValueError(f'size is {size}, expected a number of pixels')
    dataset_type, part = SUBSETS[subset], PARTS[subset]
    sources = _read_sources(Path(avss_root, 'metadata.csv'), part)
    build = partial(dataset_type, str(object_root), metainfo=metainfo, layout=str(size), lazy_init=True)
    splits = dict.fromkeys(row['split'] for row in build(split='train').read_metadata())
    done, listing = Conversion(), cache(list_directory)
    for split in splits:
        prefix = {}
        if mask_prior is not None:
            prefix = dict(mask_prior=resized_directories(dataset_type.DIRECTORY, size, split)['mask_prior'])
        dataset = build(split=split, data_prefix=prefix)
        # Of the files that are to be written, none is listed: their paths are those of the layout.
        for clip in track_progress(dataset.list_clips(lambda directory: DirectoryNames()), f'{subset} {split}'):
            try:
                uid = _find_source(sources, clip, dataset)
                _convert_clip(clip, Path(avss_root), f'{part}/{uid}', size, mask_prior, listing, done)
            except (ValueError, FileNotFoundError) as error:
                message = ' '.join(str(error).split())
                done.problems.append(f"{split} {clip['clip_id']}: {message}")
    return done


def _read_sources(path: Path, part: str) -> dict[str, set[str]]:
    """Map the ``vid`` and the ``uid`` of every clip of a part to its uid; a vid may have several."""
    sources: dict[str, set[str]] = {}
    rows = read_csv(path, ('vid', 'uid', 'label'))
    check_names(rows, ('uid', ), path)
    for row in rows:
        if row['label'] == part:
            for name in (row['vid'], row['uid']):
                sources.setdefault(name, set()).add(row['uid'])
    if not sources:
        raise ValueError(f'{path}: no clip of the part {part}, expected those of AVSBench-semantic')
    return sources


def _find_source(sources: dict[str, set[str]], clip: dict, dataset: ClipDataset) -> str:
    """The uid of the clip of AVSBench-semantic that a clip of ``dataset`` is made of."""
    name = clip['clip_id'].rpartition('/')[2]
    found = sources.get(name, ())
    if name in found:
        return name
    if len(found) != 1:
        raise ValueError(f"{name} of {dataset.ann_file} is the vid or uid of {len(found)} clips in metadata.csv "
                         f"({', '.join(sorted(found)) or 'none'}), expected one")
    return next(iter(found))


def _convert_clip(clip: dict, avss_root: Path, source: str, size: int, mask_prior: str | None, listing: Listing,
                  done: Conversion) -> None:
    """Write the files of one clip that do not exist."""
    directory = avss_root / source
    labels = 'labels_rgb' if list_directory(str(directory / 'labels_rgb')).names else 'labels_semantic'
    mask_size = size if clip['split'] == 'train' else EVALUATION_SIZE
    jobs: list[tuple[str | None, str, Callable[[str], np.ndarray]]] = []
    for i in range(NUM_FRAMES[source.partition('/')[0]]):
        jobs.append((clip['frame_paths'][i], str(directory / f'frames/{i}.jpg'), partial(_resized_frame, size=size)))
        jobs.append((clip['mask_paths'][i], str(directory / f'{labels}/{i}.png'),
                     partial(_resized_mask, size=mask_size, colors=labels == 'labels_rgb')))
        if mask_prior is not None:
            prior = str(avss_root / mask_prior / source / f'frames/{i}_mask_color.png')
            jobs.append((clip['mask_prior_paths'][i], prior, partial(_resized_prior, size=size)))
    for target, original, convert in jobs:
        if target is None:  # a frame without ground truth
            continue
        if os.path.exists(target):
            done.kept += 1
            continue
        found = candidates(original, listing)
        if len(found) != 1:
            raise FileNotFoundError(describe_missing(original, listing))
        image = Image.fromarray(convert(found[0]))
        with atomic_write(target) as partial_file:
            image.save(partial_file, format='PNG')
        done.written += 1


def _resized_frame(path: str, size: int) -> np.ndarray:
    return imresize(read_image(path, 'frame', 'RGB'), (size, size), interpolation='bilinear', backend='pillow')


def _resized_prior(path: str, size: int) -> np.ndarray:
    # The color is what counts, not the index: a palette image becomes RGB.
    return imresize(read_image(path, 'mask prior', 'RGB'), (size, size), interpolation='nearest', backend='pillow')


def _resized_mask(path: str, size: int, colors: bool) -> np.ndarray:
    values = read_image(path, 'mask', 'L' if colors else None)
    if values.ndim != 2:
        raise ValueError(f'{path}: the mask has {values.shape[2]} channels, expected one that holds class indices')
    foreground = (values != 0).astype(np.uint8) * 255
    return imresize(foreground, (size, size), interpolation='nearest', backend='pillow')
