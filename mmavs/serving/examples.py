"""Example videos of the page, made of procedural scenes."""
import shutil
from pathlib import Path

import numpy as np

from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.synthesis.synthesize import make_clip
from mmavs.utils.cache_directory import cache_directory
from mmavs.utils.files import atomic_directory
from mmavs.visualization import play_stills, write_video

#: Clips of the procedural MS3 that serve as examples: two objects of which one sounds, and a change of the audio.
CLIPS = (0, 1, 2)
#: Number that is increased when the same code gives other videos.
VERSION = 1
FPS, SIZE, SEED = 10, 288, 0


def copy_examples(directory: Path) -> None:
    """Put the example videos into a directory; they are made once for all servers of a user."""
    try:
        source = make_examples(cache_directory() / f'examples-{VERSION}')
    except OSError:  # no place to keep them
        make_examples(directory)
        return
    shutil.copytree(source, directory, dirs_exist_ok=True)


def make_examples(directory: Path) -> Path:
    """Write the example videos ``example-1.mp4`` and so on into a new directory; one that exists is complete."""
    if not directory.is_dir():
        with atomic_directory(directory) as partial:
            for number, index in enumerate(CLIPS, 1):
                write_example(partial / f'example-{number}.mp4', index)
    return directory


def write_example(path: Path, index: int) -> None:
    """Write a procedural clip of the test split as a video."""
    clip = make_clip('ms3', 'test', index, SEED, SIZE)
    frames = play_stills(np.asarray(clip.frames), len(clip.frames), FPS)
    write_video(path, frames, FPS, clip.waveform, SAMPLE_RATE)
