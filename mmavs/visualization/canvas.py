"""Parts of figures whose lengths are in inches: page, heading, spectrogram."""
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from mmavs.audio.log_mel import LOG_OFFSET, MEL_RANGE

from .object_names import ObjectName, place_names, shorten_text

DPI = 120
INK, FAINT = '#1b1f24', '#6b7480'
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE, NAME_SIZE = 11, 9, 8, 6.5
SWATCH = 0.13
Legend = Sequence[tuple[str, Sequence[int]]]


class Page:
    """A figure with texts and images at positions in inches, from the upper left corner.

    Args:
        width: Width in inches; rounded up to an even number of pixels, as video codecs require.
        height: Height in inches, rounded like the width.
    """

    def __init__(self, width: float, height: float) -> None:
        width, height = (2 * np.ceil(length * DPI / 2) / DPI for length in (width, height))
        self.figure = Figure((width, height), dpi=DPI, facecolor='white')
        FigureCanvasAgg(self.figure)
        # One pair of axes for everything: a pair for each image would take most of the time.
        self._axes = self.figure.add_axes((0, 0, 1, 1), autoscale_on=False)
        self._axes.set_axis_off()
        self._axes.set(xlim=(0, width), ylim=(height, 0))

    def add_axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Add axes whose upper left corner is at (x, y)."""
        fig_width, fig_height = self.figure.get_size_inches()
        return self.figure.add_axes((x / fig_width, 1 - (y + height) / fig_height, width / fig_width,
                                     height / fig_height))

    def add_text(self, x: float, y: float, text: str, **style) -> Text:
        """Add a text, centered at y; ``$`` has no meaning in it."""
        style = dict(size=TEXT_SIZE, color=INK, va='center') | style
        return self._axes.text(x, y, text, parse_math=False, **style)

    def add_swatch(self, x: float, y: float, color: Sequence[int]) -> None:
        """Add a square of a color [R, G, B] whose left edge has its center at (x, y)."""
        self._axes.add_patch(Rectangle((x, y - SWATCH / 2), SWATCH, SWATCH, facecolor=np.asarray(color) / 255,
                                       edgecolor=FAINT, linewidth=0.5))

    def add_image(self, x: float, y: float, width: float, height: float, image: np.ndarray) -> AxesImage:
        """Add an image (H, W, 3) uint8, whose upper left corner is at (x, y)."""
        extent = x, x + width, y + height, y
        return self._axes.imshow(image, aspect='auto', interpolation='antialiased', extent=extent)

    def add_names(self, x: float, y: float, width: float, height: float, names: Sequence[ObjectName]) -> list[Text]:
        """Write names of objects on an image, where :func:`place_names` places them.

        White letters with a black edge are legible on any background.
        """
        places = place_names(names, width, height, 1.25 * NAME_SIZE / 72,
                             lambda text: text_width(text, NAME_SIZE) + 0.04)
        return [
            self.add_text(
                x + center, y + middle, text, ha='center', va='center_baseline', size=NAME_SIZE, color='white',
                path_effects=[withStroke(linewidth=1.6, foreground='black')]) for text, center, middle in places
        ]

    def render(self) -> np.ndarray:
        """Draw the figure as (height, width, 3) uint8, RGB."""
        self.figure.canvas.draw()
        return np.asarray(self.figure.canvas.buffer_rgba())[..., :3].copy()


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(16, 16, DPI)


def text_width(text: str, size: float = TEXT_SIZE, weight: str = 'normal') -> float:
    """Width of a line of text."""
    font = FontProperties(size=size, weight=weight)
    return _renderer().get_text_width_height_descent(text, font, ismath=False)[0] / DPI


def shorten(text: str, width: float, size: float = TEXT_SIZE) -> str:
    """Cut a text that is wider than ``width``, and end it with an ellipsis."""
    return shorten_text(text, width, lambda part: text_width(part, size))


def wrap_text(text: str, width: float, size: float = TEXT_SIZE, weight: str = 'normal') -> list[str]:
    """Break a text into lines of at most ``width``: at spaces, after ``-_/`` or, if need be, anywhere."""

    def fits(line: str) -> bool:
        return text_width(line.rstrip(), size, weight) <= width

    lines, line = [], ''
    for piece in re.findall(r'[^\s_/-]*(?:[_/-]+|\s+|$)', text):
        for part in [piece] if fits(piece) else piece:
            if line and not fits(line + part):
                lines.append(line.rstrip())
                line = ''
            line += part
    return [*lines, line.rstrip()] if line.strip() else lines


@dataclass
class Heading:
    """Title and legend at the top of a figure, broken into as many lines as they need.

    Attributes:
        title: The title.
        legend: Name and color [R, G, B] of each class.
        width: Width of the lines.
    """
    title: str
    legend: Legend
    width: float

    LINE, ENTRY_LINE, GAP = 0.24, 0.21, 0.07

    def __post_init__(self) -> None:
        self.lines = wrap_text(self.title, self.width, TITLE_SIZE, 'bold')
        self.entries: list[tuple[float, int, str, Sequence[int]]] = []
        x, row = 0.0, 0
        for name, color in self.legend:
            width = SWATCH + 0.07 + text_width(name)
            if x > 0 and x + width > self.width:
                x, row = 0.0, row + 1
            self.entries.append((x, row, name, color))
            x += width + 0.22
        self.rows = row + 1 if self.entries else 0

    @property
    def height(self) -> float:
        """Height of the heading."""
        return len(self.lines) * self.LINE + (self.GAP + self.rows * self.ENTRY_LINE if self.rows else 0)

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw the heading with its upper left corner at (x, y)."""
        for line in self.lines:
            page.add_text(x, y + self.LINE / 2, line, size=TITLE_SIZE, weight='bold')
            y += self.LINE
        y += self.GAP
        for offset, row, name, color in self.entries:
            center = y + (row + 0.5) * self.ENTRY_LINE
            page.add_swatch(x + offset, center, color)
            page.add_text(x + offset + SWATCH + 0.07, center, name)


def legend_width(legend: Legend) -> float:
    """Width of the widest entry of a legend."""
    return max((SWATCH + 0.07 + text_width(name) for name, _ in legend), default=0.0)


def draw_log_mel(axes: Axes, log_mel: np.ndarray, start: float, end: float, peak: float, bands: bool = True) -> None:
    """Draw a spectrogram.

    Args:
        axes: Axes without content.
        log_mel: (bands, columns) energies of the time from ``start`` to ``end``.
        start: Begin in seconds.
        end: End in seconds.
        peak: Energy of the brightest color.
        bands: Whether to label frequencies.
    """
    floor = np.log(LOG_OFFSET)
    axes.imshow(
        log_mel, origin='lower', aspect='auto', cmap='magma', vmin=floor, vmax=max(floor + 5, peak),
        extent=(start, end, 0, len(log_mel)), interpolation='bilinear')
    axes.tick_params(length=2, labelsize=7.5, colors=FAINT)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_yticks([])
    if bands:
        low, high = 1127 * np.log1p(np.array(MEL_RANGE) / 700)
        kilohertz = np.array([0.5, 2, 6])
        axes.set_yticks((1127 * np.log1p(kilohertz * 1000 / 700) - low) / (high - low) * len(log_mel))
        axes.set_yticklabels([f'{f:g} kHz' for f in kilohertz])


def label_seconds(axes: Axes, times: np.ndarray, spacing: float, texts: Sequence[str] = ()) -> None:
    """Label times on the horizontal axis, as many as have room at a distance of ``spacing`` inches.

    Args:
        axes: The axes of a spectrogram.
        times: The times in seconds.
        spacing: Distance of two times in inches.
        texts: Labels that replace the seconds.
    """
    texts = texts or [f'{time:g} s' for time in np.round(times, 2)]
    every = int(np.ceil((max(text_width(text, 7.5) for text in texts) + 0.08) / spacing))
    axes.set_xticks(times)
    axes.set_xticklabels([text if i % every == 0 else '' for i, text in enumerate(texts)])
