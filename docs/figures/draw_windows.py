"""Draw how a video is cut into windows, for the page on inference.

    python docs/figures/draw_windows.py [--out DIR] [--png]

Writes ``windows.svg``. The windows are those that :func:`mmavs.apis.clip_windows.cut_into_windows` makes. Coordinates
are points; the figure is 600 points (800 pixels) wide, y points down.
"""
import argparse
from fractions import Fraction
from pathlib import Path

import matplotlib.pyplot as plt
from draw_architectures import COLORS, INK, WIDTH
from matplotlib.patches import FancyBboxPatch

from mmavs.apis.clip_windows import cut_into_windows
from mmavs.video import FRAME_POSITION

CLIP_LENGTH = 5
LEFT, SECOND = 92, 49.5  # x of time 0, and points per second
SECONDS = 10
ROW, SIZE = 33, 17  # distance of rows, and height and width of a frame
MUTED, GRID = '#5f6b76', '#dfe4e9'
VISUAL, AUDIO = COLORS['visual'], COLORS['audio']


class WindowFigure:
    """Rows of frames over a time axis."""

    def __init__(self, height: float) -> None:
        self.figure = plt.figure(figsize=(WIDTH / 72, height / 72), facecolor='white')
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0))
        self.axes.axis('off')

    def panel(self, top: float, fps: int, num_frames: int, title: str, subtitle: str) -> float:
        """Draw the frames of a video and its windows; returns the y of its lower end."""
        self.text(14, top, title, fontweight='bold', fontsize=10.5)
        self.text(14, top + 15, subtitle, color=MUTED)
        windows = cut_into_windows(num_frames, fps, CLIP_LENGTH)
        top, bottom = top + 34, top + 34 + ROW * (len(windows) + 1)
        for second in range(SECONDS + 1):
            x = LEFT + second * SECOND
            self.axes.plot([x, x], [top, bottom], color=GRID, linewidth=0.8, zorder=0)
            self.text(x, bottom + 8, f'{second} s', color=MUTED, ha='center', fontsize=8)
        y = top + ROW / 2 - 3
        self.text(14, y, 'video', fontweight='bold')
        times = [(k + FRAME_POSITION) / fps for k in range(num_frames)]
        for k, time in enumerate(times):
            self.frame(time, y, k, '#ffffff', MUTED)
        lead = FRAME_POSITION - FRAME_POSITION / fps
        for number, window in enumerate(windows, 1):
            y += ROW
            self.text(14, y, f'window {number}')
            start = max(Fraction(0), window.start - lead)
            self.audio(start, start + len(window.frames), y)
            for k, new in zip(window.frames, window.new):
                self.frame(times[k], y, k, VISUAL[1] if new else '#ffffff', VISUAL[1], new)
        return bottom + 20

    def frame(self, time: Fraction, y: float, k: int, area: str, border: str, filled: bool = False) -> None:
        """A frame with its number."""
        x = LEFT + float(time) * SECOND
        self.box(x - SIZE / 2, y - SIZE / 2, SIZE, SIZE, area, border, 3)
        self.text(x, y + 0.3, str(k), color='white' if filled else border, ha='center', fontsize=8, zorder=4)

    def audio(self, start: Fraction, stop: Fraction, y: float) -> None:
        """The audio of a window."""
        x = LEFT + float(start) * SECOND
        self.box(x, y + SIZE / 2 + 2.5, float(stop - start) * SECOND, 6.5, AUDIO[0], AUDIO[1], 1)

    def legend(self, y: float) -> None:
        """Explain the parts of a window."""
        self.box(14, y - 7, 14, 14, VISUAL[1], VISUAL[1], 3)
        self.text(33, y, 'frame, of which the mask is kept')
        self.box(208, y - 7, 14, 14, '#ffffff', VISUAL[1], 3)
        self.text(227, y, 'frame taken again, as context')
        self.box(390, y - 3.5, 30, 6.5, AUDIO[0], AUDIO[1], 1)
        self.text(426, y, 'audio of the window, 5 s')

    def box(self, x: float, y: float, width: float, height: float, area: str, border: str, zorder: int) -> None:
        """A box with round corners."""
        self.axes.add_patch(FancyBboxPatch(
            (x, y), width, height, boxstyle='round,pad=0,rounding_size=2.5', zorder=zorder, facecolor=area,
            edgecolor=border, linewidth=1.1))

    def text(self, x: float, y: float, text: str, color: str = INK, ha: str = 'left', **style) -> None:
        """A text whose middle has the height ``y``."""
        self.axes.text(x, y, text, color=color, ha=ha, va='center_baseline', **{'fontsize': 9, **style})


def draw() -> plt.Figure:
    """Draw the figure."""
    figure = WindowFigure(464)
    bottom = figure.panel(
        20, 1, 8, 'fps=1, a video of 8 s',
        'Frame k lies at 15/16 of second k, as in AVSBench. The last window is moved back to be complete.')
    figure.panel(
        bottom + 24, 2, 20, 'fps=2, a video of 10 s',
        'Windows interleave: frames one second apart, with the audio from 15/16 s before the first, or from 0 s on.')
    figure.legend(446)
    return figure.figure


def main() -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path(__file__).parents[1] / 'images', metavar='DIR')
    parser.add_argument('--png', action='store_true', help='also write windows.png')
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    figure = draw()
    # Without a date, so that the file changes only with the figure.
    figure.savefig(args.out / 'windows.svg', metadata={'Date': None})
    if args.png:
        figure.savefig(args.out / 'windows.png', dpi=144)


if __name__ == '__main__':
    main()
