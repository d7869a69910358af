"""Cut a video into clips like those of the training."""
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real

import numpy as np


@dataclass(frozen=True)
class ClipWindow:
    """A clip of a video, with frames one second apart.

    Attributes:
        frames: (t,) indices of its frames in the video, ascending.
        start: Time of its first frame in seconds, at which its audio begins.
        new: (t,) bool, the frames that no earlier window predicts; the others are context.
    """
    frames: np.ndarray
    start: Fraction
    new: np.ndarray


def cut_into_windows(num_frames: int,
                     fps: Real,
                     clip_length: int,
                     independent_frames: bool = False) -> list[ClipWindow]:
    """Cut a video into clips of at most ``clip_length`` frames, one second apart; each frame is new in one of them.

    Frame k belongs to the time k / fps. Of videos with more than one frame per second, the windows interleave: with 25,
    the first takes the frames 0, 25, 50, ..., the second 1, 26, 51, ... With a fractional rate they take the frames
    that are nearest. With less than one frame per second every frame is a window.

    The last window of a video that is longer than ``clip_length`` is moved back until it is complete and repeats frames
    of the window before, because methods that relate frames were trained on clips of that length. If the frames are
    independent it is shorter instead.

    Args:
        num_frames: Frames of the video.
        fps: Frames per second; an int, a float or a Fraction.
        clip_length: Frames of a clip in training.
        independent_frames: Whether the model predicts each frame of a clip independently of the others.

    Returns:
        The windows, ordered by the first frame that is new in them.

    Raises:
        ValueError: ``fps`` is not a positive number.
    """
    if not isinstance(fps, Real) or not 0 < fps < float('inf'):
        raise ValueError(f'fps is {fps!r}, expected a positive number of frames per second')
    step = fps if isinstance(fps, Fraction) else Fraction(float(fps))
    length = clip_length if fps >= 1 else 1
    windows, done = [], np.zeros(num_frames, bool)
    for first in range(num_frames):
        if done[first]:
            continue
        offsets = [j for j in range(length) if _nearest(first + j * step) < num_frames]
        if not independent_frames:
            earlier = range(-1, len(offsets) - length - 1, -1)
            offsets = [j for j in reversed(earlier) if _nearest(first + j * step) >= 0] + offsets
        frames = np.array([_nearest(first + j * step) for j in offsets])
        windows.append(ClipWindow(frames, frames[0].item() / step, ~done[frames]))
        done[frames] = True
    return windows


def _nearest(position: Fraction) -> int:
    return (2 * position + 1) // 2
