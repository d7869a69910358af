"""Read a clip that is stored as images and an audio file, as AVSBench stores its clips."""
from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmavs.audio.io import AUDIO_SUFFIXES
from mmavs.utils.files import natural_order
from mmavs.utils.images import IMAGE_SUFFIXES, image_shape, read_image

# Subdirectory with the frames of a clip in AVSBench-semantic.
FRAMES = 'frames'
# Directories of frames and audio in AVSBench-object.
OBJECT_FRAMES, OBJECT_AUDIO = 'visual_frames', 'audio_wav'


@dataclass(frozen=True)
class FrameDirectory:
    """A clip that is stored as images and an audio file.

    Attributes:
        frames: The images, in natural order (``2.png`` before ``10.png``), of one size.
        audio: The audio file, None without one.
    """
    frames: list[Path]
    audio: Path | None

    def read_frames(self) -> Iterator[np.ndarray]:
        """Read the frames one by one, (H, W, 3) uint8 RGB.

        Raises:
            FileNotFoundError, ValueError: A frame is missing or damaged.
        """
        return (read_image(path, 'frame', 'RGB') for path in self.frames)


def open_frame_directory(directory: str | Path) -> FrameDirectory:
    """Find frames and audio of a directory.

    The frames are the images in it, or in its subdirectory ``frames`` as in AVSBench-semantic. The audio is the audio
    file in it, or in AVSBench-object that of the directory ``audio_wav`` beside ``visual_frames``.

    Raises:
        ValueError: There is no frame, frames differ in size or are damaged, or there are several audio files.
    """
    directory = Path(directory)
    frames = list_frames(directory)
    if not frames:
        raise ValueError(f'{directory}: the directory holds no frames ({", ".join(IMAGE_SUFFIXES)})')
    shape = image_shape(frames[0], 'frame')
    for path in frames:
        if (other := image_shape(path, 'frame')) != shape:
            raise ValueError(f'{path}: the frame has the size {other[1]}x{other[0]}, but {frames[0].name} '
                             f'{shape[1]}x{shape[0]}, expected one size for all frames of a clip')
    audio = _files(directory, AUDIO_SUFFIXES) or _object_audio(directory)
    if len(audio) > 1:
        raise ValueError(f'{directory}: several audio files belong to the frames, {", ".join(map(str, audio))}; '
                         'expected one: move the others')
    return FrameDirectory(frames, audio[0] if audio else None)


def list_frames(directory: Path) -> list[Path]:
    """List the frames of a directory in natural order; empty if it holds none."""
    frames = _files(directory, IMAGE_SUFFIXES)
    if not frames and (directory / FRAMES).is_dir():
        frames = _files(directory / FRAMES, IMAGE_SUFFIXES)
    return sorted(frames, key=natural_order)


def _object_audio(directory: Path) -> list[Path]:
    """Audio files of a clip of AVSBench-object, whose frames are in ``directory``."""
    directory = Path(os.path.abspath(directory))
    for parent in directory.parents:
        if parent.name == OBJECT_FRAMES:
            audio, name = parent.with_name(OBJECT_AUDIO), f'{glob.escape(directory.name)}.*'
            # S4 has the same subdirectories in both; MS3 has those of the splits for audio only.
            beside = audio / directory.relative_to(parent).parent
            places = [beside] if beside != audio else [path for path in audio.glob('*') if path.is_dir()]
            return sorted(path for place in places for path in place.glob(name)
                          if path.suffix.lower() in AUDIO_SUFFIXES)
    return []


def _files(directory: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(path for path in directory.iterdir()
                  if path.suffix.lower() in suffixes and not path.name.startswith('.') and path.is_file())
