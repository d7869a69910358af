"""Figure of what sounds in a video and when: the spectrogram, and below it a band for each class."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .canvas import FAINT, INK, SMALL_SIZE, TEXT_SIZE, Heading, Page, draw_log_mel, shorten, text_width

# Lengths in inches.
WIDTH, MARGIN, GAP, RIGHT, TICK_HEIGHT, NOTE_HEIGHT = 10.0, 0.18, 0.12, 0.55, 0.26, 0.2
MAX_LABEL, AUDIO_HEIGHT, BAND_HEIGHT, SMALL_BAND_HEIGHT, BANDS_HEIGHT = 1.7, 1.1, 0.36, 0.18, 4.5
# Part of a band's height that a class fills when it covers the share of the scale.
FILLED = 0.86
MAX_TICKS = 12
TICK_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600)
SCALES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)


@dataclass
class TimelineBand:
    """A class in the timeline of a video.

    Attributes:
        name: Name of the class.
        color: Its color [R, G, B].
        shares: (columns,) mean share of the frame that it covers, in [0, 1].
    """
    name: str
    color: Sequence[int]
    shares: np.ndarray


def draw_timeline(title: str,
                  edges: np.ndarray,
                  bands: Sequence[TimelineBand],
                  log_mel: np.ndarray | None = None) -> Figure:
    """Draw the timeline of a video.

    All bands have one scale. A faint background shows when a class sounds, also where its area is too small to be seen.

    Args:
        title: Title of the figure, for example the name of the video.
        edges: (columns + 1,) seconds: begin of each column of the bands, and the end of the last one.
        bands: The classes that occur.
        log_mel: (frequency bands, columns) energies that span the time; None without audio.

    Returns:
        The figure; ``figure.savefig(path)`` writes PNG, PDF or SVG.
    """
    left = MARGIN + min(MAX_LABEL, max([text_width(band.name) for band in bands] + [0.75])) + 0.1
    heading = Heading(title, (), WIDTH - 2 * MARGIN)
    band_height = min(BAND_HEIGHT, max(SMALL_BAND_HEIGHT, BANDS_HEIGHT / max(1, len(bands))))
    audio_height = 0 if log_mel is None else AUDIO_HEIGHT + GAP
    top = MARGIN + heading.height + (0.1 if title else 0)
    bands_top = top + audio_height
    bands_height = band_height * max(1, len(bands))
    page = Page(WIDTH, bands_top + bands_height + TICK_HEIGHT + NOTE_HEIGHT + MARGIN / 2)
    heading.draw(page, MARGIN, MARGIN)
    width = WIDTH - left - RIGHT
    if log_mel is not None:
        axes = page.add_axes(left, top, width, AUDIO_HEIGHT)
        draw_log_mel(axes, log_mel, edges[0], edges[-1], log_mel.max())
        axes.set_xticks([])
        page.add_text(left - 0.5, top + AUDIO_HEIGHT / 2, 'audio', ha='right')
    axes = page.add_axes(left, bands_top, width, bands_height)
    scale = _scale(bands)
    _draw_bands(axes, edges, bands, scale)
    _label_times(axes, edges[-1])
    size = TEXT_SIZE if band_height > 0.2 else SMALL_SIZE
    for i, band in enumerate(bands):
        y = bands_top + (i + 0.5) * band_height
        page.add_text(left - 0.1, y, shorten(band.name, MAX_LABEL, size), ha='right', size=size)
        page.add_text(WIDTH - RIGHT + 0.08, y, _percent(band.shares.max()), size=SMALL_SIZE, color=FAINT)
    note = f'height of a band: {_percent(scale)} of the frame; at the right: the largest share' if bands else (
        'no object sounds')
    page.add_text(left, bands_top + bands_height + TICK_HEIGHT + NOTE_HEIGHT / 2, note, size=SMALL_SIZE, color=FAINT)
    return page.figure


def _draw_bands(axes: Axes, edges: np.ndarray, bands: Sequence[TimelineBand], scale: float) -> None:
    """Draw the bands in axes of the height of one unit for each, from the top."""
    axes.set(xlim=(edges[0], edges[-1]), ylim=(max(1, len(bands)), 0))
    axes.set_yticks([])
    axes.set_axisbelow(True)
    for y in range(0, max(1, len(bands)), 2):
        axes.axhspan(y, y + 1, color='#f4f5f7', linewidth=0, zorder=0)
    for i, band in enumerate(bands):
        color = np.asarray(band.color) / 255
        # The last value holds until the last edge.
        shares = np.append(band.shares, band.shares[-1])
        style = dict(step='post', color=color, linewidth=0)
        axes.fill_between(edges, i + 1, np.where(shares > 0, i, i + 1), alpha=0.16, zorder=2, **style)
        axes.fill_between(edges, i + 1, i + 1 - FILLED * np.minimum(shares / scale, 1 / FILLED), zorder=3, **style)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.grid(axis='x', color='#d9dde2', linewidth=0.6, zorder=1)


def _scale(bands: Sequence[TimelineBand]) -> float:
    """Share of the frame that fills a band: the largest one, rounded up."""
    largest = max((band.shares.max() for band in bands), default=0)
    return next((scale for scale in SCALES if scale >= largest), 1)


def _percent(share: float) -> str:
    return f'{100 * share:.0f} %' if share >= 0.0995 else f'{100 * share:.2g} %'


def _label_times(axes: Axes, seconds: float) -> None:
    """Label round times: seconds up to a minute, then minutes and hours."""
    step = next((step for step in TICK_STEPS if seconds / step <= MAX_TICKS), TICK_STEPS[-1])
    times = np.arange(0, seconds + step / 100, step)
    axes.set_xticks(times, [_time_text(time, seconds) for time in times])
    axes.tick_params(axis='x', length=2, labelsize=8, colors=INK)


def _time_text(time: float, seconds: float) -> str:
    if seconds <= 60:
        return f'{round(time, 1):g} s'
    minutes, rest = divmod(round(time), 60)
    if seconds < 3600:
        return f'{minutes}:{rest:02d}'
    return f'{minutes // 60}:{minutes % 60:02d}:{rest:02d}'
