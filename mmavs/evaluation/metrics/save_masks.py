"""Write predicted masks to files that any program can read, clip by clip."""
import os
import shutil
import sys
import weakref
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from mmengine.dist import all_gather_object, get_world_size
from mmengine.evaluator import BaseMetric

from mmavs.registry import METRICS
from mmavs.utils.files import atomic_write, errors_with_name, stays_below
from mmavs.utils.mask_images import mask_image, mask_palette
from mmavs.utils.partial_paths import partial_path

from .scored_frames import clip_name

MAX_LISTED = 5


@METRICS.register_module()
class SaveMasks(BaseMetric):
    """Write the predicted masks of every clip, at the size of its frames, as soon as the clip is predicted.

    A path that ends in ``.npz`` is one compressed file with an array per clip, named by its ``clip_id``: (T, H, W)
    uint8, the class of every pixel, 0 for background. Read it with ``numpy.load(path)``; nothing in it is pickled. It
    appears under its name when it is complete.

    Any other path is a directory with one PNG file per frame, ``CLIP_ID/00000.png`` and so on: the class of every pixel
    with the palette of the dataset, or 0 and 255 for datasets with one foreground class. Every file appears when it is
    complete.

    Padding frames are left out. In distributed tests every process writes its own clips; the processes share a file
    system.

    Args:
        path: The file or directory; it is made.

    Reads ``pred_frame_seg``, which ``model.outputs`` must contain, and the classes and the palette of the dataset's
    meta information.

    Raises:
        ValueError: Two clips have one ``clip_id``, or one leads out of the directory; see :func:`check_clip_ids`, which
            finds this before a test.
    """
    reported = {}

    def __init__(self, path: str) -> None:
        super().__init__('gpu')  # not through files in the current directory
        self.path = Path(path)
        self._saved: set[str] = set()
        self._num_clips = 0
        self._archive: zipfile.ZipFile | None = None
        # Files of all processes, to be joined.
        self._parts: list[Path] = []
        self._discard: weakref.finalize | None = None

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Write the masks of each clip."""
        for sample in data_samples:
            clip_id = sample['clip_id']
            if clip_id in self._saved and get_world_size() > 1:
                continue  # the sampler repeats clips, to give every process the same number
            check_clip_ids([*{clip_id} & self._saved, clip_id])
            if sample.get('pred_frame_seg') is None:
                raise ValueError(f'{clip_name(sample)} has no pred_frame_seg, the masks at the size of the frames: add '
                                 'it to model.outputs of the config')
            masks = sample['pred_frame_seg'].cpu().numpy()
            if sample.get('valid') is not None:
                masks = masks[sample['valid'].cpu().numpy()]
            self._saved.add(clip_id)
            self.results.append(clip_id)
            with errors_with_name(self.path):
                if self.path.suffix == '.npz':
                    self._write_array(clip_id, masks)
                else:
                    self._write_images(clip_id, masks)

    def evaluate(self, size: int) -> dict:
        """Complete the file of the ``size`` clips of the dataset."""
        part = None
        if self._archive is not None:
            with errors_with_name(self.path):
                self._archive.close()
            part = self._archive.filename
        self._parts = [Path(part) for part in all_gather_object(part) if part is not None]
        self._saved, self._archive, self._num_clips = set(), None, size
        # MMEngine would cut the collected results to ``size``, which drops the repeated clips of some samplers only.
        result = super().evaluate(sys.maxsize)
        if self._discard is not None:
            self._discard()
        return result

    def compute_metrics(self, results: list[str]) -> dict:
        """Join the files of the processes; there are no scores."""
        if len(set(results)) != self._num_clips:
            if self._discard is not None:
                self._discard()
            raise ValueError(f'{self.path}: masks of {len(set(results))} different clips were predicted, the '
                             f'dataset has {self._num_clips}: every clip needs a clip_id of its own')
        if self.path.suffix == '.npz':
            with errors_with_name(self.path):
                self._join_archives()
        return {}

    def _write_array(self, clip_id: str, masks: np.ndarray) -> None:
        if self._archive is None:
            stack = ExitStack()
            self._archive = zipfile.ZipFile(stack.enter_context(partial_path(self.path)), 'w', zipfile.ZIP_DEFLATED)
            # A test that fails does not tell its metrics; then the file goes with the metric or the process.
            self._discard = weakref.finalize(self, stack.close)
        # As numpy.savez_compressed, which takes all arrays at once and does not allow every name.
        with self._archive.open(f'{clip_id}.npy', 'w', force_zip64=True) as stream:
            np.lib.format.write_array(stream, masks, allow_pickle=False)

    def _join_archives(self) -> None:
        first, *others = self._parts
        with zipfile.ZipFile(first, 'a', zipfile.ZIP_DEFLATED) as joined:
            for path in others:
                with zipfile.ZipFile(path) as archive:
                    for name in set(archive.namelist()) - set(joined.namelist()):
                        with archive.open(name) as source, joined.open(name, 'w', force_zip64=True) as target:
                            shutil.copyfileobj(source, target)
        os.replace(first, self.path)

    def _write_images(self, clip_id: str, masks: np.ndarray) -> None:
        directory, palette = self.path / clip_id, mask_palette(self.dataset_meta)
        for t, mask in enumerate(masks):
            with atomic_write(directory / f'{t:05d}.png') as partial:
                mask_image(mask, palette).save(partial, 'png')


def check_clip_ids(clip_ids: Iterable[str]) -> None:
    """Raise a ValueError if clips cannot be saved under their ids: one occurs twice, or leads out of a directory."""
    counts = Counter(clip_ids)
    twice = [clip_id for clip_id, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f'{_listed(twice)}: more than one clip has this clip_id, and one would replace the other: '
                         'rename clips in the list of clips of the dataset')
    unsafe = [clip_id for clip_id in counts if not stays_below(clip_id)]
    if unsafe:
        raise ValueError(f'{_listed(unsafe)}: a clip_id names the files of a clip and must not lead out of their '
                         'directory: rename clips in the list of clips of the dataset')


def _listed(clip_ids: list[str]) -> str:
    more = f' and {len(clip_ids) - MAX_LISTED} more' if len(clip_ids) > MAX_LISTED else ''
    return ', '.join(map(repr, clip_ids[:MAX_LISTED])) + more
