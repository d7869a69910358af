"""Cut videos into clips in the layout of MS3."""
from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

import numpy as np
from PIL import Image

from mmavs.audio.encoding import encode_wav
from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.utils.directory_lock import locked_directory
from mmavs.utils.files import FULL_DISK_ERRORS, atomic_write
from mmavs.utils.progress import track_progress
from mmavs.video import FRAME_POSITION, AudioTrack, probe_video, read_frames

from .avsbench_object import AVSBenchMS3Dataset
from .file_listing import check_names, read_csv, write_csv

SPLITS = ('train', 'val', 'test')
# Fractions of the videos in train, val and test.
FRACTIONS = (0.8, 0.1, 0.1)
NUM_FRAMES = AVSBenchMS3Dataset.NUM_FRAMES
COLUMNS = ('video_id', 'split', 'video', 'start')


@dataclass
class ExtractedClips:
    """Result of :func:`extract_clips`.

    Attributes:
        written: Number of clips that were written.
        labelled: Number of clips that were there and got their masks.
        kept: Number of clips that were there and stay as they were.
        silent: Videos without an audio track, whose clips are silent.
        problems: One message for each video, or second of it, that gave no clip.
    """
    written: int = 0
    labelled: int = 0
    kept: int = 0
    silent: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def extract_clips(videos: Iterable[str | Path],
                  data_root: str | Path,
                  split_of: Callable[[Path], str],
                  masks: str | Path | None = None) -> ExtractedClips:
    """Cut videos into clips of five seconds and add them to a dataset in the layout of MS3.

    Clip ``NAME_00010`` holds seconds 10 to 14 of the video NAME: the frame at 15/16 of each second, as AVSBench takes
    it, at the size of the video, and the audio at the rate of its track. An incomplete clip at the end is left out.
    Clips that are in the list ``ms3_meta_data.csv`` stay as they are, except that they get masks that they lack; the
    list is written after every video, so an interrupted run continues where it was.

    Args:
        videos: Video files with different names.
        data_root: Directory of the dataset.
        split_of: Function from a video to 'train', 'val' or 'test'.
        masks: Directory with ground truth, ``NAME/SECOND.png``, 0 or 255, SECOND counting from 0. Clips without all
            their masks are problems. None: no masks are added.

    Raises:
        OSError: A clip cannot be written, because the disk is full or read-only.
        ValueError: Two videos have one name, or another process adds clips to the dataset.
    """
    videos = [Path(video) for video in videos]
    _require_unique(videos)
    lock = Path(data_root, '.clips.lock')
    with locked_directory(lock, f'adds clips to {data_root}', 'choose another directory'):
        return _extract_all(videos, Path(data_root), split_of, masks)


def _extract_all(videos: list[Path], data_root: Path, split_of: Callable[[Path], str],
                 masks: str | Path | None) -> ExtractedClips:
    csv_path = data_root / AVSBenchMS3Dataset.ANN_FILE
    rows = read_csv(csv_path, COLUMNS) if csv_path.exists() else []
    check_names(rows, ('video_id', 'split'), csv_path)
    known, done = {row['video_id'] for row in rows}, ExtractedClips()
    # A video that is extracted further stays in its split.
    splits = {row['video']: row['split'] for row in rows}
    for video in track_progress(videos, 'videos'):
        try:
            split = splits.get(video.name) or split_of(video)
            for row in _extract(video, data_root, split, masks, known, done):
                rows.append(row)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in FULL_DISK_ERRORS:
                raise
            done.problems.append(str(error))
        if rows:
            write_csv(csv_path, [{name: row[name] for name in COLUMNS} for row in rows], COLUMNS)
    return done


def distribute(videos: Iterable[str | Path]) -> Callable[[Path], str]:
    """Function from each of the videos to a split: 80, 10 and 10 % train, val and test, the same at every run.

    No video is in two splits; of three or more videos, each split gets one.
    """
    names = sorted({Path(video).stem for video in videos}, key=lambda name: hashlib.sha256(name.encode()).digest())
    held_out = [max(1, round(fraction * len(names))) if len(names) >= len(SPLITS) else 0 for fraction in FRACTIONS[1:]]
    splits = ['val'] * held_out[0] + ['test'] * held_out[1]
    chosen = dict(zip(names, splits + ['train'] * (len(names) - len(splits))))
    return lambda video: chosen[video.stem]


def read_splits(path: str | Path) -> Callable[[Path], str]:
    """Function from a video to its split in a CSV file.

    Args:
        path: The file, with the columns ``video``, a name with or without suffix, and ``split``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A column is missing, or a split is not train, val or test. The function raises it for a video that
            is not listed.
    """
    splits = {}
    for row in read_csv(path, ('video', 'split')):
        if row['split'] not in SPLITS:
            raise ValueError(f"{path}: the split of {row['video']} is {row['split']!r}, expected train, val or test")
        splits[Path(row['video']).stem] = splits[row['video']] = row['split']

    def split_of(video: Path) -> str:
        if video.stem not in splits:
            raise ValueError(f'{video}: not in the list of splits {path}: add a line for it')
        return splits[video.stem]

    return split_of


def _require_unique(videos: list[Path]) -> None:
    first = {}
    for video in videos:
        if first.setdefault(video.stem, video) != video:
            raise ValueError(f'{first[video.stem]} and {video} have the same name, but clips are named by their video: '
                             'rename one')


def _extract(video: Path, data_root: Path, split: str, masks: str | Path | None, known: set[str],
             done: ExtractedClips) -> Iterator[dict]:
    """Write the clips of a video; yield their rows."""
    properties = probe_video(video)
    dataset = AVSBenchMS3Dataset(str(data_root), split, lazy_init=True)
    frames = read_frames(video, (second + FRAME_POSITION for second in count()))
    audio = AudioTrack(video, properties.start) if properties.audio_rate else None
    for start in count(0, NUM_FRAMES):
        images = list(islice(frames, NUM_FRAMES))
        if len(images) < NUM_FRAMES:
            break
        name = f'{video.stem}_{start:05d}'
        clip = dataset.describe_clip(dict(name=name))
        if name in known and (masks is None or all(map(os.path.isfile, clip['mask_paths']))):
            done.kept += 1
            continue
        mask_files = []
        if masks is not None:
            mask_files = [Path(masks) / video.stem / f'{start + t}.png' for t in range(NUM_FRAMES)]
            missing = [str(path) for path in mask_files if not path.is_file()]
            if missing:
                done.problems.append(f'{name}: {len(missing)} of {NUM_FRAMES} masks are missing, first {missing[0]}')
                continue
        if name in known:
            _write_masks(clip, mask_files)
            done.labelled += 1
            continue
        waveform = audio.read(start, start + NUM_FRAMES) if audio else np.zeros(NUM_FRAMES * SAMPLE_RATE, np.float32)
        _write_masks(clip, mask_files)
        _write_clip(clip, images, waveform, audio.rate if audio else SAMPLE_RATE)
        known.add(name)
        done.written += 1
        yield dict(video_id=name, split=split, video=video.name, start=start)
    if start == 0:
        lasts = '' if properties.duration is None else f' ({properties.duration:.2f} s)'
        done.problems.append(f'{video}: too short{lasts}, a clip needs {NUM_FRAMES} s')
    elif audio is None:
        done.silent.append(str(video))


def _write_masks(clip: dict, mask_files: list[Path]) -> None:
    """Copy masks to the paths of the clip."""
    for path, mask_file in zip(clip['mask_paths'], mask_files):
        with atomic_write(path) as partial:
            shutil.copyfile(mask_file, partial)


def _write_clip(clip: dict, images: list[np.ndarray], waveform: np.ndarray, rate: int) -> None:
    """Write frames and audio at the paths of the clip."""
    for path, image in zip(clip['frame_paths'], images):
        with atomic_write(path) as partial:
            Image.fromarray(image).save(partial, format='PNG')
    with atomic_write(clip['audio_path']) as partial:
        partial.write_bytes(encode_wav(waveform, rate))
