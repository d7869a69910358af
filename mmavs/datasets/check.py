"""Check the files of a dataset and report what is missing, unreadable or inconsistent."""
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np

from mmavs.audio.io import read_waveform, require_stereo, waveform_length
from mmavs.audio.log_mel import SAMPLE_RATE, min_seconds
from mmavs.datasets.transforms.audio import read_log_mel
from mmavs.datasets.transforms.loading import read_mask, same_aspect
from mmavs.utils.images import read_image
from mmavs.utils.progress import track_progress

from .avsbench_object import AVSBenchMS3Dataset, AVSBenchS4Dataset
from .avss import AVSSDataset
from .clip_dataset import ClipDataset, repeated_clips
from .file_listing import (
    AUDIO_KEYS,
    Listing,
    audio_files,
    candidates,
    describe_missing,
    exists,
    list_directory,
    read_csv,
)
from .vpo import SUBSETS, VPODataset

DATASET_TYPES = dict(
    s4=AVSBenchS4Dataset,
    ms3=AVSBenchMS3Dataset,
    avss=AVSSDataset,
    **{subset: partial(VPODataset, subset=subset) for subset in SUBSETS})
# The AVSS paper counts 12356 clips in all, 1000 more than its three splits have. The sizes of VPO are uncertain.
PUBLISHED_SIZES = dict(
    s4=dict(train=3452, val=740, test=740),
    ms3=dict(train=296, val=64, test=64),
    avss=dict(train=8498, val=1304, test=1554))
# Audio is reported as clipped if a larger fraction of its samples is at full scale. Loud recordings stay below it.
MAX_CLIPPED = 0.2


def check_dataset(data_root: str | Path,
                  subset: str,
                  layout: str | None = None,
                  audio_mode: str = 'mono',
                  mask_prior: str | None = None,
                  metainfo: dict | None = None,
                  published: bool = True,
                  num_threads: int = 4,
                  off_palette: str = 'error',
                  allow_unlabelled: bool = False) -> list[str]:
    """Check every clip of a data root: files missing, unreadable, or inconsistent with each other.

    Checked are: the columns of the CSV file; ``label2idx.json``; clips listed twice, or in two splits; frames, masks
    and mask priors missing or too many; images that cannot be decoded; sizes that differ within a clip or, in training,
    between frames and masks; aspect ratios that differ between frames and masks in any split; mask values that are not
    a class; audio that is missing, cannot be decoded, holds NaN, is clipped, or is shorter than one
    0.96 s example for each frame; log-mel of another shape; number of clips in each split.

    A kind of audio (wav, log-mel) is expected of every clip if its directory exists, and at least one of the two is.

    Args:
        data_root: Directory that holds the CSV file.
        subset: 's4', 'ms3', 'avss', 'vpo-ss', 'vpo-ms' or 'vpo-msmi'.
        layout: Of S4 and MS3 ('object' by default), see :class:`AVSBenchS4Dataset`, or of VPO ('cavp' by default), see
            :class:`VPODataset`.
        audio_mode: Of VPO, see :class:`VPODataset`; 'stereo' also checks that files have two channels.
        mask_prior: Directory of mask priors relative to ``data_root``; None: not checked.
        metainfo: See :class:`ClipDataset`, for datasets of other classes or events.
        published: Whether to compare the number of clips with the published sizes.
        num_threads: Number of clips decoded in parallel.
        off_palette: See :class:`LoadClipMasks`, as for the following.
        allow_unlabelled: See :class:`LoadClipMasks`.

    Returns:
        One line for each problem, without line breaks.
    """
    options = {} if layout is None or subset == 'avss' else dict(layout=layout)
    if subset in SUBSETS:
        options['audio_mode'] = audio_mode
    if mask_prior is not None:
        options['data_prefix'] = dict(mask_prior=mask_prior)
    build = partial(DATASET_TYPES[subset], str(data_root), metainfo=metainfo, lazy_init=True, **options)
    try:
        counts = Counter(row['split'] for row in build(split='train').read_metadata())
    except (OSError, ValueError) as error:
        return [_one_line(error)]

    problems = [*_check_counts(subset, counts, published), *_check_repeated_rows(build(split='train'))]
    listing = cache(list_directory)
    read_masks = partial(read_mask, off_palette=off_palette, allow_unlabelled=allow_unlabelled)
    splits_of: dict[str, list[str]] = {}
    for split in counts:
        dataset = build(split=split)
        clips = dataset.list_clips(listing)
        problems += [f'{dataset.ann_file}: the clip {name} is listed {count} times in the split {split!r}'
                     for name, count in repeated_clips(clips).items()]
        for name in {clip['clip_id'] for clip in clips}:
            splits_of.setdefault(name, []).append(split)
        check = partial(_check_clip, dataset=dataset, listing=listing, audio_keys=_expected_audio(clips, listing),
                        read_masks=read_masks)
        with ThreadPoolExecutor(num_threads) as pool:
            for found in track_progress(pool.map(check, clips), f'{subset} {split}', len(clips)):
                problems += found
    problems += [f"{dataset.ann_file}: the clip {name} is in the splits {' and '.join(splits)}, expected one"
                 for name, splits in sorted(splits_of.items()) if len(splits) > 1]
    return problems


def _check_counts(subset: str, counts: Counter, published: bool) -> Iterator[str]:
    if not counts:
        yield f'{subset}: the CSV file lists no clip'
    if published and subset in PUBLISHED_SIZES:
        for split, expected in PUBLISHED_SIZES[subset].items():
            if counts[split] != expected:
                yield f'{subset} {split}: {counts[split]} clips, the published dataset has {expected}'
        for split in sorted(set(counts) - set(PUBLISHED_SIZES[subset])):
            yield f'{subset} {split}: {counts[split]} clips in a split that the published dataset does not have'


def _check_repeated_rows(dataset: ClipDataset) -> Iterator[str]:
    """Find repeated rows of VPO, whose repeated clips get an id of their own."""
    if isinstance(dataset, VPODataset):
        rows = read_csv(dataset.ann_file, ())
        for row, count in Counter(tuple(row.values()) for row in rows).items():
            if count > 1:
                yield f"{dataset.ann_file}: listed {count} times: {','.join(row)}"


def _expected_audio(clips: list[dict], listing: Listing) -> list[str]:
    """The kinds of audio that every clip should have: those of which any clip has a file, or whose directory exists."""
    first = clips[0]
    offered = [key for key in AUDIO_KEYS if audio_files(first, key)]
    present = [
        key for key in offered
        if any(exists(path, listing) for clip in clips for path in audio_files(clip, key)) or _has_directory(first, key)
    ]
    return present or [key for key in offered if key != 'log_mel_path']


def _has_directory(clip: dict, key: str) -> bool:
    """Check if the directory of a kind of audio exists. In AVSS, audio shares the directory of the clip."""
    return clip['subset'] in ('s4', 'ms3') and os.path.isdir(os.path.dirname(clip[key]))


def _check_clip(clip: dict, dataset: ClipDataset, listing: Listing, audio_keys: list[str],
                read_masks: Callable[..., np.ndarray]) -> list[str]:
    problems = [f'{kind} {message}' for kind, message in dataset.find_problems(clip, listing)]
    problems += _check_images(clip, listing, read_masks)
    for key in audio_keys:
        check = dict(audio_path=_check_waveform, log_mel_path=_check_log_mel, audio_paths=_check_object_audio)[key]
        for path in audio_files(clip, key):
            unique = len(candidates(path, listing)) == 1
            problems += _attempt(check, clip, path) if unique else [describe_missing(path, listing)]
    return [f"{clip['split']} {clip['clip_id']}: {_one_line(problem)}" for problem in problems]


def _check_images(clip: dict, listing: Listing, read_masks: Callable[..., np.ndarray]) -> list[str]:
    problems, shapes = [], {}
    readers = dict(
        frame=partial(read_image, kind='frame', mode='RGB'),
        mask=partial(
            read_masks,
            encoding=clip['mask_encoding'],
            num_classes=clip['num_classes'],
            category_ids=clip.get('category_ids', ())),
        mask_prior=partial(read_image, kind='mask prior', mode='RGB'))
    for kind, read in readers.items():
        for path in clip[f'{kind}_paths'] or ():
            if path is None or not exists(path, listing):
                continue
            try:
                shape = read(path).shape[:2]
            except (OSError, ValueError) as error:
                problems.append(str(error))
            else:
                shapes.setdefault(kind, Counter())[shape] += 1
    for kind, sizes in shapes.items():
        if len(sizes) > 1:
            problems.append(f"the {kind.replace('_', ' ')} files differ in size: {_describe(sizes)} (height x width)")
    if {'frame', 'mask'} <= set(shapes) and len(shapes['frame']) == len(shapes['mask']) == 1:
        (frame, ), (mask, ) = shapes['frame'], shapes['mask']
        found = f"frames are {_describe(shapes['frame'])}, masks {_describe(shapes['mask'])} (height x width)"
        if not same_aspect(frame, mask):
            problems.append(f'{found}, expected the same aspect ratio')
        elif clip['split'] == 'train' and frame != mask:
            problems.append(f'{found}, expected the same in training')
    return problems


def _describe(sizes: Counter) -> str:
    return ', '.join(f'{count} of {height}x{width}' for (height, width), count in sizes.items())


def _attempt(check: Callable[[dict, str], str | None], clip: dict, path: str) -> list[str]:
    try:
        problem = check(clip, path)
    except Exception as error:  # A damaged file may raise any error in its decoder; all are reported.
        problem = str(error) or repr(error)
    return [problem] if problem else []


def _check_object_audio(clip: dict, path: str) -> str | None:
    if clip['audio_mode'] == 'stereo' and clip['audio_positions'] is None:
        require_stereo(path)
    return _find_clipping(read_waveform(path, SAMPLE_RATE), path)


def _find_clipping(waveform: np.ndarray, path: str) -> str | None:
    clipped = np.mean(np.abs(waveform) > 0.99)
    if clipped > MAX_CLIPPED:
        return f'{path}: {clipped:.0%} of the samples are at full scale, the audio is clipped'
    return None


def _check_waveform(clip: dict, path: str) -> str | None:
    # Only the beginning of a long soundtrack is used.
    problem = _find_clipping(read_waveform(path, SAMPLE_RATE, stop=sum(clip['valid']) * SAMPLE_RATE), path)
    if problem:
        return problem
    seconds = waveform_length(path, SAMPLE_RATE) / SAMPLE_RATE
    needed = min_seconds(sum(clip['valid']))
    if seconds < needed:
        return f"{path}: {seconds:.2f} s of audio, expected {needed:.3f} s for {sum(clip['valid'])} frames"
    return None


def _check_log_mel(clip: dict, path: str) -> str | None:
    num_examples, num_frames = len(read_log_mel(path)), sum(clip['valid'])
    if num_examples < num_frames:
        return f'{path}: {num_examples} log-mel examples for {num_frames} frames'
    return None


def _one_line(message: object) -> str:
    return ' '.join(str(message).split())
