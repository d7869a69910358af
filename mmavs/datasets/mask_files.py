"""List and read the masks of clips in the layouts in which datasets and repositories store them."""
from __future__ import annotations

import math
import os
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mmavs.structures import UNLABELLED
from mmavs.utils.files import require_regular
from mmavs.utils.images import MAX_PIXELS, read_image

from .check import DATASET_TYPES
from .file_listing import read_csv
from .mask_layouts import clip_and_frame, png_files
from .transforms.loading import read_mask
from .vpo import CATEGORY_IDS, SUBSETS

# The most bytes that deflate makes of one; an archive that claims more of them holds less than it says.
MAX_COMPRESSION = 1032
ENCODINGS = ('auto', 'binary', 'index', 'palette', 'category')


@dataclass(frozen=True)
class MaskFormat:
    """Meaning of the values of masks.

    Attributes:
        num_classes: K, background included.
        encoding: Of PNG files, see :func:`mmavs.datasets.transforms.loading.read_mask`.
        soft: The values are probabilities of the foreground: 0 to 255 (or 65535) in PNG files.
        off_palette: See :class:`mmavs.datasets.LoadClipMasks`.
        single_frames: Every PNG file is a clip of its own, as in VPO.
    """
    num_classes: int = 2
    encoding: str = 'auto'
    soft: bool = False
    off_palette: str = 'error'
    single_frames: bool = False

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise ValueError(f"the encoding of the masks is {self.encoding!r}, expected one of {', '.join(ENCODINGS)}")
        if self.soft and self.num_classes != 2:
            raise ValueError(f'probabilities are those of one foreground class, the masks have {self.num_classes} '
                             'classes: give masks of classes, or score the foreground with 2 classes')


class MaskFiles(ABC):
    """Masks of clips on disk.

    Attributes:
        path: File or directory, for messages.
        subset: Subset of the dataset, None if it is not known.
        clips: Name of each clip -> the numbers of its frames that have masks, ascending.
        numbered: The numbers come from the names of files; otherwise they count the masks from 0.
        soft: The masks are probabilities.
    """

    def __init__(self, path: str | Path, subset: str | None = None) -> None:
        self.path, self.subset = str(path), subset
        self.clips: dict[str, Sequence[int]] = {}
        self.numbered, self.soft = True, False

    @abstractmethod
    def read(self, clip: str, numbers: Sequence[int]) -> np.ndarray:
        """Read the masks of frames: (T, H, W) uint8 classes (255 where unlabelled) or float32 probabilities.

        Raises:
            ValueError: A mask cannot be read, holds other values than the format states, or the sizes differ.
        """

    def length(self, clip: str) -> int | None:
        """Number of frames of a clip, with those that have no mask; None if it is not known."""
        return None


def open_masks(path: str | Path,
               mask_format: MaskFormat,
               subset: str | None = None,
               split: str = 'test',
               classes: Sequence[str] | None = None) -> MaskFiles:
    """Open masks in any known layout.

    Args:
        path: The root of a dataset (with its list of clips, if ``subset`` is given), a directory of PNG files, or an
            ``.npz`` file.
        mask_format: Meaning of the values.
        subset: 's4', 'ms3', 'avss' or a subset of VPO.
        split: Split of the dataset, if ``path`` is its root.
        classes: Classes of the dataset, background first, if they are not the published ones.

    Raises:
        FileNotFoundError: There is no such file or directory, or no mask in it.
        ValueError: The file is of another kind, or names are not unique.
    """
    path = Path(path)
    if path.is_dir():
        if subset is not None:
            build = partial(DATASET_TYPES[subset], str(path), split=split, lazy_init=True)
            if subset in SUBSETS and not os.path.isfile(build().ann_file):
                build = partial(build, layout='clean')
            ann_file = build().ann_file
            if os.path.isfile(ann_file):
                metainfo = {} if classes is None else dict(classes=tuple(classes))
                if subset == 's4':  # Masks have nothing to do with its events: a dataset of others is read too.
                    metainfo['events'] = sorted({row['category'] for row in read_csv(ann_file, ('category', ))})
                return DatasetMasks(path, build(metainfo=metainfo).list_clips(), mask_format, subset)
        return MaskDirectory(path, mask_format, subset)
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such file or directory, expected masks: a directory of PNG files or an '
                                '.npz file')
    require_regular(path, 'masks: a directory of PNG files or an .npz file')
    if path.suffix.lower() != '.npz':
        raise ValueError(f'{path}: expected a directory of PNG files or a file that ends in .npz')
    return MaskArchive(path, mask_format, subset)


class DatasetMasks(MaskFiles):
    """Ground truth of the split of a dataset, from its list of clips.

    Args:
        path: Its root.
        clips: Its clips, of :meth:`mmavs.datasets.ClipDataset.list_clips`.
        mask_format: Meaning of the values; the encoding is that of the dataset.
        subset: Name of the subset.
    """

    def __init__(self, path: str | Path, clips: Iterable[dict], mask_format: MaskFormat, subset: str) -> None:
        super().__init__(path, subset)
        self._format = mask_format
        self._clips = {clip['clip_id']: clip for clip in clips}
        self.clips = {
            name: [t for t, mask in enumerate(clip['mask_paths']) if mask is not None]
            for name, clip in self._clips.items()
        }

    def length(self, clip: str) -> int:
        """See :class:`MaskFiles`."""
        return len(self._clips[clip]['mask_paths'])

    def read(self, clip: str, numbers: Sequence[int]) -> np.ndarray:
        """See :class:`MaskFiles`."""
        info = self._clips[clip]
        paths = [info['mask_paths'][t] for t in numbers]
        return _stack([
            _read_classes(path, self._format, info['mask_encoding'], info.get('category_ids', ())) for path in paths
        ], paths)


class MaskDirectory(MaskFiles):
    """PNG files below a directory, one per frame.

    The clip is the directory of a file, relative to ``path`` (``CLIP/00000.png``), with the rest of a name that ends
    in ``_NUMBER`` (``CATEGORY/CLIP_1.png``) unless that repeats it (``CLIP/CLIP_1.png``). ``labels_semantic`` and
    ``labels_rgb`` below the directory of a clip do not count as part of its name; a clip that has both is read from the
    first.

    Args:
        path: The directory.
        mask_format: Meaning of the values.
        subset: Name of the subset.
    """

    def __init__(self, path: str | Path, mask_format: MaskFormat, subset: str | None = None) -> None:
        super().__init__(path, subset)
        self._format, self.soft = mask_format, mask_format.soft
        self._paths: dict[str, dict[int, str]] = {}
        unnumbered = []
        for directory, files in png_files(self.path):
            for name in files:
                file = os.path.join(directory, name)
                place = clip_and_frame(os.path.relpath(file, self.path), mask_format.single_frames)
                if place is None:
                    unnumbered.append(file)
                    continue
                clip, number = place
                other = self._paths.setdefault(clip, {}).setdefault(number, file)
                if other != file:
                    raise ValueError(f'{file}: is frame {number} of clip {clip!r} as is {other}, expected one mask of '
                                     'each frame: remove one of them')
        if unnumbered:
            raise ValueError(f'{unnumbered[0]}: no frame number at the end of its name ({len(unnumbered)} such '
                             f'file(s)): expected {self.path}/CLIP/NUMBER.png or {self.path}/CLIP_NUMBER.png')
        if not self._paths:
            raise FileNotFoundError(f'{self.path}: no PNG file, expected masks: CLIP/NUMBER.png or CLIP_NUMBER.png')
        self.clips = {clip: sorted(frames) for clip, frames in sorted(self._paths.items())}

    def read(self, clip: str, numbers: Sequence[int]) -> np.ndarray:
        """See :class:`MaskFiles`."""
        paths = [self._paths[clip][number] for number in numbers]
        if self.soft:
            return _stack([_read_probabilities(path) for path in paths], paths)
        encoding = self._format.encoding
        if encoding == 'auto' and os.path.basename(os.path.dirname(paths[0])) == 'labels_rgb':
            encoding = 'palette'  # in an indexed image too
        ids = tuple(CATEGORY_IDS.values()) if encoding == 'category' else ()
        return _stack([_read_classes(path, self._format, encoding, ids) for path in paths], paths)


class MaskArchive(MaskFiles):
    """An ``.npz`` file with an array (T, H, W) per clip: classes as whole numbers or bool, or float probabilities.

    Args:
        path: The file.
        mask_format: Meaning of the values.
        subset: Name of the subset.

    Raises:
        ValueError: The file is damaged, or an array is pickled or has another shape.
    """

    def __init__(self, path: str | Path, mask_format: MaskFormat, subset: str | None = None) -> None:
        super().__init__(path, subset)
        self._format, self.numbered = mask_format, False
        soft = {}
        with self._open() as archive:
            for member in archive.namelist():
                if not member.endswith('.npy'):
                    raise ValueError(f'{path}: {member!r} is not an array (.npy), expected arrays only')
                clip = member.removesuffix('.npy')
                if clip in self.clips:
                    raise ValueError(f'{path}: {clip!r} occurs twice, expected one array of each clip')
                shape, dtype = self._header(archive, member)
                self.clips[clip] = range(shape[0])
                soft[clip] = mask_format.soft or dtype.kind == 'f'
        if not soft:
            raise FileNotFoundError(f'{path}: no array, expected one (frames, height, width) per clip')
        if len(set(soft.values())) > 1:
            hard = next(clip for clip in soft if not soft[clip])
            raise ValueError(f'{path}: {hard!r} holds whole numbers and other arrays probabilities, expected one kind')
        self.soft = all(soft.values())
        if self.soft and mask_format.num_classes != 2:
            raise ValueError(f'{path}: the arrays hold probabilities ({dtype}), expected classes 0 to '
                             f'{mask_format.num_classes - 1}')

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise ValueError(f'{self.path}: not an .npz file, or truncated ({error})') from error

    def _header(self, archive: zipfile.ZipFile, member: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array, without reading it."""
        try:
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(stream)
        except Exception as error:  # NumPy and zipfile raise any error on damaged files.
            raise ValueError(f'{self.path}: {member} is not an array of NumPy ({error})') from error
        if len(shape) != 3 or dtype.kind not in 'buif' or not 0 < shape[1] * shape[2] <= MAX_PIXELS:
            raise ValueError(f'{self.path}: {member} has shape {shape} and type {dtype}, expected numbers (frames, '
                             'height, width)')
        size = math.prod(shape) * dtype.itemsize
        if size > archive.getinfo(member).file_size or size > MAX_COMPRESSION * os.path.getsize(self.path):
            raise ValueError(f'{self.path}: {member} is truncated, its header says {shape}')
        if self._format.soft and dtype.kind != 'f' and dtype not in (np.uint8, np.uint16):
            raise ValueError(f'{self.path}: {member} has the type {dtype}, expected probabilities: float from 0 to 1, '
                             'uint8 or uint16')
        return shape, dtype

    def read(self, clip: str, numbers: Sequence[int]) -> np.ndarray:
        """See :class:`MaskFiles`."""
        try:
            with self._open() as archive, archive.open(f'{clip}.npy') as stream:
                masks = np.lib.format.read_array(stream, allow_pickle=False)[list(numbers)]
        except Exception as error:
            raise ValueError(f'{self.path}: {clip!r} cannot be read ({error})') from error
        if self.soft:
            largest = 1 if masks.dtype.kind == 'f' else np.iinfo(masks.dtype).max
            return masks.astype(np.float32) / np.float32(largest)
        try:
            return array_classes(masks, self._format.num_classes)
        except ValueError as error:
            raise ValueError(f'{self.path}: {clip!r} {error}') from error


def array_classes(masks: np.ndarray, num_classes: int) -> np.ndarray:
    """Classes of an array of whole numbers, uint8.

    255 is the foreground of two classes, if no value is 1, and unlabelled otherwise.

    Raises:
        ValueError: A value is not a class.
    """
    wrong = (masks < 0) | (masks >= num_classes) & (masks != UNLABELLED)
    if wrong.any():
        two = ', or 255 for the foreground' if num_classes == 2 else ''
        raise ValueError(f'holds the value {masks[wrong].flat[0]}, expected classes 0 to {num_classes - 1}{two}')
    masks = masks.astype(np.uint8)
    if num_classes == 2 and (masks == UNLABELLED).any() and not (masks == 1).any():
        return (masks == UNLABELLED).astype(np.uint8)
    return masks


def _read_classes(path: str, mask_format: MaskFormat, encoding: str, category_ids: Sequence[int]) -> np.ndarray:
    try:
        return read_mask(path, encoding, mask_format.num_classes, mask_format.off_palette, category_ids, True)
    except ValueError as error:
        message = str(error).replace("LoadClipMasks(off_palette='background')", '--off-palette background')
        if encoding in ('auto', 'binary') and mask_format.num_classes == 2 and 'mask value' in message:
            message += ('; --soft reads probabilities, and --dataset, --classes or --num-classes states the classes of '
                        'class masks')
        raise ValueError(message) from error


def _read_probabilities(path: str) -> np.ndarray:
    values = read_image(path, 'mask')
    if values.ndim != 2:
        raise ValueError(f'{path}: the mask has {values.shape[2]} channels, expected one that holds probabilities')
    return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)


def _stack(masks: list[np.ndarray], paths: Sequence[str]) -> np.ndarray:
    for mask, path in zip(masks, paths):
        if mask.shape != masks[0].shape:
            raise ValueError(f'the masks of a clip differ in size: {paths[0]} is {masks[0].shape[0]}x'
                             f'{masks[0].shape[1]}, {path} is {mask.shape[0]}x{mask.shape[1]} (height x width)')
    return np.stack(masks)
