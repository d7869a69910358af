"""Table of the classes in a video."""
from collections.abc import Iterable
from pathlib import Path

from mmavs.datasets.file_listing import write_csv
from mmavs.visualization.object_names import class_name

from ..video_chunk import VideoChunk
from .class_areas import class_areas
from .context import OutputContext

COLUMNS = ('time', 'class', 'share', 'probability')


def write_class_table(path: Path, chunks: Iterable[VideoChunk], context: OutputContext) -> None:
    """Write a CSV file with a row for each frame and class that it contains; a frame without objects has none.

    ``time`` is that of the frame in seconds, ``share`` the share of the frame that the class covers, in (0, 1], and
    ``probability`` the mean probability of the foreground in this area.
    """
    rows = ({
        'time': f'{time:.3f}',
        'class': class_name(context.classes, area.label),
        'share': f'{area.share:.6f}',
        'probability': f'{area.probability:.4f}'
    } for chunk in chunks for time, areas in zip(chunk.times, class_areas(chunk)) for area in areas)
    write_csv(path, rows, COLUMNS)
