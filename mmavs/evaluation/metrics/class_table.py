"""The scores of every class as a table of text."""
import io
import math

from rich.console import Console
from rich.table import Table

TITLES = dict(iou='IoU', f_score='F', fdr='FDR')


def class_table(per_class: dict[str, dict[str, float]]) -> str:
    """The ``per_class`` of a metric as text.

    Args:
        per_class: Class -> name of a score -> score. The last entry counts (frames, pixels) how often the class occurs;
            where that is 0, and where a score is NaN, the table shows '-'.
    """
    *scores, count = next(iter(per_class.values()))
    table = Table('class', *(TITLES[name] for name in scores), count)
    for column in table.columns[1:]:
        column.justify = 'right'
    for name, values in per_class.items():
        cells = ['-' if not values[count] or math.isnan(values[key]) else f'{values[key]:.4f}' for key in scores]
        table.add_row(name, *cells, str(values[count]))
    text = io.StringIO()
    Console(file=text, width=80).print(table)
    return text.getvalue()
