"""Cut a video into clips like those of the training."""
from collections.abc import Iterator
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


class WindowCutter:
    """Cut a video into clips of at most ``clip_length`` frames, one second apart; each frame is new in one of them.

    Frame k belongs to the time k / fps. Of videos with more than one frame per second, the windows interleave: with 25,
    the first takes the frames 0, 25, 50, ..., the second 1, 26, 51, ... With a fractional rate they take the frames
    that are nearest. With less than one frame per second every frame is a window.

    The last window of a video that is longer than ``clip_length`` is moved back until it is complete and repeats frames
    of the window before, because methods that relate frames were trained on clips of that length. If the frames are
    independent it is shorter instead.

    The windows of a video whose length is not known yet are the same: a window is complete as soon as its last frame is
    there, and only those that are not complete at the end are moved back.

    Args:
        fps: Frames per second; an int, a float or a Fraction.
        clip_length: Frames of a clip in training.
        independent_frames: Whether the model predicts each frame of a clip independently of the others.

    Raises:
        ValueError: ``fps`` is not a positive number.
    """

    def __init__(self, fps: Real, clip_length: int, independent_frames: bool = False) -> None:
        if not isinstance(fps, Real) or isinstance(fps, bool) or not 0 < fps < float('inf'):
            raise ValueError(f'fps is {fps!r}, expected a positive number of frames per second')
        self.step = fps if isinstance(fps, Fraction) else Fraction(float(fps))
        self.clip_length = clip_length if fps >= 1 else 1
        self.independent_frames = independent_frames
        self._first = 0  # the first frame that is in no window
        self._done: set[int] = set()  # later frames that are in a window

    @property
    def oldest(self) -> int:
        """The first frame that a window to come may take."""
        context = 0 if self.independent_frames else self.clip_length - 1
        return max(0, _nearest(self._first - context * self.step))

    def cut(self, num_frames: int, ended: bool) -> Iterator[ClipWindow]:
        """Yield the windows that are certain and were not yielded before, ordered by their first new frame.

        Args:
            num_frames: Frames of the video, or of its beginning.
            ended: Whether these are all.
        """
        while self._first < num_frames:
            if not ended and self._frame(self.clip_length - 1) >= num_frames:
                return
            offsets = [j for j in range(self.clip_length) if self._frame(j) < num_frames]
            if not self.independent_frames:
                earlier = range(-1, len(offsets) - self.clip_length - 1, -1)
                offsets = [j for j in reversed(earlier) if self._frame(j) >= 0] + offsets
            frames = [self._frame(j) for j in offsets]
            new = [k >= self._first and k not in self._done for k in frames]
            self._done.update(frames)
            while self._first in self._done:
                self._first += 1
            self._done = {k for k in self._done if k > self._first}
            yield ClipWindow(np.array(frames), frames[0] / self.step, np.array(new))

    def _frame(self, offset: int) -> int:
        """Frame that is nearest to ``offset`` seconds after the first one that is in no window."""
        return _nearest(self._first + offset * self.step)


def cut_into_windows(num_frames: int,
                     fps: Real,
                     clip_length: int,
                     independent_frames: bool = False) -> list[ClipWindow]:
    """Cut a video of ``num_frames`` frames into windows, see :class:`WindowCutter`.

    Returns:
        The windows, ordered by the first frame that is new in them.

    Raises:
        ValueError: ``fps`` is not a positive number.
    """
    return list(WindowCutter(fps, clip_length, independent_frames).cut(num_frames, ended=True))


def _nearest(position: Fraction) -> int:
    return (2 * position + 1) // 2
