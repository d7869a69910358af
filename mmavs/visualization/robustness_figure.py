"""Figure of the robustness test: one row for each audio condition, one color for each model."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mmavs.utils.files import atomic_write

from .canvas import DPI, FAINT, INK

# Title and explanation of each panel, and the function that reads its value from a run.
PANELS = (
    ('M_J', 'IoU with the ground truth\nof the original audio', lambda run, kind: run['scores'][kind]['M_J']),
    ('FPR', 'fraction of the frame\nthat is predicted as foreground',
     lambda run, kind: run['scores'][kind]['foreground_share']),
    ('G-mIoU', 'correct with original audio, empty\nwith negative audio: 1 is best',
     lambda run, kind: run['g_scores'].get('per_kind', {}).get(kind, {}).get('G-mIoU')),
)
MARKERS = 'osD^vP*X'


def draw_robustness(groups: Mapping[str, Sequence[Mapping]]) -> Figure:
    """Draw the results of one or more models.

    Args:
        groups: Name of a model -> its runs, each :class:`mmavs.analysis.robustness.RobustnessResult` as a dict. Several
            runs of a name are small marks, their mean a large one. Models may have been tested under different
            audio conditions.

    Returns:
        The figure; ``figure.savefig(path)`` writes it.
    """
    runs = [run for group in groups.values() for run in group]
    kinds = list(dict.fromkeys(kind for run in runs for kind in run['scores']))
    rows = [*kinds, 'mean'] if any(run['g_scores'] for run in runs) else kinds
    colors = [matplotlib.colormaps['tab10' if len(groups) <= 10 else 'tab20'](i) for i in range(len(groups))]
    row_height = max(0.34, 0.105 * len(groups) + 0.12)
    # As many columns of the legend as there is room for.
    legend_columns = min(len(groups), 6 if max(map(len, groups)) <= 12 else 4)
    legend_rows = -(-len(groups) // legend_columns)
    height = 1.2 + 0.2 * legend_rows + row_height * len(rows)
    figure = Figure((10.5, height), dpi=DPI, facecolor='white')
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (title, explanation, read) in zip(panels, PANELS):
        _draw_panel(axes, groups, rows, colors, read)
        axes.set_title(title, size=11, weight='bold', color=INK, loc='left')
        axes.set_xlabel(explanation, size=8.5, color=FAINT)
    panels[0].set_yticks(range(len(rows)), [_label(row, runs) for row in rows])
    panels[0].set_ylabel('audio', size=9, color=INK)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    handles = [
        Line2D([], [], color=color, marker=marker, linestyle='', markersize=7, label=name)
        for name, color, marker in zip(groups, colors, MARKERS * len(groups))
    ]
    figure.subplots_adjust(
        left=0.14, right=0.985, wspace=0.08, bottom=0.62 / height, top=1 - (0.42 + 0.2 * legend_rows) / height)
    figure.legend(
        handles=handles, loc='upper left', bbox_to_anchor=(0.13, 1 - 0.02 / height), ncols=legend_columns,
        frameon=False, fontsize=9)
    return figure


def write_robustness_figure(path: Path, groups: Mapping[str, Sequence[Mapping]]) -> None:
    """Write the figure of :func:`draw_robustness` as a PNG file."""
    figure = draw_robustness(groups)
    with atomic_write(path) as partial:
        figure.savefig(partial, format='png')


def _draw_panel(axes, groups: Mapping, rows: list[str], colors: list, read) -> None:
    # The models of a row share four fifths of its height.
    offsets = (np.arange(len(groups)) - (len(groups) - 1) / 2) * 0.8 / max(len(groups), 2)
    for y in range(0, len(rows), 2):
        axes.axhspan(y - 0.5, y + 0.5, color='#f4f5f7', zorder=0)
    for group, color, offset, marker in zip(groups.values(), colors, offsets, MARKERS * len(groups)):
        for y, row in enumerate(rows):
            values = [value for value in (_value(run, row, read) for run in group) if value is not None]
            if not values:
                continue
            if len(values) > 1:
                axes.plot(values, [y + offset] * len(values), marker, color=color, markersize=3, alpha=0.55, zorder=2)
            axes.plot([fmean(values)], [y + offset], marker, color=color, markersize=6.5, zorder=3)
    # Fractions of a frame are small; scores are compared over their whole range.
    end = 1 if read is not PANELS[1][2] else max(0.2, *(read(run, kind) for group in groups.values() for run in group
                                                        for kind in run['scores']))
    axes.set_xlim(-0.03 * end, 1.03 * end)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis='x', color='#d9dde2', linewidth=0.7, zorder=1)
    axes.tick_params(length=0, labelsize=8.5, colors=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _value(run: Mapping, row: str, read) -> float | None:
    if row == 'mean':
        # Only G scores have an average over kinds.
        return run['g_scores'].get('mean', {}).get('G-mIoU') if read is PANELS[-1][2] else None
    return read(run, row) if row in run['scores'] else None


def _label(row: str, runs: Sequence[Mapping]) -> str:
    """Describe an audio condition; add its number of clips if some had to be left out."""
    name, _, level = row.partition(':')
    if name == 'mean':
        return 'mean of kinds'
    units = dict(noise='dBFS', mixture='dB SNR')
    text = {'noise': 'noise, original RMS'}.get(row, f'{name} {level} {units[name]}' if level else name)
    counts = {run['clips'][row] for run in runs if row in run['clips']}
    all_clips = {run['clips']['original'] for run in runs}
    return text if counts == all_clips else f"{text}\n({', '.join(map(str, sorted(counts)))} clips)"
