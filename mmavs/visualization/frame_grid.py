"""Grids of frames: the frames of a clip are columns, kinds of images rows, with the spectrogram aligned to them."""
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .canvas import (
    FAINT,
    SMALL_SIZE,
    Heading,
    Legend,
    Page,
    draw_log_mel,
    label_seconds,
    legend_width,
    shorten,
    text_width,
    wrap_text,
)
from .object_names import ObjectName

# Lengths in inches.
MARGIN, GAP, BLOCK_GAP, LINE_GAP = 0.15, 0.06, 0.4, 0.25
AUDIO_HEIGHT, TICK_HEIGHT, CAPTION_HEIGHT, BLOCK_TITLE_HEIGHT = 0.6, 0.28, 0.2, 0.22
MAX_LABEL, MIN_WIDTH = 1.6, 4.2


@dataclass
class FrameRow:
    """One image for each of T frames.

    Attributes:
        label: Label at the left of the row.
        images: (T, H, W, 3) uint8, RGB.
        captions: T short texts below the images; empty for none.
        names: T lists of names on the images; empty for none.
    """
    label: str
    images: np.ndarray
    captions: Sequence[str] = ()
    names: Sequence[Sequence[ObjectName]] = ()


@dataclass
class Block:
    """Rows of the frames of one clip, and the spectrogram of their time.

    Attributes:
        rows: The rows, all of T frames.
        times: T + 1 seconds: begin of each frame's audio, and the end of the last one's.
        log_mel: (bands, columns) energies that span these times, or None for no spectrogram.
        audio_after: Number of rows above the spectrogram; the default is all.
        title: Text above the block.
        time_labels: T + 1 texts at the times; the default is the seconds.
    """
    rows: Sequence[FrameRow]
    times: np.ndarray
    log_mel: np.ndarray | None = None
    audio_after: int | None = None
    title: str = ''
    time_labels: Sequence[str] = ()
    peak: float = field(init=False)

    def __post_init__(self) -> None:
        self.peak = -np.inf if self.log_mel is None else float(self.log_mel.max())

    @property
    def num_frames(self) -> int:
        """Number of frames T."""
        return len(self.times) - 1

    def cell_height(self, width: float) -> float:
        """Height of an image of a given width."""
        height, image_width = self.rows[0].images.shape[1:3]
        return width * height / image_width

    def split(self, max_frames: int) -> list['Block']:
        """Split a long clip into blocks of about equal length, at most ``max_frames``."""
        count = -(-self.num_frames // max_frames)
        length = -(-self.num_frames // count)
        return [self._part(start, min(start + length, self.num_frames)) for start in range(0, self.num_frames, length)]

    def _part(self, start: int, end: int) -> 'Block':
        rows = [
            FrameRow(row.label, row.images[start:end], row.captions[start:end], row.names[start:end])
            for row in self.rows
        ]
        log_mel = self.log_mel
        if log_mel is not None:
            first, last = (round(log_mel.shape[1] * (time - self.times[0]) / (self.times[-1] - self.times[0]))
                           for time in (self.times[start], self.times[end]))
            log_mel = log_mel[:, first:last]
        part = replace(
            self,
            rows=rows,
            times=self.times[start:end + 1],
            log_mel=log_mel,
            title=self.title if start == 0 else '',
            time_labels=self.time_labels[start:end + 1])
        # Colors mean the same energy in all parts.
        part.peak = self.peak
        return part


def draw_frame_grid(title: str,
                    lines: Sequence[Sequence[Block]],
                    legend: Legend = (),
                    cell_width: float = 1.15) -> Page:
    """Draw lines of blocks: those of a line stand side by side and have the same rows.

    Args:
        title: Title of the figure; may be empty.
        lines: The blocks of each line.
        legend: Name and color [R, G, B] of each class.
        cell_width: Width of an image in inches.

    Returns:
        The page, as large as its content needs.
    """
    labels = {row.label for line in lines for block in line for row in block.rows}
    with_audio = any(block.log_mel is not None for line in lines for block in line)
    left = MARGIN + max(min(MAX_LABEL, max(map(text_width, labels))), 0.85 if with_audio else 0) + 0.12
    grid_width = max(_line_width(line, cell_width) for line in lines)
    fig_width = max(left + grid_width + MARGIN + 0.05, MIN_WIDTH, legend_width(legend) + 2 * MARGIN)
    heading = Heading(title, legend, fig_width - 2 * MARGIN)
    top = MARGIN + heading.height + (0.08 if heading.height else 0)
    heights = [_line_height(line, cell_width) for line in lines]
    page = Page(fig_width, top + sum(heights) + LINE_GAP * (len(lines) - 1) + MARGIN)
    heading.draw(page, MARGIN, MARGIN)
    y = top
    for line, height in zip(lines, heights):
        _draw_line(page, line, left, y, cell_width)
        y += height + LINE_GAP
    return page


def _line_width(line: Sequence[Block], cell_width: float) -> float:
    return sum(block.num_frames * (cell_width + GAP) - GAP for block in line) + BLOCK_GAP * (len(line) - 1)


def _line_height(line: Sequence[Block], cell_width: float) -> float:
    rows = range(len(line[0].rows))
    cells = len(rows) * max(block.cell_height(cell_width) for block in line)
    captions = sum(CAPTION_HEIGHT for i in rows if _has_captions(line, i))
    audio = GAP + AUDIO_HEIGHT + TICK_HEIGHT if _has_audio(line) else 0
    return _title_height(line, cell_width) + cells + captions + GAP * (len(rows) - 1) + audio


def _has_captions(line: Sequence[Block], row: int) -> bool:
    return any(len(block.rows[row].captions) for block in line)


def _has_audio(line: Sequence[Block]) -> bool:
    return any(block.log_mel is not None for block in line)


def _title_height(line: Sequence[Block], cell_width: float) -> float:
    return BLOCK_TITLE_HEIGHT * max(len(_title_lines(block, cell_width)) for block in line)


def _title_lines(block: Block, cell_width: float) -> list[str]:
    return wrap_text(block.title, block.num_frames * (cell_width + GAP), weight='bold')


def _draw_line(page: Page, line: Sequence[Block], left: float, y: float, cell_width: float) -> None:
    cell_height = max(block.cell_height(cell_width) for block in line)
    lefts = np.cumsum([left, *(block.num_frames * (cell_width + GAP) - GAP + BLOCK_GAP for block in line)])
    for block, x in zip(line, lefts):
        for i, text in enumerate(_title_lines(block, cell_width)):
            page.add_text(x, y + (i + 0.5) * BLOCK_TITLE_HEIGHT, text, weight='bold')
    y += _title_height(line, cell_width)
    num_rows = len(line[0].rows)
    audio_after = num_rows if line[0].audio_after is None else line[0].audio_after
    for i in range(num_rows + 1):
        if i == audio_after and _has_audio(line):
            for block, x in zip(line, lefts):
                _draw_audio(page, block, x, y, cell_width, first=block is line[0])
            y += AUDIO_HEIGHT + TICK_HEIGHT + GAP
        if i == num_rows:
            break
        label = '\n'.join(wrap_text(line[0].rows[i].label, MAX_LABEL))
        page.add_text(left - 0.12, y + cell_height / 2, label, ha='right', multialignment='right')
        for block, x in zip(line, lefts):
            _draw_cells(page, block.rows[i], x, y, cell_width, cell_height, block.cell_height(cell_width))
        y += cell_height + GAP + (CAPTION_HEIGHT if _has_captions(line, i) else 0)


def _draw_cells(page: Page, row: FrameRow, x: float, y: float, width: float, cell_height: float,
                height: float) -> None:
    for t, image in enumerate(row.images):
        box = x, y + (cell_height - height) / 2, width, height
        page.add_image(*box, image)
        if len(row.names):
            page.add_names(*box, row.names[t])
        if len(row.captions):
            caption = shorten(row.captions[t], width + GAP, SMALL_SIZE)
            page.add_text(x + width / 2, y + cell_height + 0.55 * CAPTION_HEIGHT, caption, ha='center', size=SMALL_SIZE,
                          color=FAINT)
        x += width + GAP


def _draw_audio(page: Page, block: Block, x: float, y: float, cell_width: float, first: bool) -> None:
    if block.log_mel is None:
        return
    # Each frame takes half of the gap on either side, so that the time axis is even.
    pitch = cell_width + GAP
    axes = page.add_axes(x - GAP / 2, y, block.num_frames * pitch, AUDIO_HEIGHT)
    draw_log_mel(axes, block.log_mel, block.times[0], block.times[-1], block.peak, bands=first)
    for time in block.times[1:-1]:
        axes.axvline(time, color='white', linewidth=0.8, alpha=0.55)
    label_seconds(axes, block.times, pitch, block.time_labels)
    if first:
        page.add_text(x - 0.5, y + AUDIO_HEIGHT / 2, 'audio', ha='right')
