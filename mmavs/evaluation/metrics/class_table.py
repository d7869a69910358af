"""Base of the metrics that score every class, and the table of these scores."""
import io
import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .detailed_metric import DetailedMetric

TITLES = dict(iou='IoU', f_score='F', fdr='FDR')


class ClassTableMetric(DetailedMetric):
    """Metric of the classes in the meta information of the dataset.

    Args:
        collect_device: See :class:`DetailedMetric`.
        prefix: Prefix of the names of the results.

    Attributes:
        per_class: After evaluation, on the main process: the scores of each class; also in ``details``.
    """

    def __init__(self, collect_device: str = 'gpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.per_class: dict[str, dict[str, float]] = {}

    @property
    def classes(self) -> Sequence[str]:
        """Names of the K classes, background first."""
        classes = (self.dataset_meta or {}).get('classes')
        if not classes or len(classes) < 2:
            raise ValueError(f"{type(self).__name__} takes its classes from dataset_meta['classes'], which is "
                             f'{classes!r}: the dataset must name them in its METAINFO, background first')
        return classes


def class_table(per_class: dict[str, dict[str, float]]) -> str:
    """Format the ``per_class`` of a metric as a table of text.

    Args:
        per_class: Class -> name of a score -> score. The last entry counts the occurrences of the class (frames,
            pixels); if it is 0, or a score is NaN, the table shows '-'.
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
