"""Compose clips from images with masks and recordings of their sounding classes, like the VPO benchmark.

Image and recordings come from different sources and are matched by class. The image becomes T frames by a slow pan and
zoom, or the one frame of a VPO clip. The ground truth keeps the sounding classes.
"""
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmavs.audio.io import read_waveform
from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.datasets.file_listing import check_names, read_csv
from mmavs.utils.images import read_image

from .clip import ObjectAudio, SyntheticClip
from .scenes import SPLITS
from .stills import SECONDS, keep_below_full_scale

_COMPOSITION_STREAM = 4


@dataclass(frozen=True)
class Pair:
    """An image with the recordings of its sounding classes.

    Attributes:
        name: Name of the clip.
        split: 'train', 'val' or 'test'.
        image, mask: Files of the image, and of class ids (one channel, or indices of a palette) of the same size.
        targets: Ids of the sounding classes; empty if no visible object sounds.
        sounds: One recording, or two that are mixed at equal level. If they are as many as the targets, they belong to
            the targets in this order.
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
    rows = read_csv(path, ['id', 'class'])
    check_names(rows, ['class'], path)  # directories of some layouts
    for row in rows:
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
    check_names(rows, ['image', 'mask', 'audio_a', 'audio_b'], path)
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
            raise ValueError(f"{where}: target_ids {row['target_ids']!r} names {', '.join(unknown)}, which is not a "
                             f"class id; the classes are {', '.join(f'{i} {c}' for i, c in classes.items())}")
        files = {key: path.parent / row[key] for key in ('image', 'mask', 'audio_a', 'audio_b') if row[key]}
        for key, file in files.items():
            if not file.is_file():
                raise FileNotFoundError(f'{where}: the {key} {file} does not exist')
            if split_of.setdefault(file, row['split']) != row['split']:
                raise ValueError(f"{where}: {file} is used in the splits {split_of[file]} and {row['split']}, but "
                                 'splits must not share images or recordings')
        sounds = tuple(files[key] for key in ('audio_a', 'audio_b') if key in files)
        pairs[name] = Pair(name, row['split'], files['image'], files['mask'], tuple(int(t) for t in targets), sounds,
                           row['kind'])
    if not pairs:
        raise ValueError(f'{path}: no pair, expected one per row')
    return list(pairs.values())


def compose_clip(pair: Pair, classes: dict[int, str], seed: int, size: int, num_frames: int) -> SyntheticClip:
    """Make the clip of a pair.

    Args:
        pair: The image and its recordings.
        classes: Class names by id; mask values become 1 + position.
        seed: Seed; pan and zoom depend on it and on the pair's name only.
        size: Side of the frames in pixels; the aspect ratio is not kept, as in AVSBench.
        num_frames: T, one per second of audio.
    """
    image, ids = _read_image(pair, classes)
    lookup = _target_table(pair, classes)
    rng = np.random.default_rng([seed, _COMPOSITION_STREAM, zlib.crc32(pair.name.encode())])
    windows = _camera_windows(rng, num_frames)
    frames = np.stack([_crop(image, window, size, cv2.INTER_LINEAR) for window in windows])
    masks = np.stack([_crop(lookup[ids], window, size, cv2.INTER_NEAREST) for window in windows])
    description = dict(kind=pair.kind, image=pair.image.name, sounds=[recording.name for recording in pair.sounds])
    targets = [classes[target] for target in pair.targets]
    return SyntheticClip(pair.name, pair.split, frames, masks, mix_recordings(pair.sounds, num_frames),
                         targets, description, sounding=targets, visible=_visible(ids, classes))


def compose_still(pair: Pair, classes: dict[int, str], size: int) -> SyntheticClip:
    """Make the VPO clip of a pair with a recording for each of its targets.

    Args:
        pair: The image and its recordings; a recording is placed at the mean position of its class.
        classes: Class names by id; mask values become 1 + position.
        size: Longest side of the frame in pixels; larger images are shrunk.
    """
    image, ids = _read_image(pair, classes)
    positions = [float((np.flatnonzero(ids.ravel() == t) % ids.shape[1] + 0.5).mean() / ids.shape[1])
                 for t in pair.targets]
    if max(ids.shape) > size:
        height, width = (max(1, round(side * size / max(ids.shape))) for side in ids.shape)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        ids = cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST)
    tracks = equally_loud_recordings(pair.sounds, SECONDS)
    object_audio = [
        ObjectAudio(classes[target], track, round(position, 4))
        for target, track, position in zip(pair.targets, tracks, positions, strict=True)
    ]
    keep_below_full_scale(object_audio)
    description = dict(kind=pair.kind, image=pair.image.name, sounds=[recording.name for recording in pair.sounds])
    masks = _target_table(pair, classes)[ids][None]
    targets = [audio.category for audio in object_audio]
    return SyntheticClip(pair.name, pair.split, np.ascontiguousarray(image)[None], masks,
                         sum(audio.waveform for audio in object_audio), targets, description, object_audio,
                         sounding=targets, visible=_visible(ids, classes))


def _visible(ids: np.ndarray, classes: dict[int, str]) -> list[str]:
    """Names of the classes in an image."""
    return [classes[value] for value in np.unique(ids).tolist() if value]


def _target_table(pair: Pair, classes: dict[int, str]) -> np.ndarray:
    """Class index of the id of each sounding class, 0 for other ids: (256,) uint8."""
    lookup = np.zeros(256, np.uint8)
    for index, class_id in enumerate(classes, 1):
        if class_id in pair.targets:
            lookup[class_id] = index
    return lookup


def _read_image(pair: Pair, classes: dict[int, str]) -> tuple[np.ndarray, np.ndarray]:
    """Read the RGB image and the class ids, and check them against each other and against the classes."""
    image, ids = read_image(pair.image, 'image', 'RGB'), read_image(pair.mask, 'mask')
    if ids.ndim != 2 or ids.max() > 255:
        raise ValueError(f'{pair.mask}: shape {ids.shape}, values up to {ids.max()}, expected one channel of class ids '
                         'from 0 to 255')
    ids = ids.astype(np.uint8, copy=False)
    if ids.shape != image.shape[:2]:
        raise ValueError(f'{pair.mask}: size {ids.shape[1]}x{ids.shape[0]} differs from that of {pair.image}, '
                         f'{image.shape[1]}x{image.shape[0]}')
    present = np.flatnonzero(np.bincount(ids.ravel(), minlength=256)).tolist()
    unknown = [value for value in present if value and value not in classes]
    if unknown:
        raise ValueError(f'{pair.mask}: holds the values {unknown}, which are not class ids; the classes are '
                         f'{sorted(classes)}')
    absent = [target for target in pair.targets if target not in present]
    if absent:
        raise ValueError(f'{pair.mask}: pair {pair.name!r} states that the classes {absent} sound, but the mask holds '
                         f'only {present}')
    return image, ids


def _camera_windows(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """Windows (T, 3) of a slow pan and zoom: left, top and side as fractions of the image."""
    ends = rng.uniform(0.86, 1, 2)
    side = np.linspace(*ends, num_frames)
    path = np.linspace(*rng.uniform(0, 1, (2, 2)), num_frames)
    return np.concatenate([path * (1 - side)[:, None], side[:, None]], 1)


def _crop(pixels: np.ndarray, window: np.ndarray, size: int, interpolation: int) -> np.ndarray:
    """Sample a window at the centers of size x size pixels."""
    height, width = pixels.shape[:2]
    if interpolation != cv2.INTER_NEAREST and min(height, width) > 2 * size:  # Bilinear sampling would alias.
        shrink = 1.5 * size / min(height, width)
        pixels = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        height, width = pixels.shape[:2]
    left, top, side = window
    matrix = np.array([[width * side / size, 0, width * (left + side / size / 2) - 0.5],
                       [0, height * side / size, height * (top + side / size / 2) - 0.5]])
    return cv2.warpAffine(pixels, matrix, (size, size), flags=interpolation | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_REPLICATE)


def mix_recordings(paths: tuple[Path, ...], seconds: int) -> np.ndarray:
    """Mix recordings at equal level (RMS); each sounds in every second.

    Returns:
        (seconds * 16000,) float32 in [-1, 1].

    Raises:
        ValueError: A recording is empty.
    """
    mix = sum(equally_loud_recordings(paths, seconds))
    return (mix / max(1, np.abs(mix).max())).astype(np.float32)


def equally_loud_recordings(paths: tuple[Path, ...], seconds: int) -> list[np.ndarray]:
    """Read recordings and scale them to the level (RMS) of the first.

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

    The classes of a mask sound in every frame, but many recordings hold one event followed by silence.

    Args:
        track: (L,) samples at 16 kHz.
        longest: Seconds that remain of a longer pause, half of them at each of its ends.
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
