"""Base class for clip datasets: a CSV file lists the clips; frames, masks and audio are stored in directories."""
import os
import shlex
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

from mmengine.dataset import BaseDataset

from mmavs.registry import TRANSFORMS
from mmavs.utils.errors import worker_errors
from mmavs.utils.garbage_collection import frozen_garbage
from mmavs.utils.randomness import seeded

from .file_listing import (
    AUDIO_KEYS,
    Listing,
    all_unique,
    audio_files,
    candidates,
    check_names,
    describe_missing,
    existing_path,
    exists,
    list_directory,
)

# Number of names that a message lists.
MAX_NAMED = 5


class ClipDataset(BaseDataset):
    """List the clips of one split: paths and flags, no pixels.

    Clips come in the order of the CSV file. The existence of all files that the pipeline reads is checked up front, so
    an incomplete download is reported before the first training step. Images and audio may have any suffix of a format
    that is read, whichever the layout has: ``0.png`` stands for ``0.jpg``, ``x.MP3`` for ``x.wav``. Hidden files, whose
    names begin with a dot, are ignored. Each clip is a dict:

    - ``clip_id`` (str, unique), ``subset``, ``split``, ``category`` (str or None), ``event_id`` (int or None: index of
      the category among the events of the metainfo);
    - ``sounding`` and ``visible``, names of the classes that sound in the clip, visible or not, and of those that are
      visible, sounding or not: the category of the clip, and the columns ``sounding`` (or ``heard``, or ``a_obj`` as in
      the metadata of AVSS) and ``visible``, names joined by '_'; empty if the list of clips does not have them;
    - ``frame_paths``, T paths, None for a padding frame;
    - ``mask_paths``, T paths, None for a frame without ground truth;
    - ``mask_prior_paths``, T paths (None for a padding frame), or None if ``data_prefix`` names none;
    - ``audio_path`` and ``log_mel_path`` (pkl), each None if there is no such file; or ``audio_paths``, the audio
      of single objects, which is to be mixed;
    - ``valid`` and ``labelled``, T bools: the frame exists, the frame has ground truth (in training: may be used);
    - ``mask_encoding``: 'binary', 'index', 'palette', 'nonzero' or 'category'; ``num_classes``, background included.

    Args:
        data_root: Directory that holds the CSV file.
        split: Value of the CSV column ``split``: 'train', 'val' or 'test'.
        data_prefix: Directories, relative to ``data_root``, that replace or add to those of the layout.
        metainfo: Replaces entries of the class's ``METAINFO``: ``classes``, ``palette``, ``events``; ``clip_length``,
            the frames of the longest clip, into which longer videos are cut in inference; ``seconds_per_frame``, if
            frames are not one second apart.
        pipeline: Transforms.
        indices: Keep the first ``indices`` clips, or those of the given indices.
        test_mode: As in MMEngine.
        lazy_init: Leave the listing to ``full_init``.

    Raises:
        FileNotFoundError: The CSV file is missing, or clips lack files or have another number of frames than of masks;
            or two files that differ in their suffix only; the message counts the problems and names the first clip and
            file.
        ValueError: The CSV file lacks a column, has no clip of the split, lists a clip twice in it or in another split
            as well, or has a name that leads out of the directories of the layout.
    """

    SUBSET: str
    ANN_FILE: str
    #: Whether one directory holds the images of several clips.
    SHARED_DIRECTORIES = False

    def __init__(self,
                 data_root: str,
                 split: str,
                 data_prefix: dict | None = None,
                 metainfo: dict | None = None,
                 pipeline: Sequence[dict | Callable] = (),
                 indices: int | Sequence[int] | None = None,
                 test_mode: bool = False,
                 lazy_init: bool = False) -> None:
        self.split = split
        super().__init__(
            ann_file=self.ANN_FILE,
            metainfo=metainfo,
            data_root=str(data_root),
            data_prefix=data_prefix or {},
            indices=indices,
            pipeline=[TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline],
            test_mode=test_mode,
            lazy_init=lazy_init)

    def full_init(self) -> None:
        """List the clips, see MMEngine."""
        with frozen_garbage(collect=False):
            super().full_init()

    @abstractmethod
    def read_metadata(self) -> list[dict]:
        """Read the rows of the CSV file, with at least the column ``split``."""

    @abstractmethod
    def describe_clip(self, row: dict) -> dict:
        """Make the dict of one clip, every path with the suffix that the layout has."""

    def clip_id(self, row: dict) -> str:
        """The id of the clip of a row; a dataset whose :meth:`describe_clip` reads the disk overrides it."""
        return self.describe_clip(row)['clip_id']

    def list_clips(self, listing: Listing | None = None, rows: list[dict] | None = None) -> list[dict]:
        """List the clips of the split as in the CSV file, whether their files exist or not.

        Paths get the suffixes of the files that exist.

        Args:
            listing: :func:`list_directory` or a cached version of it.
            rows: Result of :meth:`read_metadata`, if it has been called.
        """
        rows = self.read_metadata() if rows is None else rows
        chosen = [row for row in rows if row['split'] == self.split]
        if not chosen:
            counts = Counter(row['split'] for row in rows)
            found = ', '.join(f'{name!r} ({n})' for name, n in counts.items()) or 'no clip at all'
            raise ValueError(f'{self.ann_file}: the split {self.split!r} is empty, found {found}')
        check_names(({'clip_id': self.clip_id(row)} for row in chosen), ('clip_id', ), self.ann_file)
        listing = listing or cache(list_directory)
        return [_with_existing_paths(dict(clip, **_named_objects(row, clip)), listing)
                for row in chosen for clip in [self.describe_clip(row)]]

    def load_data_list(self) -> list[dict]:
        """List the clips of the split; an error if files are missing, or a clip is listed twice or in two splits."""
        listing, rows = cache(list_directory), self.read_metadata()
        clips = self.list_clips(listing, rows)
        repeated = repeated_clips(clips)
        if repeated:
            # Every score would count them twice.
            names = ', '.join(f'{name} ({count} times)' for name, count in list(repeated.items())[:MAX_NAMED])
            raise ValueError(f'{self.ann_file}: {len(repeated)} clip(s) of the split {self.split!r} are listed more '
                             f'than once, keep one row of each: {names}')
        self._require_one_split(clips, rows)
        self._require_files(clips, listing)
        for clip in clips:
            for key in ('audio_path', 'log_mel_path'):
                if clip[key] is not None and not exists(clip[key], listing):
                    clip[key] = None
        return clips

    @worker_errors
    def prepare_data(self, idx: int) -> dict:
        """Run the pipeline over a clip, with random draws seeded by the ``seed`` of the index if it has one."""
        with seeded(getattr(idx, 'seed', None)):
            return super().prepare_data(idx)

    def find_problems(self, clip: dict, listing: Listing) -> list[tuple[str, str]]:
        """Find missing and excess files among the frames, masks and mask priors of a clip.

        Args:
            clip: One of :meth:`list_clips`.
            listing: :func:`list_directory` or a cached version of it.

        Returns:
            Pairs of the kind of file ('frame', 'mask', 'mask prior') and a message that names the file.
        """
        problems = []
        num_frames = sum(clip['valid'])
        for kind, key in (('frame', 'frame_paths'), ('mask', 'mask_paths'), ('mask prior', 'mask_prior_paths')):
            wanted = [path for path in clip[key] or () if path is not None]
            if not wanted:
                continue
            directory = os.path.dirname(wanted[0])
            names = listing(directory)
            if all_unique(wanted, listing) and (
                    self.SHARED_DIRECTORIES or len(names.images) in (len(wanted), num_frames)):
                continue
            images = names.images
            missing = [describe_missing(path, listing) for path in wanted if len(candidates(path, listing)) != 1]
            if self.SHARED_DIRECTORIES:
                problems += [(kind, message) for message in missing]
                continue
            found = f'found {len(images)} of {len(wanted)} {kind} files for {num_frames} frames{_named(images)}'
            problems += [(kind, f'{message}; {found}') for message in missing]
            # Masks of frames without supervision may be stored beside those that are used.
            if not missing and kind != 'mask prior' and len(images) not in (len(wanted), num_frames):
                surplus = sorted(set(images) - {os.path.basename(path) for path in wanted})
                problems.append((kind, f'count is {len(images)} in {directory}, expected {len(wanted)} for '
                                 f'{num_frames} frames; surplus or misnamed{_named(surplus)}'))
        return problems

    def check_flags(self) -> list[str]:
        """The flags with which ``mmavs check-data`` checks the files of this dataset."""
        flags = []
        for key in ('classes', 'events'):
            names = self._metainfo.get(key, ())
            if list(names) != list(self.METAINFO.get(key, ())):
                flags += [f'--{key}', *names]
        if 'mask_prior' in self.data_prefix:
            flags += ['--mask-prior', os.path.relpath(self.data_prefix['mask_prior'], self.data_root)]
        for loader in loading_transforms(self.pipeline.transforms):
            flags += getattr(loader, 'check_flags', ())
        return flags

    def advice(self) -> str:
        """Sentence for the message on missing files, with a blank at its end; '' if the layout needs none."""
        return ''

    def _require_one_split(self, clips: list[dict], rows: list[dict]) -> None:
        """Raise a ValueError if clips of this split are in another one as well."""
        clip_ids, others = {clip['clip_id'] for clip in clips}, {}
        for row in rows:
            if row['split'] != self.split and (name := self.clip_id(row)) in clip_ids:
                others[name] = row['split']
        if others:
            names = ', '.join(f'{name} (also in {split})' for name, split in list(others.items())[:MAX_NAMED])
            raise ValueError(
                f'{self.ann_file}: {len(others)} clip(s) of the split {self.split!r} are in another split as well, '
                f'scores would not tell what they seem to: {names}; keep one row of each. To validate on the clips of '
                "the test, set split='test' in the dataset of val_dataloader")

    def _require_files(self, clips: list[dict], listing: Listing) -> None:
        # Loading transforms name the path that they read. If none reads audio, either kind of audio will do.
        read_keys = {loader.path_key for loader in loading_transforms(self.pipeline.transforms)}
        audio_keys = [key for key in AUDIO_KEYS if key in read_keys] or AUDIO_KEYS
        counts, first, incomplete = Counter(), None, 0
        for clip in clips:
            problems = self.find_problems(clip, listing)
            # Predictions need no masks. Without a pipeline, all files are required.
            if read_keys and 'mask_paths' not in read_keys:
                problems = [problem for problem in problems if problem[0] != 'mask']
            problems += _find_audio_problems(clip, audio_keys, listing)
            if problems:
                incomplete += 1
                counts.update(kind for kind, _ in problems)
                first = first or f"clip {clip['clip_id']}: {' '.join(problems[0])}"
        if incomplete:
            kinds = ', '.join(f'{n} x {kind}' for kind, n in counts.items())
            arguments = shlex.join([self.data_root, '--subset', self.SUBSET, *self.check_flags()])
            hint = '. To predict without masks run mmavs test --predict-only' if set(counts) == {'mask'} else ''
            raise FileNotFoundError(
                f'{self.ann_file}: {incomplete} of {len(clips)} clips of the split {self.split!r} are incomplete or '
                f'inconsistent ({kinds}). First: {first}. {self.advice()}For the whole list run '
                f'mmavs check-data {arguments}{hint}')


def _find_audio_problems(clip: dict, keys: Sequence[str], listing: Listing) -> list[tuple[str, str]]:
    """Problems of a clip of which no kind of audio under the ``keys`` is complete."""
    files = [audio_files(clip, key) for key in keys if audio_files(clip, key)]
    if not files:
        return [('audio', f"the dataset has no {' or '.join(keys)}, which the pipeline reads: LoadMixedAudio is for "
                 'VPO, LoadAudio for the other datasets')]
    if any(all(all_unique([path], listing) for path in paths) for paths in files):
        return []
    missing = [[describe_missing(path, listing) for path in paths if len(candidates(path, listing)) != 1]
               for paths in files]
    if all(missing):
        return [('audio', ' or '.join(', '.join(messages) for messages in missing))]
    return []


def repeated_clips(clips: Iterable[dict]) -> dict[str, int]:
    """Ids of the clips that are listed more than once, and how often."""
    return {clip_id: count for clip_id, count in Counter(clip['clip_id'] for clip in clips).items() if count > 1}


def _with_existing_paths(clip: dict, listing: Listing) -> dict:
    """Replace the paths of a clip by those of the files that exist, which may have other suffixes."""
    for key in ('frame_paths', 'mask_paths', 'mask_prior_paths', *AUDIO_KEYS):
        paths = clip.get(key)
        if isinstance(paths, str):
            clip[key] = existing_path(paths, listing)
        elif paths is not None and not all_unique([path for path in paths if path is not None], listing):
            clip[key] = [path if path is None else existing_path(path, listing) for path in paths]
    return clip


def _named(names: Sequence[str]) -> str:
    """The first names in parentheses, for messages; '' if there is none."""
    more = ', ...' if len(names) > MAX_NAMED else ''
    return f" ({', '.join(names[:MAX_NAMED])}{more})" if names else ''


def _named_objects(row: dict, clip: dict) -> dict:
    """The entries ``sounding`` and ``visible`` of a clip."""
    column = row.get('sounding') or row.get('heard') or row.get('a_obj') or ''
    sounding = [*clip.get('sounding', ()), clip['category'], *column.split('_')]
    visible = (row.get('visible') or '').split('_')
    return dict(sounding=tuple(dict.fromkeys(filter(None, sounding))), visible=tuple(filter(None, visible)))


def all_transforms(transforms: Iterable) -> Iterator:
    """Iterate over transforms and those nested in them."""
    for transform in transforms:
        yield transform
        inner = getattr(transform, 'transforms', ())
        yield from all_transforms(getattr(inner, 'transforms', inner))


def loading_transforms(transforms: Iterable) -> Iterator:
    """Iterate over the transforms that read files, nested ones included: they have ``path_key`` and ``check_files``."""
    return (transform for transform in all_transforms(transforms) if hasattr(transform, 'path_key'))
