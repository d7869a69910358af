"""Figure of a confusion matrix."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmavs.utils.files import atomic_write

# Larger matrices show colors without numbers.
MAX_NUMBERED = 25
CELL_INCHES, MARGIN_INCHES = 0.3, 2.5


def normalize_confusion(matrix: np.ndarray, by: str) -> np.ndarray:
    """Divide a confusion matrix by the pixels of each true class, of each predicted class, or by all.

    Args:
        matrix: (K, K) pixels by true (row) and predicted class.
        by: 'true' (the diagonal is the recall), 'predicted' (the diagonal is the precision) or 'all'.

    Returns:
        (K, K) float64 in [0, 1]; NaN in rows or columns without pixels.
    """
    matrix = np.asarray(matrix, np.float64)
    totals = dict(
        true=matrix.sum(1, keepdims=True), predicted=matrix.sum(0, keepdims=True), all=matrix.sum(keepdims=True))
    if by not in totals:
        raise ValueError(f"by is {by!r}, expected one of {', '.join(totals)}")
    return np.divide(matrix, totals[by], out=np.full_like(matrix, np.nan), where=totals[by] > 0)


def draw_confusion(path: str | Path, fractions: np.ndarray, classes: Sequence[str], title: str) -> None:
    """Draw a confusion matrix.

    Args:
        path: The figure (.png, .pdf or .svg).
        fractions: (K, K) in [0, 1] by true (row) and predicted class, see :func:`normalize_confusion`; NaN is gray.
        classes: Names of the K classes.
        title: Title of the figure.
    """
    size = len(classes) * CELL_INCHES + MARGIN_INCHES
    figure = Figure(figsize=(size + 1, size), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_facecolor('lightgray')
    image = axes.imshow(np.ma.masked_invalid(fractions), cmap='viridis', vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8)
    axes.set_xticks(range(len(classes)), classes, rotation=90)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel('predicted class')
    axes.set_ylabel('true class')
    axes.set_title(title)
    if len(classes) <= MAX_NUMBERED:
        for (row, column), value in np.ndenumerate(fractions):
            if value >= 0.005:
                axes.text(column, row, f'{100 * value:.0f}', ha='center', va='center', fontsize=7,
                          color='black' if value > 0.6 else 'white')
    with atomic_write(path) as partial:
        figure.savefig(partial, format=Path(path).suffix[1:], dpi=150)
