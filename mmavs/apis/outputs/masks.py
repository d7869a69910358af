"""Write the masks of a video to files, chunk by chunk."""
import gzip
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mmavs.utils.files import PARTIAL, atomic_write
from mmavs.utils.mask_images import mask_image, mask_palette

from .video_chunk import VideoChunk


def write_mask_images(directory: Path, chunks: Iterator[VideoChunk], dataset_meta: dict) -> Iterator[VideoChunk]:
    """Write one PNG file per frame, ``00000.png`` and so on, while chunks pass by.

    The directory appears under its name, in place of an earlier one, when the last chunk has passed.

    Args:
        directory: The directory.
        chunks: The chunks.
        dataset_meta: Classes and palette, see :func:`mmavs.utils.mask_images.mask_palette`.

    Yields:
        The chunks.
    """
    palette, partial = mask_palette(dataset_meta), directory.with_name(directory.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for chunk in chunks:
            for t, mask in enumerate(chunk.masks, chunk.start):
                mask_image(mask, palette).save(partial / f'{t:05d}.png')
            yield chunk
        shutil.rmtree(directory, ignore_errors=True)
        partial.rename(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_mask_archive(path: Path, chunks: Iterator[VideoChunk], classes: Sequence[str]) -> Iterator[VideoChunk]:
    """Write one compressed file while chunks pass by; it appears under its name when the last one has passed.

    Args:
        path: The file: ``masks`` (T, H, W) uint8, ``times`` (T,) and ``classes``.
        chunks: The chunks.
        classes: Names of the classes.

    Yields:
        The chunks.
    """
    times, shape = [], ()
    # An array begins with its shape, which the last chunk completes.
    with tempfile.TemporaryFile() as spool:
        with gzip.GzipFile(fileobj=spool, mode='wb', compresslevel=1) as masks:
            for chunk in chunks:
                masks.write(np.ascontiguousarray(chunk.masks).data)
                times.append(chunk.times)
                shape = chunk.masks.shape[1:]
                yield chunk
        spool.seek(0)
        times = np.concatenate(times)
        with atomic_write(path) as partial, zipfile.ZipFile(partial, 'w', zipfile.ZIP_DEFLATED) as archive:
            with archive.open('masks.npy', 'w', force_zip64=True) as target, gzip.GzipFile(fileobj=spool) as masks:
                header = dict(descr='|u1', fortran_order=False, shape=(len(times), *shape))
                np.lib.format.write_array_header_1_0(target, header)
                shutil.copyfileobj(masks, target)
            for name, array in (('times', times), ('classes', np.array(classes, str))):
                with archive.open(f'{name}.npy', 'w') as target:
                    np.lib.format.write_array(target, array, allow_pickle=False)
