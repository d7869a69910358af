"""Clips composed of a picture with a mask and recordings of the classes that sound in it, as the VPO benchmark is.

Picture and recordings come from different sources and are matched by class. The picture becomes T frames by a slow
pan and zoom, or the one frame of a clip of VPO; the ground truth keeps the classes that sound.
"""
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmavs.audio.io import read_waveform
from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.datasets.file_listing import read_csv

from .clip import ObjectSound, SyntheticClip
from .scenes import SPLITS
from .stills import SECONDS, keep_below_full_scale

_COMPOSITION_STREAM = 4


@dataclass(frozen=True)
class Pair:
    """A picture and what sounds in it.

    Attributes:
        name: Of the clip.
        split: 'train', 'val' or 'test'.
        image, mask: Picture, and 8-bit class ids of the same size.
        targets: Class ids that sound; empty where nothing visible sounds.
        sounds: One recording, or two that are mixed at equal level; of the targets in their order, if they are as
            many.
        kind: Free text, kept in the manifest.
    """

    name: str
    split: str
    image: Path
    mask: Path
    targets: tuple[int, ...]
    sounds: tuple[Path, ...]
    kind: str


def read_classes(path: str | Path) -> dict[int, str]:
    """Read ``classes.csv``: columns ``id`` (1 to 255, as in the masks) and ``class`` (name); 0 is the background."""
    classes: dict[int, str] = {}
    for row in read_csv(path, ['id', 'class']):
        if not (row['id'].isdecimal() and 1 <= int(row['id']) <= 255) or int(row['id']) in classes:
            raise ValueError(f"{path}: class id {row['id']!r} of {row['class']!r}, expected different integers "
                             'from 1 to 255 (0 is the background)')
        if row['class'] in ('background', *classes.values()):
            raise ValueError(f"{path}: the class name {row['class']!r} occurs twice ('background' is id 0)")
        classes[int(row['id'])] = row['class']
    return classes


def read_pairs(path: str | Path, classes: dict[int, str]) -> list[Pair]:
    """Read ``pairs.csv``, one clip per row.

    Columns: ``pair_id`` (unique, becomes the clip's name), ``split``, ``image``, ``mask``, ``audio_a`` (files, relative
    to the CSV file), ``audio_b`` (may be empty), ``target_ids`` (ids joined by ';', may be empty), ``kind`` (any text).
    Other columns are ignored.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: A column is missing or a value is not one of those above.
    """
    path = Path(path)
    rows = read_csv(path, ['pair_id', 'split', 'image', 'mask', 'audio_a'])
    missing = [name for name in ('audio_b', 'target_ids', 'kind') if rows and name not in rows[0]]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(map(repr, missing))}, found {', '.join(rows[0])}")
    pairs: dict[str, Pair] = {}
    split_of: dict[Path, str] = {}
    for row in rows:
        name = row['pair_id']
        where = f'{path}: pair {name!r}'
        if name in pairs or name != Path(name).name or name.startswith('.'):
            raise ValueError(f'{where}: the pair_id must be unique and a plain file name')
        if row['split'] not in SPLITS:
            raise ValueError(f"{where}: split is {row['split']!r}, expected one of {', '.join(SPLITS)}")
        targets = row['target_ids'].split(';') if row['target_ids'] else []
        unknown = [t for t in targets if not t.strip().isdecimal() or int(t) not in classes]
        if unknown:
            raise ValueError(f"{where}: target_ids {row['target_ids']!r} names {', '.join(unknown)}, which is no class "
                             f"id; the classes are {', '.join(f'{i} {c}' for i, c in classes.items())}")
        files = {key: path.parent / row[key] for key in ('image', 'mask', 'audio_a', 'audio_b') if row[key]}
        for key, file in files.items():
            if not file.is_file():
                raise FileNotFoundError(f'{where}: the {key} {file} does not exist')
            if split_of.setdefault(file, row['split']) != row['split']:
                raise ValueError(f"{where}: {file} is used in the splits {split_of[file]} and {row['split']}, but "
                                 'splits must not share pictures or recordings')
        sounds = tuple(files[key] for key in ('audio_a', 'audio_b') if key in files)
        pairs[name] = Pair(name, row['split'], files['image'], files['mask'], tuple(int(t) for t in targets), sounds,
                           row['kind'])
    if not pairs:
        raise ValueError(f'{path}: no pair at all, expected one per row')
    return list(pairs.values())


def compose_clip(pair: Pair, classes: dict[int, str], seed: int, size: int, num_frames: int) -> SyntheticClip:
    """Make the clip of a pair.

    Args:
        pair: What to put together.
        classes: Class names by id; mask values become 1 + position.
        seed: The pan and zoom depends on it and on the pair's name only.
        size: Side of the frames in pixels; the aspect ratio is not kept, as in AVSBench.
        num_frames: T, one per second of sound.
    """
    picture, ids = _read_picture(pair, classes)
    lookup = _target_table(pair, classes)
    rng = np.random.default_rng([seed, _COMPOSITION_STREAM, zlib.crc32(pair.name.encode())])
    windows = _camera_windows(rng, num_frames)
    frames = np.stack([_crop(picture, window, size, cv2.INTER_LINEAR) for window in windows])
    masks = np.stack([_crop(lookup[ids], window, size, cv2.INTER_NEAREST) for window in windows])
    description = dict(kind=pair.kind, image=pair.image.name, sounds=[sound.name for sound in pair.sounds])
    sounding = [classes[target] for target in pair.targets]
    return SyntheticClip(pair.name, pair.split, frames, masks, mix_recordings(pair.sounds, num_frames),
                         sounding, description, heard=sounding, visible=_visible(ids, classes))


def compose_still(pair: Pair, classes: dict[int, str], size: int) -> SyntheticClip:
    """Make the clip of VPO of a pair that has a recording for each of its targets.

    Args:
        pair: What to put together; the recording of a class comes from the middle of its pixels.
        classes: Class names by id; mask values become 1 + position.
        size: Longest side of the frame in pixels; larger pictures are shrunk.
    """
    picture, ids = _read_picture(pair, classes)
    positions = [float((np.flatnonzero(ids.ravel() == t) % ids.shape[1] + 0.5).mean() / ids.shape[1])
                 for t in pair.targets]
    if max(ids.shape) > size:
        height, width = (max(1, round(side * size / max(ids.shape))) for side in ids.shape)
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        ids = cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST)
    tracks = equally_loud_recordings(pair.sounds, SECONDS)
    sounds = [
        ObjectSound(classes[target], track, round(position, 4))
        for target, track, position in zip(pair.targets, tracks, positions, strict=True)
    ]
    keep_below_full_scale(sounds)
    description = dict(kind=pair.kind, image=pair.image.name, sounds=[sound.name for sound in pair.sounds])
    masks = _target_table(pair, classes)[ids][None]
    sounding = [sound.category for sound in sounds]
    return SyntheticClip(pair.name, pair.split, np.ascontiguousarray(picture)[None], masks,
                         sum(sound.waveform for sound in sounds), sounding, description, sounds,
                         heard=sounding, visible=_visible(ids, classes))


def _visible(ids: np.ndarray, classes: dict[int, str]) -> list[str]:
    """Names of the classes in a picture."""
    return [classes[value] for value in np.unique(ids).tolist() if value]


def _target_table(pair: Pair, classes: dict[int, str]) -> np.ndarray:
    """Class index of each class id that sounds, 0 of all others: (256,) uint8."""
    lookup = np.zeros(256, np.uint8)
    for index, class_id in enumerate(classes, 1):
        if class_id in pair.targets:
            lookup[class_id] = index
    return lookup


def _read_picture(pair: Pair, classes: dict[int, str]) -> tuple[np.ndarray, np.ndarray]:
    """RGB picture and class ids, checked against each other and against the classes."""
    picture, ids = cv2.imread(str(pair.image), cv2.IMREAD_COLOR), cv2.imread(str(pair.mask), cv2.IMREAD_UNCHANGED)
    for path, pixels in ((pair.image, picture), (pair.mask, ids)):
        if pixels is None:
            raise ValueError(f'{path}: not a readable picture')
    if ids.ndim != 2 or ids.dtype != np.uint8:
        raise ValueError(f'{pair.mask}: shape {ids.shape} of {ids.dtype}, expected one channel of 8-bit class ids')
    if ids.shape != picture.shape[:2]:
        raise ValueError(f'{pair.mask}: size {ids.shape[1]}x{ids.shape[0]} differs from that of {pair.image}, '
                         f'{picture.shape[1]}x{picture.shape[0]}')
    present = np.flatnonzero(np.bincount(ids.ravel(), minlength=256)).tolist()
    unknown = [value for value in present if value and value not in classes]
    if unknown:
        raise ValueError(f'{pair.mask}: holds the values {unknown}, which are no class ids; the classes are '
                         f'{sorted(classes)}')
    absent = [target for target in pair.targets if target not in present]
    if absent:
        raise ValueError(f'{pair.mask}: pair {pair.name!r} says that the classes {absent} sound, but the mask holds '
                         f'only {present}')
    return picture[..., ::-1], ids


def _camera_windows(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """Windows (T, 3) of a slow pan and zoom: left, top and side as shares of the picture."""
    ends = rng.uniform(0.86, 1, 2)
    side = np.linspace(*ends, num_frames)
    path = np.linspace(*rng.uniform(0, 1, (2, 2)), num_frames)
    return np.concatenate([path * (1 - side)[:, None], side[:, None]], 1)


def _crop(pixels: np.ndarray, window: np.ndarray, size: int, interpolation: int) -> np.ndarray:
    """Sample the centres of size x size pixels that cover the window."""
    height, width = pixels.shape[:2]
    if interpolation != cv2.INTER_NEAREST and min(height, width) > 2 * size:  # bilinear sampling would alias
        shrink = 1.5 * size / min(height, width)
        pixels = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        height, width = pixels.shape[:2]
    left, top, side = window
    matrix = np.array([[width * side / size, 0, width * (left + side / size / 2) - 0.5],
                       [0, height * side / size, height * (top + side / size / 2) - 0.5]])
    return cv2.warpAffine(pixels, matrix, (size, size), flags=interpolation | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_REPLICATE)


def mix_recordings(paths: tuple[Path, ...], seconds: int) -> np.ndarray:
    """Mix recordings at equal level (RMS), so that each is heard in every second.

    Returns:
        (seconds * 16000,) float32 in [-1, 1].

    Raises:
        ValueError: A recording is empty.
    """
    mix = sum(equally_loud_recordings(paths, seconds))
    return (mix / max(1, np.abs(mix).max())).astype(np.float32)


def equally_loud_recordings(paths: tuple[Path, ...], seconds: int) -> list[np.ndarray]:
    """Read recordings and give them the level (RMS) of the first.

    Pauses are shortened (``cut_pauses``); then longer recordings are cropped in the middle, shorter ones repeated.

    Returns:
        Arrays (seconds * 16000,) float32.

    Raises:
        ValueError: A recording is empty.
    """
    length = seconds * SAMPLE_RATE
    tracks = []
    for path in paths:
        track = cut_pauses(read_waveform(path, SAMPLE_RATE))
        if not len(track):
            raise ValueError(f'{path}: the recording is empty')
        start = max(0, len(track) - length) // 2
        tracks.append(np.resize(track[start:start + length], length))
    levels = [max(float(np.sqrt(np.mean(track**2))), 1e-4) for track in tracks]
    return [track * np.float32(levels[0] / level) for track, level in zip(tracks, levels, strict=True)]


def cut_pauses(track: np.ndarray, longest: float = 0.5, threshold: float = 0.02) -> np.ndarray:
    """Shorten the pauses of a recording to at most ``longest`` seconds.

    A mask says that its class sounds in every frame, but many recordings hold one event and then nothing.

    Args:
        track: (L,) samples at 16 kHz.
        longest: Seconds, half of which stay on each side of what is cut.
        threshold: RMS of a pause relative to the loudest 50 ms.
    """
    block = SAMPLE_RATE // 20
    blocks = track[:len(track) // block * block].reshape(-1, block)
    level = np.sqrt((blocks**2).mean(1))
    loud = (level > threshold * level.max(initial=0)).astype(np.uint8)
    if not loud.any():
        return track
    near = cv2.dilate(loud[None], np.ones((1, 2 * round(longest * 10) + 1), np.uint8))[0]
    return blocks[near > 0].ravel()
