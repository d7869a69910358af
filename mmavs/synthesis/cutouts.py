"""Read cut-outs: images with transparency, and recordings of what they show."""
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from mmavs.audio.io import read_waveform
from mmavs.datasets.file_listing import check_names, read_csv
from mmavs.structures import UNLABELLED
from mmavs.utils.images import read_image

from .tuxpaint_stamps import find_stamps, list_stamps

#: Where an object can be: standing, held or lying, in the air, in the water.
PLACES = ('ground', 'held', 'air', 'water')
#: Name of the CSV file in a directory of cut-outs.
LISTING = 'cutouts.csv'
# Cut-outs with a shorter longest side are blurred in a frame of 224 pixels.
MIN_SIDE = 90
# Larger images are shrunk once, because they cover at most three quarters of a frame.
MAX_SIDE = 400
# Share of the pixels that are neither opaque nor transparent, above which an image is not the cut-out of an object.
MAX_TRANSLUCENT = 0.35
# Largest sample of a recording, at least.
MIN_PEAK = 0.01
# Fewest classes with several instances that allow holding out some: a clip needs off-screen audio of another one.
MIN_HELD_OUT = 2


@dataclass(frozen=True)
class CutOut:
    """An object, silent if it has no recording; or off-screen audio, which has no image.

    Attributes:
        name: File without suffix, relative to the directory.
        category: Class; empty for silent objects and for off-screen audio.
        image: Image with an alpha channel.
        audio: Recording.
        size: Longest side of the object in meters.
        place: One of ``PLACES``.
    """

    name: str
    category: str
    image: Path | None
    audio: Path | None
    size: float = 1.0
    place: str = 'ground'


@dataclass(frozen=True)
class CutOuts:
    """The cut-outs of a directory.

    Attributes:
        sounding: Category -> its instances, both sorted by name.
        silent: Objects without a recording.
        off_screen: Recordings without an image.
    """

    sounding: dict[str, tuple[CutOut, ...]]
    silent: tuple[CutOut, ...]
    off_screen: tuple[CutOut, ...]

    @property
    def categories(self) -> tuple[str, ...]:
        """All classes, sorted."""
        return tuple(self.sounding)

    def select(self, categories: Sequence[str]) -> 'CutOuts':
        """Keep some classes; the recordings of the others become off-screen audio, and their images are not shown.

        Raises:
            ValueError: There is no such class, or there are fewer than two.
        """
        unknown = sorted(set(categories) - set(self.sounding))
        if unknown:
            raise ValueError(f"no cut-outs of the class {', '.join(map(repr, unknown))}, expected some of "
                             f"{', '.join(self.sounding)}")
        if len(set(categories)) < 2:
            raise ValueError(f'classes are {list(categories)}, expected at least two')
        others = [replace(item, category='', image=None) for name, items in self.sounding.items()
                  if name not in categories for item in items]
        kept = {name: items for name, items in self.sounding.items() if name in categories}
        return CutOuts(kept, self.silent, (*self.off_screen, *others))

    def check_hold_out(self, hold_out: int) -> None:
        """Refuse to hold out instances that are too few, or whose files the other splits would have too.

        Args:
            hold_out: See :meth:`of_split`.

        Raises:
            ValueError: It is negative, fewer than two classes have several instances, or an image or a recording of a
                held-out instance is also that of another row.
        """
        if hold_out < 0:
            raise ValueError(f'hold_out is {hold_out}, expected a number >= 0')
        held_out = self._held_out(hold_out)
        if len(held_out) < MIN_HELD_OUT:
            raise ValueError(f'classes of cut-outs with several instances: {len(held_out)}, expected at least '
                             f'{MIN_HELD_OUT} to hold out one instance of each')
        others = [item for items in self.of_split('train', hold_out).values() for item in items]
        used = {file for item in (*others, *self.silent, *self.off_screen) for file in (item.image, item.audio)}
        for category, item in held_out.items():
            shared = [file for file in (item.image, item.audio) if file in used]
            if shared:
                raise ValueError(f'{shared[0]}: belongs to the held-out instance {item.name!r} of the class '
                                 f'{category!r} and to another row, expected files that no other split has; remove '
                                 'one of the rows, or hold out another instance')

    def _held_out(self, hold_out: int) -> dict[str, CutOut]:
        return {name: items[hold_out % len(items)] for name, items in self.sounding.items() if len(items) > 1}

    def of_split(self, split: str, hold_out: int | None) -> dict[str, tuple[CutOut, ...]]:
        """Instances that sound in a split, by category.

        Args:
            split: 'train', 'val' or 'test'.
            hold_out: None for all instances in each split. Otherwise a number k: instance k (modulo their number) of
                each category that has several is in the test split only, and the test split has no others.
        """
        if hold_out is None:
            return self.sounding
        held_out = self._held_out(hold_out)
        if split == 'test':
            return {name: (item, ) for name, item in held_out.items()}
        return {name: tuple(item for item in items if item is not held_out.get(name))
                for name, items in self.sounding.items()}


def read_cutouts(source: str | Path) -> CutOuts:
    """Read a CSV file of cut-outs, a directory that holds one (``cutouts.csv``), or one with the stamps of Tux Paint.

    Columns of the CSV file: ``image``, ``audio`` (relative to the file), ``class``, and optionally ``size`` (longest
    side in meters, 1 by default), ``place`` (one of ``PLACES``, 'ground' by default). A row without ``audio`` is a
    silent object, one without ``image`` off-screen audio; both have no class.

    Images that are small or mostly translucent, and recordings without audio, are errors in a CSV file. Those of the
    stamps are left out; what remains is off-screen audio or a silent object.

    Raises:
        FileNotFoundError: There are no cut-outs, or a file does not exist.
        ValueError: A row or an image is invalid, or the number of classes is not one of 2 to 254.
    """
    source = Path(source)
    listing = source / LISTING if source.is_dir() else source
    root = find_stamps(source) if source.is_dir() else None
    if listing.is_file():
        rows, directory, strict = read_csv(listing, []), listing.parent, True
        missing = [name for name in ('image', 'audio', 'class') if rows and name not in rows[0]]
        if missing:
            raise ValueError(f"{listing}: no column {', '.join(map(repr, missing))}, found {', '.join(rows[0])}")
        check_names(rows, ['image', 'audio', 'class'], listing)
    elif root is not None:
        rows, directory, strict, listing = list_stamps(root), root, False, root
    else:
        raise FileNotFoundError(f'{source}: no cut-outs, expected a directory with {LISTING}, such a file, or the '
                                'unpacked Debian package tuxpaint-stamps-default (apt-get download, dpkg -x)')
    items = [_parse_row(row, directory, f'{listing}: row {number}', strict) for number, row in enumerate(rows, 1)]
    sounding: dict[str, list[CutOut]] = {}
    for item in sorted(items, key=lambda item: item.name):
        if item.image and item.audio:
            sounding.setdefault(item.category, []).append(item)
    if len(sounding) < 2:
        raise ValueError(f'{listing}: {len(sounding)} classes of objects with image and audio, expected two or more')
    if len(sounding) >= UNLABELLED:
        raise ValueError(f'{listing}: {len(sounding)} classes, expected at most {UNLABELLED - 1}: masks have 8 bits, '
                         f'in which {UNLABELLED} is for pixels without a label')
    return CutOuts({name: tuple(sounding[name]) for name in sorted(sounding)},
                   tuple(item for item in items if item.image and not item.audio),
                   tuple(item for item in items if item.audio and not item.image))


def _parse_row(row: dict[str, str], directory: Path, where: str, strict: bool) -> CutOut:
    """Check a row and its files; with ``strict`` unusable images are errors, otherwise left out."""
    files = {key: directory / row[key] for key in ('image', 'audio') if row[key]}
    if bool(row['class']) != (len(files) == 2):
        raise ValueError(f"{where}: class {row['class']!r}, image {row['image']!r}, audio {row['audio']!r}; expected "
                         'all three, or only an image (a silent object), or only audio (off-screen)')
    for key, file in files.items():
        if not file.is_file():
            raise FileNotFoundError(f'{where}: the {key} {file} does not exist')
    if '_' in row['class'] or row['class'] == 'background':
        raise ValueError(f"{where}: class {row['class']!r}, expected a name without '_', which separates the names in "
                         "lists of classes, other than 'background'")
    size, place = row.get('size') or '1', row.get('place') or 'ground'
    if place not in PLACES:
        raise ValueError(f"{where}: place is {place!r}, expected one of {', '.join(PLACES)}")
    try:
        meters = float(size)
    except ValueError:
        meters = math.nan
    if not 0 < meters < math.inf:
        raise ValueError(f'{where}: size is {size!r}, expected the longest side in meters')
    name = Path(row['image'] or row['audio']).with_suffix('').as_posix()
    category = row['class']
    for key, find_fault in (('image', _image_fault), ('audio', _audio_fault)):
        fault = find_fault(files[key]) if key in files else None
        if fault and strict:
            raise ValueError(f'{files[key]}: {fault}')
        if fault:
            del files[key]
            category = ''
    return CutOut(name, category, files.get('image'), files.get('audio'), meters, place)


def _image_fault(path: Path) -> str | None:
    """Describe why an image is unusable as a cut-out; None if it is usable."""
    alpha = read_image(path, 'cut-out', 'RGBA')[..., 3]
    if max(alpha.shape) < MIN_SIDE:
        return (f'the cut-out has {alpha.shape[1]}x{alpha.shape[0]} pixels, expected a longest side of at least '
                f'{MIN_SIDE}')
    visible, opaque = np.count_nonzero(alpha > 10), np.count_nonzero(alpha > 245)
    if opaque < 0.01 * alpha.size or opaque > 0.98 * alpha.size:
        return f'{opaque / alpha.size:.0%} of the pixels are opaque, expected an object on a transparent background'
    if visible - opaque > MAX_TRANSLUCENT * visible:
        return f'{1 - opaque / visible:.0%} of the visible pixels are translucent, expected an opaque object'
    return None


def _audio_fault(path: Path) -> str | None:
    """Describe why a recording is unusable; None if it is usable."""
    peak = np.abs(read_waveform(path)).max(initial=0)
    return None if peak > MIN_PEAK else f'the largest sample of the recording is {peak:.2g}, expected audio'


@lru_cache(maxsize=256)
def load_sprite(path: Path) -> np.ndarray:
    """Read the image of a cut-out, without transparent borders, its longest side at most ``MAX_SIDE``.

    Returns:
        (h, w, 4) float32 RGBA in [0, 1], the color multiplied by alpha, so that it can be interpolated. Not to be
        written to: it is cached.
    """
    rgba = read_image(path, 'cut-out', 'RGBA').astype(np.float32) / 255
    rows, columns = (np.flatnonzero((rgba[..., 3] > 0.04).any(axis)) for axis in (1, 0))
    rgba = rgba[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    # A narrower edge: the outermost pixels still show the background that the object was cut from.
    rgba[..., 3] = np.clip((rgba[..., 3] - 0.15) / 0.8, 0, 1)
    rgba[..., :3] *= rgba[..., 3:]
    scale = MAX_SIDE / max(rgba.shape[:2])
    if scale < 1:
        rgba = cv2.resize(rgba, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rgba.setflags(write=False)
    return rgba


def split_files(files: Sequence[Path], seed: int) -> dict[str, list[Path]]:
    """Distribute files over the splits, 70, 15 and 15 %, each at least one.

    Raises:
        ValueError: There are fewer than three files.
    """
    if len(files) < 3:
        raise ValueError(f'{len(files)} background images, expected at least three: the splits share none')
    order = np.random.default_rng([seed, len(files)]).permutation(len(files))
    share = max(1, round(0.15 * len(files)))
    shuffled = [files[i] for i in order]
    return dict(test=shuffled[:share], val=shuffled[share:2 * share], train=shuffled[2 * share:])
