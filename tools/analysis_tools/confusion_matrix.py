#!/usr/bin/env python
"""Draw the confusion matrix of a test: ``python tools/analysis_tools/confusion_matrix.py metrics.json --out FILE.png``.

The file is one of ``tools/test.py --out metrics.json`` with :class:`mmavs.evaluation.DatasetMetric` among the metrics.
"""
from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from mmavs.utils.errors import cli_errors
from mmavs.utils.files import check_writable
from mmavs.utils.json_files import read_json

if TYPE_CHECKING:
    import numpy as np

SUFFIXES = ('.png', '.pdf', '.svg')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw the confusion matrix of a test')
    parser.add_argument('report', help='metrics.json of tools/test.py')
    parser.add_argument('--out', required=True, metavar='FILE', help='figure (.png, .pdf, .svg)')
    parser.add_argument('--normalize', choices=['true', 'predicted', 'all'], default='true',
                        help='fractions of the pixels of the true class (recall, default), of the predicted class '
                        '(precision), or of all pixels')
    parser.add_argument('--classes', nargs='+', metavar='CLASS',
                        help='classes to show (default: all that are true or predicted in a pixel)')
    args = parser.parse_args()
    if not args.out.endswith(SUFFIXES):
        parser.error(f'--out {args.out}: the file must end in {", ".join(SUFFIXES)}')
    return args


@cli_errors()
def main() -> None:
    args = parse_args()
    import numpy as np

    from mmavs.visualization.confusion_figure import draw_confusion, normalize_confusion

    check_writable(args.out)
    classes, matrix = read_confusion(args.report)
    shown = args.classes or [name for c, name in enumerate(classes) if matrix[c].any() or matrix[:, c].any()]
    unknown = sorted(set(shown) - set(classes))
    if unknown:
        sys.exit(f'error: --classes: {", ".join(unknown)}: not among the classes of {args.report}: '
                 f'{", ".join(classes)}')
    # Fractions are those of all classes, of which only some are shown.
    indices = [classes.index(name) for name in shown]
    fractions = normalize_confusion(matrix, args.normalize)[np.ix_(indices, indices)]
    draw_confusion(args.out, fractions, shown, f'pixels in % of {args.normalize} class' if args.normalize != 'all' else
                   'pixels in % of all')


def read_confusion(path: str) -> tuple[list[str], np.ndarray]:
    """Read class names and confusion matrix (K, K) from a report of ``tools/test.py``."""
    import numpy as np

    try:
        details = list(read_json(path, 'a metrics.json of mmavs test', ('details', ))['details'].values())
        names = ', '.join(metric['metric'] for metric in details)
        for metric in details:
            if 'confusion_matrix' in metric:
                classes, matrix = list(map(str, metric['classes'])), np.array(metric['confusion_matrix'], float)
                if matrix.shape != (len(classes), len(classes)):
                    raise ValueError(f'a matrix of shape {matrix.shape} for {len(classes)} classes')
                return classes, matrix
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f'error: {path}: expected a metrics.json of mmavs test ({error!r})')
    sys.exit(f'error: {path}: holds no confusion matrix, found {names}: test with '
             'DatasetMetric (--cfg-options test_evaluator._delete_=True test_evaluator.type=DatasetMetric)')


if __name__ == '__main__':
    main()
