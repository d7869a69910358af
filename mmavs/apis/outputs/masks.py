"""Masks of a video as images and as an array."""
import gzip
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mmavs.utils.files import atomic_directory, atomic_write
from mmavs.utils.mask_images import mask_image, mask_palette

from ..video_chunk import VideoChunk
from .context import OutputContext


def write_mask_images(directory: Path, chunks: Iterable[VideoChunk], context: OutputContext) -> None:
    """Write one PNG file per frame, ``00000.png`` and so on, with the class of every pixel, or 0 and 255 for one class.

    The directory appears under its name, in place of an earlier one, when it is complete.
    """
    palette = mask_palette(context.dataset_meta)
    with atomic_directory(directory) as partial:
        for chunk in chunks:
            for t, mask in enumerate(chunk.masks, chunk.start):
                mask_image(mask, palette).save(partial / f'{t:05d}.png')


def write_mask_archive(path: Path, chunks: Iterable[VideoChunk], context: OutputContext) -> None:
    """Write one compressed file: ``masks`` (T, H, W) uint8, ``times`` (T,) and ``classes``."""
    times, shape = [], ()
    # An array begins with its shape, which the last chunk completes: the masks wait in a file without a name.
    with atomic_write(path) as partial, tempfile.TemporaryFile(dir=partial.parent) as spool:
        with gzip.GzipFile(fileobj=spool, mode='wb', compresslevel=1) as masks:
            for chunk in chunks:
                masks.write(np.ascontiguousarray(chunk.masks).data)
                times.append(chunk.times)
                shape = chunk.masks.shape[1:]
        spool.seek(0)
        times = np.concatenate(times)
        with zipfile.ZipFile(partial, 'w', zipfile.ZIP_DEFLATED) as archive:
            with archive.open('masks.npy', 'w', force_zip64=True) as target, gzip.GzipFile(fileobj=spool) as masks:
                header = dict(descr='|u1', fortran_order=False, shape=(len(times), *shape))
                np.lib.format.write_array_header_1_0(target, header)
                shutil.copyfileobj(masks, target)
            for name, array in (('times', times), ('classes', np.array(context.classes, str))):
                with archive.open(f'{name}.npy', 'w') as target:
                    np.lib.format.write_array(target, array, allow_pickle=False)
