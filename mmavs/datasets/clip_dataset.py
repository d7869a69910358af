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
from mmavs.utils.randomness import seeded

from .file_listing import AUDIO_KEYS, IMAGE_SUFFIXES, Listing, audio_files, exists, list_directory


class ClipDataset(BaseDataset):
    """List the clips of one split: paths and flags, no pixels.

    Clips come in the order of the CSV file. The existence of all files that the pipeline reads is checked up front, so
    an incomplete download is reported before the first training step. Each clip is a dict:

    - ``clip_id`` (str, unique), ``subset``, ``split``, ``category`` (str or None), ``event_id`` (int or None: index of
      the category among the events of the metainfo);
    - ``sounding`` and ``visible``, names of the classes that sound in the clip, visible or not, and of those that are
      visible, sounding or not: the category of the clip, and the columns ``sounding`` (or ``heard``, or ``a_obj`` as in
      the metadata of AVSS) and ``visible``, names joined by '_'; empty if the list of clips does not have them;
    - ``frame_paths``, T paths, None for a padding frame;
    - ``mask_paths``, T paths, None for a frame without ground truth;
    - ``mask_prior_paths``, T paths (None for a padding frame), or None if ``data_prefix`` names none;
    - ``audio_path`` (wav) and ``log_mel_path`` (pkl), each None if there is no such file; or ``audio_paths``, the audio
      of single objects, which is to be mixed;
    - ``valid`` and ``labelled``, T bools: the frame exists, the frame has ground truth (in training: may be used);
    - ``mask_encoding``: 'binary', 'index', 'palette' or 'category'; ``num_classes``, background included.

    Args:
        data_root: Directory that holds the CSV file.
        split: Value of the CSV column ``split``: 'train', 'val' or 'test'.
        data_prefix: Directories, relative to ``data_root``, that replace or add to those of the layout.
        metainfo: Replaces entries of the class's ``METAINFO``: ``classes``, ``palette``, ``events`` and
            ``clip_length``, the frames of the longest clip, into which longer videos are cut in inference.
        pipeline: Transforms.
        indices: Keep the first ``indices`` clips, or those of the given indices.
        test_mode: As in MMEngine.
        lazy_init: Leave the listing to ``full_init``.

    Raises:
        FileNotFoundError: The CSV file is missing, or clips lack files or have another number of frames than of masks;
            the message counts the problems and names the first clip and file.
        ValueError: The CSV file lacks a column or has no clip of the split.
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

    @abstractmethod
    def read_metadata(self) -> list[dict]:
        """Read the rows of the CSV file, with at least the column ``split``."""

    @abstractmethod
    def describe_clip(self, row: dict) -> dict:
        """Make the dict of one clip, every path as the layout has it."""

    def list_clips(self) -> list[dict]:
        """List the clips of the split as in the CSV file, whether their files exist or not."""
        rows = self.read_metadata()
        chosen = [row for row in rows if row['split'] == self.split]
        if not chosen:
            counts = Counter(row['split'] for row in rows)
            found = ', '.join(f'{name!r} ({n})' for name, n in counts.items()) or 'no clip at all'
            raise ValueError(f'{self.ann_file}: the split {self.split!r} is empty, found {found}')
        return [dict(clip, **_named_objects(row, clip)) for row in chosen for clip in [self.describe_clip(row)]]

    def load_data_list(self) -> list[dict]:
        """List the clips of the split; an error if files are missing."""
        clips = self.list_clips()
        listing = cache(list_directory)
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
            count = sum(name.lower().endswith(IMAGE_SUFFIXES) for name in listing(directory))
            missing = [path for path in wanted if not exists(path, listing)]
            if self.SHARED_DIRECTORIES:
                problems += [(kind, f'{path} is missing') for path in missing]
                continue
            problems += [(kind, f'{path} is missing; found {count} of {len(wanted)} {kind} files for '
                          f'{num_frames} frames')
                         for path in missing]
            # Masks of frames without supervision may be stored beside those that are used.
            if not missing and kind != 'mask prior' and count not in (len(wanted), num_frames):
                problems.append(
                    (kind, f'count is {count} in {directory}, expected {len(wanted)} for {num_frames} frames'))
        return problems

    def check_flags(self) -> list[str]:
        """The flags with which ``check_dataset.py`` checks the files of this dataset."""
        flags = []
        for key in ('classes', 'events'):
            names = self._metainfo.get(key, ())
            if list(names) != list(self.METAINFO.get(key, ())):
                flags += [f'--{key}', *names]
        if 'mask_prior' in self.data_prefix:
            flags += ['--mask-prior', os.path.relpath(self.data_prefix['mask_prior'], self.data_root)]
        return flags

    def _require_files(self, clips: list[dict], listing: Listing) -> None:
        # Loading transforms name the path that they read. If none reads audio, either kind of audio will do.
        read_keys = {loader.path_key for loader in loading_transforms(self.pipeline.transforms)}
        audio_keys = [key for key in AUDIO_KEYS if key in read_keys] or AUDIO_KEYS
        counts, first, incomplete = Counter(), None, 0
        for clip in clips:
            problems = self.find_problems(clip, listing)
            problems += _find_audio_problems(clip, audio_keys, listing)
            if problems:
                incomplete += 1
                counts.update(kind for kind, _ in problems)
                first = first or f"clip {clip['clip_id']}: {' '.join(problems[0])}"
        if incomplete:
            kinds = ', '.join(f'{n} x {kind}' for kind, n in counts.items())
            arguments = shlex.join([self.data_root, '--subset', self.SUBSET, *self.check_flags()])
            raise FileNotFoundError(
                f'{self.ann_file}: {incomplete} of {len(clips)} clips of the split {self.split!r} are incomplete or '
                f'inconsistent ({kinds}). First: {first}. For the whole list run tools/dataset_converters/'
                f'check_dataset.py {arguments}')


def _find_audio_problems(clip: dict, keys: Sequence[str], listing: Listing) -> list[tuple[str, str]]:
    """Problems of a clip of which no kind of audio under the ``keys`` is complete."""
    files = [audio_files(clip, key) for key in keys if audio_files(clip, key)]
    if not files:
        return [('audio', f"the dataset has no {' or '.join(keys)}, which the pipeline reads: LoadMixedAudio is for "
                 'VPO, LoadAudio for the other datasets')]
    missing = [[path for path in paths if not exists(path, listing)] for paths in files]
    if all(missing):
        return [('audio', ' or '.join(', '.join(paths) for paths in missing) + ' is missing')]
    return []


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
