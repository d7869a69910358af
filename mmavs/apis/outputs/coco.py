"""Masks of a video in COCO's format, with the frames."""
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import cv2
import numpy as np

from mmavs.utils.files import atomic_directory
from mmavs.utils.optional_packages import optional_import
from mmavs.visualization.object_names import class_name

from ..video_chunk import VideoChunk
from .class_areas import ClassArea, class_areas
from .context import OutputContext

JPEG_QUALITY = 95


def write_coco(directory: Path, chunks: Iterable[VideoChunk], context: OutputContext) -> None:
    """Write ``labels.json`` in COCO's format and its images ``data/00000.jpg``, the layout that FiftyOne reads.

    An annotation holds the whole area of a class in a frame as compressed RLE: ``segmentation`` (``size`` and
    ``counts``, a string), ``area``, ``bbox``, ``iscrowd`` 0 and ``score``, the mean probability of the foreground in
    the area. ``category_id`` is the class of the masks, from 1 on. An image has its ``time`` in seconds and its index
    in the video, ``frame``; ids count from 1.

    Raises:
        ImportError: pycocotools is not installed.
    """
    mask_utils = optional_import('pycocotools.mask', 'writing masks in the COCO format')
    with atomic_directory(directory) as partial:
        (partial / 'data').mkdir()
        # The annotations follow the images: they wait in a file without a name.
        with open(partial / 'labels.json', 'w', encoding='utf-8') as file, tempfile.TemporaryFile(
                'w+', dir=partial, encoding='utf-8') as spool:
            file.write('{"info": ' + json.dumps(dict(description=f'mmavs: {context.name}', fps=float(context.fps))))
            file.write(',\n"categories": ' + json.dumps(_categories(context)) + ',\n"images": [\n')
            num_annotations = 0
            for chunk in chunks:
                for t, areas in enumerate(class_areas(chunk)):
                    image = _write_image(partial / 'data', chunk, t)
                    _write_item(file, image, image['id'] == 1)
                    for annotation in _annotations(chunk.masks[t], areas, image['id'], mask_utils):
                        num_annotations += 1
                        _write_item(spool, dict(id=num_annotations, **annotation), num_annotations == 1)
            file.write('\n],\n"annotations": [\n')
            spool.seek(0)
            shutil.copyfileobj(spool, file)
            file.write('\n]}\n')


def _categories(context: OutputContext) -> list[dict]:
    count = max(2, len(context.classes))
    return [dict(id=label, name=class_name(context.classes, label), supercategory='object')
            for label in range(1, count)]


def _write_image(directory: Path, chunk: VideoChunk, t: int) -> dict:
    """Write a frame and return its entry."""
    frame, number = chunk.frames[t], chunk.start + t
    name = f'{number:05d}.jpg'
    encoded = cv2.imencode('.jpg', frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    (directory / name).write_bytes(encoded)
    height, width = frame.shape[:2]
    time = round(float(chunk.times[t]), 6)
    return dict(id=number + 1, file_name=name, width=width, height=height, frame=number, time=time)


def _annotations(mask: np.ndarray, areas: list[ClassArea], image_id: int, mask_utils) -> Iterator[dict]:
    for area in areas:
        rle = mask_utils.encode(np.asfortranarray(mask == area.label, np.uint8))
        yield dict(
            image_id=image_id,
            category_id=area.label,
            segmentation=dict(size=list(map(int, rle['size'])), counts=rle['counts'].decode('ascii')),
            area=area.pixels,
            bbox=mask_utils.toBbox(rle).tolist(),
            iscrowd=0,
            **({} if area.probability is None else dict(score=round(area.probability, 4))))


def _write_item(file: TextIO, item: dict, first: bool) -> None:
    file.write(('' if first else ',\n') + json.dumps(item))
