"""Figures of one clip: contact sheets and the stills of a video, over the spectrogram of the audio."""
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mmavs.audio.log_mel import LOG_OFFSET, MEL_RANGE

DPI = 120
INK, FAINT = '#1b1f24', '#6b7480'
Legend = Sequence[tuple[str, Sequence[int]]]


def draw_contact_sheet(title: str,
                       rows: Sequence[tuple[str, np.ndarray]],
                       log_mel: np.ndarray | None = None,
                       captions: Sequence[str] | None = None,
                       legend: Legend = (),
                       seconds: float | None = None) -> np.ndarray:
    """Draw the T frames of a clip as columns: one row for each kind of image, the spectrogram below.

    Args:
        title: Title of the figure, for example the clip id.
        rows: Label and (T, H, W, 3) uint8 RGB images of each row.
        log_mel: (bands, columns) energies that span the T frames, or None for no spectrogram.
        captions: T short texts under the last row of images.
        legend: Name and color [R, G, B] of each class in the legend.
        seconds: Duration of the clip; T by default.

    Returns:
        The sheet, (height, width, 3) uint8, RGB.
    """
    num_frames, height, width = rows[0][1].shape[:3]
    seconds = num_frames if seconds is None else seconds
    # All lengths are in inches.
    cell_width = min(1.9, max(1.15, 13 / num_frames))
    cell_height = cell_width * height / width
    left, right, top, bottom, gap = 1.15, 0.2, 0.62, 0.18, 0.06
    caption_height = 0.24 if captions else 0.0
    audio_height, audio_gap, tick_height = (0.95, 0.1, 0.3) if log_mel is not None else (0, 0, 0)
    fig_width = left + num_frames * (cell_width + gap) - gap + right
    images_height = len(rows) * (cell_height + gap) - gap + caption_height
    fig_height = top + images_height + audio_gap + audio_height + tick_height + bottom
    figure = _figure(fig_width, fig_height)
    _draw_heading(figure, title, legend, left, right, 0.3)

    y = fig_height - top
    for label, images in rows:
        y -= cell_height
        _label(figure, label, left - 0.12, y + cell_height / 2)
        for t, image in enumerate(images):
            axes = _axes(figure, left + t * (cell_width + gap), y, cell_width, cell_height)
            axes.imshow(image, aspect='auto', interpolation='antialiased')
            _hide_frame(axes)
        y -= gap
    y += gap - caption_height
    for t, caption in enumerate(captions or ()):
        x = left + t * (cell_width + gap) + cell_width / 2
        figure.text(x / fig_width, (y + 0.09) / fig_height, caption, ha='center', va='center', size=8, color=FAINT)

    if log_mel is not None:
        y -= audio_gap + audio_height
        # Each frame takes half of the gap on either side, so that the time axis is even.
        span = num_frames * (cell_width + gap)
        axes = _axes(figure, left - gap / 2, y, span, audio_height)
        _draw_log_mel(axes, log_mel, seconds)
        for t in range(1, num_frames):
            axes.axvline(t * seconds / num_frames, color='white', linewidth=0.8, alpha=0.55)
        axes.set_xticks(np.linspace(0, seconds, num_frames + 1))
        axes.set_xticklabels([f'{time:g} s' for time in np.round(np.linspace(0, seconds, num_frames + 1), 2)])
        _label(figure, 'audio', left - 0.5, y + audio_height / 2)
    return _render(figure)


def draw_video_stills(title: str,
                      panels: Sequence[tuple[str, np.ndarray]],
                      log_mel: np.ndarray | None = None,
                      legend: Legend = (),
                      seconds: float | None = None) -> tuple[np.ndarray, tuple[int, int, int, int] | None]:
    """Draw one still per frame: panels side by side over the spectrogram of the whole clip.

    Args:
        title: Title of the figure, for example the clip id.
        panels: Label and (T, H, W, 3) uint8 RGB images of each panel.
        log_mel: (bands, columns) energies that span the T frames, or None for no spectrogram.
        legend: Name and color [R, G, B] of each class in the legend.
        seconds: Duration of the clip; T by default.

    Returns:
        The stills, (T, height, width, 3) uint8 with even height and width, and the box (left, top, right, bottom) of
        the spectrogram in pixels, None without one.
    """
    num_frames, height, width = panels[0][1].shape[:3]
    seconds = num_frames if seconds is None else seconds
    panel_width = 3.2
    panel_height = panel_width * height / width
    margin, gap, top = 0.25, 0.12, 0.85
    audio_height, tick_height = (0.8, 0.35) if log_mel is not None else (0, 0)
    fig_width = 2 * margin + len(panels) * (panel_width + gap) - gap
    fig_height = top + panel_height + gap + audio_height + tick_height + margin / 2
    figure = _figure(fig_width, fig_height)
    _draw_heading(figure, title, legend, margin, margin, 0.28)

    y = fig_height - top - panel_height
    artists = []
    for i, (label, images) in enumerate(panels):
        x = margin + i * (panel_width + gap)
        figure.text(x / fig_width, (y + panel_height + 0.07) / fig_height, label, va='bottom', size=9, color=FAINT)
        axes = _axes(figure, x, y, panel_width, panel_height)
        artists.append(axes.imshow(images[0], aspect='auto', interpolation='antialiased'))
        _hide_frame(axes)
    box = None
    if log_mel is not None:
        y -= gap + audio_height
        axes = _axes(figure, margin, y, fig_width - 2 * margin, audio_height)
        _draw_log_mel(axes, log_mel, seconds, bands=False)
        axes.set_xticks(np.arange(0, seconds + 1e-6))
        axes.set_xticklabels([f'{time:g} s' for time in np.arange(0, seconds + 1e-6)])
        box = tuple(
            round(DPI * length)
            for length in (margin, fig_height - y - audio_height, fig_width - margin, fig_height - y))

    stills = []
    for t in range(num_frames):
        for artist, (_, images) in zip(artists, panels):
            artist.set_data(images[t])
        stills.append(_render(figure))
    return np.stack(stills), box


def _figure(width: float, height: float) -> Figure:
    """Make a figure with an even number of pixels, as video codecs require."""
    width, height = (2 * np.ceil(length * DPI / 2) / DPI for length in (width, height))
    figure = Figure((width, height), dpi=DPI, facecolor='white')
    FigureCanvasAgg(figure)
    return figure


def _axes(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    """Add axes at a position in inches from the lower left corner."""
    fig_width, fig_height = figure.get_size_inches()
    return figure.add_axes((x / fig_width, y / fig_height, width / fig_width, height / fig_height))


def _hide_frame(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _label(figure: Figure, text: str, x: float, y: float) -> None:
    width, height = figure.get_size_inches()
    figure.text(x / width, y / height, text, ha='right', va='center', size=9, color=INK)


def _draw_heading(figure: Figure, title: str, legend: Legend, left: float, right: float, y: float) -> None:
    """Draw the title at the left, and at the right as many classes with their colors as fit."""
    width, height = figure.get_size_inches()
    heading = figure.text(
        left / width, 1 - y / height, title, size=11, weight='bold', color=INK, va='center', parse_math=False)
    room = left + heading.get_window_extent(figure.canvas.get_renderer()).width / DPI + 0.3
    x = width - right
    for name, color in reversed(legend):
        text = figure.text(
            x / width, 1 - y / height, name, size=9, color=INK, va='center', ha='right', parse_math=False)
        start = x - text.get_window_extent(figure.canvas.get_renderer()).width / DPI - 0.2
        if start < room:
            text.remove()
            break
        figure.patches.append(
            Rectangle((start / width, 1 - (y + 0.065) / height), 0.13 / width, 0.13 / height,
                      transform=figure.transFigure, facecolor=np.asarray(color) / 255, edgecolor=FAINT, linewidth=0.5))
        x = start - 0.2


def _draw_log_mel(axes: Axes, log_mel: np.ndarray, seconds: float, bands: bool = True) -> None:
    floor = np.log(LOG_OFFSET)
    axes.imshow(
        log_mel, origin='lower', aspect='auto', cmap='magma', vmin=floor, vmax=max(floor + 5, log_mel.max()),
        extent=(0, seconds, 0, len(log_mel)), interpolation='bilinear')
    axes.tick_params(length=2, labelsize=7.5, colors=FAINT)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_yticks([])
    if bands:
        low, high = 1127 * np.log1p(np.array(MEL_RANGE) / 700)
        kilohertz = np.array([0.5, 2, 6])
        axes.set_yticks((1127 * np.log1p(kilohertz * 1000 / 700) - low) / (high - low) * len(log_mel))
        axes.set_yticklabels([f'{f:g} kHz' for f in kilohertz])


def _render(figure: Figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
