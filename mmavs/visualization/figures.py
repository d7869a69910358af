"""Figures of one clip: contact sheets and the stills of a video, over the spectrogram of the audio."""
from collections.abc import Sequence

import numpy as np

from .canvas import DPI, FAINT, Heading, Legend, Page, draw_log_mel, label_seconds
from .frame_grid import Block, FrameRow, draw_frame_grid

# A longer clip is wrapped. Ten frames make a sheet 1600 pixels wide.
MAX_COLUMNS = 10
MAX_CELL_HEIGHT = 3.0


def draw_contact_sheet(title: str,
                       rows: Sequence[FrameRow],
                       log_mel: np.ndarray | None = None,
                       legend: Legend = (),
                       seconds: float | None = None) -> np.ndarray:
    """Draw the T frames of a clip as columns: one row for each kind of image, the spectrogram below.

    Clips of more than 10 frames are wrapped into blocks of rows, each with the spectrogram of its frames.

    Args:
        title: Title of the figure, for example the clip id.
        rows: The rows.
        log_mel: (bands, columns) energies that span the T frames, or None for no spectrogram.
        legend: Name and color [R, G, B] of each class in the legend.
        seconds: Duration of the clip; T by default.

    Returns:
        The sheet, (height, width, 3) uint8, RGB.
    """
    num_frames, height, width = rows[0].images.shape[:3]
    times = np.linspace(0, num_frames if seconds is None else seconds, num_frames + 1)
    blocks = Block(rows, times, log_mel).split(MAX_COLUMNS)
    cell_width = min(2.6, max(1.15, 11 / blocks[0].num_frames), max(1.0, MAX_CELL_HEIGHT * width / height))
    return draw_frame_grid(title, [[block] for block in blocks], legend, cell_width).render()


def draw_video_stills(title: str,
                      panels: Sequence[FrameRow],
                      log_mel: np.ndarray | None = None,
                      legend: Legend = (),
                      seconds: float | None = None) -> tuple[np.ndarray, tuple[int, int, int, int] | None]:
    """Draw one still per frame: panels side by side over the spectrogram of the whole clip.

    Args:
        title: Title of the figure, for example the clip id.
        panels: Images, label and names of each panel.
        log_mel: (bands, columns) energies that span the T frames, or None for no spectrogram.
        legend: Name and color [R, G, B] of each class in the legend.
        seconds: Duration of the clip; T by default.

    Returns:
        The stills, (T, height, width, 3) uint8 with even height and width, and the box (left, top, right, bottom) of
        the spectrogram in pixels, None without one.
    """
    num_frames, height, width = panels[0].images.shape[:3]
    seconds = num_frames if seconds is None else seconds
    panel_width = 3.2
    panel_height = panel_width * height / width
    margin, gap, label_height = 0.25, 0.12, 0.25
    audio_height, tick_height = (0.8, 0.35) if log_mel is not None else (0, 0)
    fig_width = 2 * margin + len(panels) * (panel_width + gap) - gap
    heading = Heading(title, legend, fig_width - 2 * margin)
    top = 0.15 + heading.height + 0.08 + label_height
    page = Page(fig_width, top + panel_height + gap + audio_height + tick_height + margin / 2)
    heading.draw(page, margin, 0.15)

    places = [(margin + i * (panel_width + gap), top, panel_width, panel_height) for i in range(len(panels))]
    for panel, (x, *_) in zip(panels, places):
        page.add_text(x, top - label_height / 2, panel.label, color=FAINT)
    images = [page.add_image(*place, panel.images[0]) for panel, place in zip(panels, places)]
    box = None
    if log_mel is not None:
        y = top + panel_height + gap
        axes = page.add_axes(margin, y, fig_width - 2 * margin, audio_height)
        draw_log_mel(axes, log_mel, 0, seconds, log_mel.max(), bands=False)
        times = np.linspace(0, seconds, num_frames + 1)
        label_seconds(axes, times, (fig_width - 2 * margin) / num_frames)
        box = tuple(round(DPI * length) for length in (margin, y, fig_width - margin, y + audio_height))

    stills = []
    for t in range(num_frames):
        texts = []
        for image, panel, place in zip(images, panels, places):
            image.set_data(panel.images[t])
            texts += page.add_names(*place, panel.names[t]) if len(panel.names) else []
        stills.append(page.render())
        for text in texts:
            text.remove()
    return np.stack(stills), box
