"""Write the mask priors of datasets, directories of frames and videos."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmavs.datasets import ClipDataset
from mmavs.datasets.check import DATASET_TYPES
from mmavs.datasets.mask_prior_settings import claim_directory
from mmavs.datasets.mask_priors import PRIOR_SUFFIX, stored_key, write_prior
from mmavs.registry import DATASETS
from mmavs.utils.config import find_clip_dataset
from mmavs.utils.errors import USER_ERRORS, user_message
from mmavs.utils.images import IMAGE_SUFFIXES, read_image
from mmavs.video import FRAME_POSITION, list_videos, probe_video, sample_frames

from .mask_priors import MaskPriorGenerator, video_name
from .video_source import NATIVE_POSITION

SPLITS = ('train', 'val', 'test')


@dataclass(frozen=True)
class NamedFrame:
    """A frame whose mask prior is to be made.

    Attributes:
        name: Path of its mask prior below the directory of all, without ``_mask_color.png``.
        read: Function that reads it, (H, W, 3) uint8 RGB.
    """
    name: str
    read: Callable[[], np.ndarray]


@dataclass
class WrittenPriors:
    """Result of :func:`write_mask_priors`.

    Attributes:
        written: Number of files written.
        kept: Number of files of the same frame and settings that existed before.
        problems: One line for each frame that cannot be used, without line breaks.
    """
    written: int = 0
    kept: int = 0
    problems: list[str] = field(default_factory=list)


def write_mask_priors(frames: Iterable[NamedFrame],
                      out_dir: str | Path,
                      generator: MaskPriorGenerator,
                      input_settings: Mapping[str, Any] | None = None,
                      shard: tuple[int, int] = (1, 1)) -> WrittenPriors:
    """Write the mask priors of frames, as the datasets and :class:`AVSInferencer` read them.

    Each file appears when it is complete and holds a digest of its frame and of the settings. A file whose digest is
    the same is kept, so an interrupted run continues where it ended, and a frame that has changed is done again. The
    settings are in ``mask_priors.json`` of ``out_dir``; a run with others is refused.

    Args:
        frames: The frames.
        out_dir: Directory of the mask priors.
        generator: The generator.
        input_settings: Settings of the input that decide which frames are taken, such as the frame rate of a video.
        shard: (k, n): do every n-th frame, from the k-th on, counted from 1; for n processes side by side.

    Raises:
        ValueError: The directory holds mask priors of other settings.
        OSError: A file cannot be written.
    """
    out_dir, (first, count), done = Path(out_dir), shard, WrittenPriors()
    claim_directory(out_dir, {**generator.settings, **(input_settings or {})}, dict(source=generator.source))
    for index, frame in enumerate(frames):
        if index % count != first - 1:
            continue
        path = out_dir / f'{frame.name}{PRIOR_SUFFIX}'
        try:
            image = frame.read()
            key = generator.key(image, frame.name)
            if stored_key(path) == key:
                done.kept += 1
                continue
            ids = generator.id_map(image, frame.name)
        except USER_ERRORS as error:
            message = user_message(error)
            if message is None:
                raise
            done.problems.append(' '.join(message.split()))
            continue
        write_prior(path, ids, key)
        done.written += 1
    return done


def config_frames(config: Config, out_dir: str | Path, splits: Sequence[str] = SPLITS) -> list[NamedFrame]:
    """List the frames of the datasets of a config's data loaders, each once.

    Args:
        config: The config.
        out_dir: Directory of the mask priors.
        splits: Data loaders to take, of 'train', 'val' and 'test'.

    Raises:
        FileNotFoundError, ValueError: As for :func:`dataset_frames`; ValueError: the config has no such dataset.
    """
    frames: dict[str, NamedFrame] = {}
    for split in splits:
        _, dataset = find_clip_dataset(config, split)
        if 'type' in dataset:
            prefix = {**dataset.get('data_prefix', {}), 'mask_prior': os.path.abspath(out_dir)}
            built = DATASETS.build(dict(dataset, pipeline=[], data_prefix=prefix, lazy_init=True))
            frames.update((frame.name, frame) for frame in dataset_frames(built, out_dir))
    if not frames:
        raise ValueError(f"{config.filename}: no dataset of the splits {', '.join(splits)}")
    return list(frames.values())


def root_frames(data_root: str | Path,
                subset: str,
                out_dir: str | Path,
                layout: str | None = None,
                splits: Sequence[str] = SPLITS) -> list[NamedFrame]:
    """List the frames of a data root.

    Args:
        data_root: Directory that holds the CSV file.
        subset: 's4', 'ms3' or 'avss'.
        out_dir: Directory of the mask priors.
        layout: Of S4 and MS3, see :class:`mmavs.datasets.AVSBenchS4Dataset`.
        splits: Splits to take; those without clips are left out.

    Raises:
        FileNotFoundError, ValueError: As for :func:`dataset_frames`; ValueError: no split has clips.
    """
    options = dict(layout=layout) if layout and subset != 'avss' else {}
    prefix = dict(mask_prior=os.path.abspath(out_dir))
    datasets = [DATASET_TYPES[subset](str(data_root), split, data_prefix=prefix, lazy_init=True, **options)
                for split in splits]
    listed = {row['split'] for row in datasets[0].read_metadata()}
    frames = [frame for dataset in datasets if dataset.split in listed for frame in dataset_frames(dataset, out_dir)]
    if not frames:
        raise ValueError(f"{datasets[0].ann_file}: no clip of the splits {', '.join(splits)}")
    return frames


def dataset_frames(dataset: ClipDataset, out_dir: str | Path) -> list[NamedFrame]:
    """List the frames of a split of S4, MS3 or AVSS, with the names that the dataset reads their mask priors by.

    Args:
        dataset: The dataset, with ``data_prefix=dict(mask_prior=OUT_DIR)``; only its list of clips is read.
        out_dir: Directory of the mask priors.

    Raises:
        FileNotFoundError: The list of clips is missing.
        ValueError: It is damaged, or datasets of this kind read no mask priors.
    """
    frames = []
    for clip in dataset.list_clips():
        if clip['mask_prior_paths'] is None:
            raise ValueError(f'{dataset.ann_file}: this dataset reads no mask priors, expected one of S4, MS3 or AVSS')
        for frame, prior in zip(clip['frame_paths'], clip['mask_prior_paths']):
            if frame is not None:
                name = os.path.relpath(prior, out_dir).removesuffix(PRIOR_SUFFIX)
                frames.append(NamedFrame(name, partial(read_image, frame, 'frame', 'RGB')))
    return frames


def directory_frames(directory: str | Path) -> list[NamedFrame]:
    """List the images of a directory by name: ``DIRECTORY/0.jpg`` becomes ``NAME_OF_DIRECTORY/0_mask_color.png``.

    Raises:
        ValueError: There is none, or two have one name.
    """
    directory = Path(directory).resolve()
    names: dict[str, Path] = {}
    for path in sorted(directory.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith('.') and path.is_file():
            other = names.setdefault(path.stem, path)
            if other != path:
                raise ValueError(f'{other} and {path.name} would have the same mask prior: rename or remove one')
    if not names:
        raise ValueError(f'{directory}: no frames ({", ".join(IMAGE_SUFFIXES)}) and no videos')
    return [NamedFrame(f'{video_name(directory)}/{stem}', partial(read_image, path, 'frame', 'RGB'))
            for stem, path in names.items()]


def video_frames(videos: Sequence[str | Path], fps: Fraction | str = Fraction(1)) -> Iterator[NamedFrame]:
    """Decode the frames of videos at which :class:`AVSInferencer` segments them: ``NAME/00000``, ``NAME/00001``, ...

    A video that cannot be read ends with a frame whose ``read`` raises the error, and the next video follows.

    Args:
        videos: Video files.
        fps: Frames per second, or 'native' for all.

    Raises:
        ValueError: Two videos have one name.
    """
    names: dict[str, str | Path] = {}
    for video in videos:
        other = names.setdefault(video_name(video), video)
        if other != video:
            raise ValueError(f'{other} and {video} have the same name, that of the directory of their mask priors: '
                             'rename one')
    for name, video in names.items():
        index = -1
        try:
            rate, position = (fps, FRAME_POSITION) if fps != 'native' else (_native_rate(video), NATIVE_POSITION)
            for index, (_, frame) in enumerate(sample_frames(video, rate, position)):
                yield NamedFrame(f'{name}/{index:05d}', lambda frame=frame: frame)
        except USER_ERRORS as error:
            yield NamedFrame(f'{name}/{index + 1:05d}', partial(_raise, error))


def path_frames(path: str | Path, fps: Fraction | str = Fraction(1)) -> tuple[Iterable[NamedFrame], dict[str, str]]:
    """List the frames of a video, a directory of videos or a directory of frames.

    Args:
        path: The file or directory.
        fps: Of videos, as for :func:`video_frames`.

    Returns:
        The frames, and the settings to record of a video: its ``fps``.

    Raises:
        FileNotFoundError, ValueError: There is nothing to read.
    """
    if not Path(path).is_dir() and '://' not in str(path) and not Path(path).exists():
        raise FileNotFoundError(f'{path}: no such video, directory or config')
    if Path(path).is_dir():
        try:
            videos = list_videos(path)
        except ValueError:  # a directory without videos
            return directory_frames(path), {}
    else:
        videos = [path]
    return video_frames(videos, fps), dict(fps=str(fps))


def _raise(error: Exception) -> np.ndarray:
    raise error


def _native_rate(video: str | Path) -> Fraction:
    rate = probe_video(video).frame_rate
    if not rate:
        raise ValueError(f'{video}: the file does not state its frame rate: pass --fps as a number')
    return rate
