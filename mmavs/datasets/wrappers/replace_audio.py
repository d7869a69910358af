"""The same clips with one kind of wrong sound, for tests."""
import csv
import logging
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from mmavs.datasets.clip_dataset import ClipDataset
from mmavs.registry import DATASETS
from mmavs.utils.errors import worker_errors

from .audio_replacement import AudioCondition, AudioReplacer
from .clip_wrapper import ClipWrapper

MANIFEST_COLUMNS = ('clip', 'kind', 'source', 'seed', 'level', 'labels')


@DATASETS.register_module()
class ReplaceAudio(ClipWrapper):
    """Give each clip a wrong sound of one kind, always the same one.

    - 'silence': zeros.
    - 'noise': white Gaussian noise with the RMS of the clip's own sound; 'noise:-20': of -20 dBFS (RMS 0.1).
    - 'off-screen': the sound of another clip of the split, of which no class is heard or, as far as the list of clips
      says, seen in this one. Classes are those of the list of clips (S4, VPO; elsewhere where it has the columns) and
      of the masks (AVSS, VPO). Where they are not known (MS3 as published) any other clip is taken, and the manifest
      says so. Clips for which there is no such sound are left out.
    - 'absent-class': a sound file of a class that the data set does not have.
    - 'mixture:0': the clip's own sound and that of 'off-screen', with this signal-to-noise ratio in dB.

    All have the rate and length of the clip's own sound and go through the same front-end. Everything drawn for a clip
    depends on its id only, off-screen sounds also on the list of clips; not on their order.

    Args:
        dataset: Config of a data set of clips whose pipeline loads waveforms, or the data set.
        kind: See above.
        absent_sounds: Folder of sound files (wav, flac, ogg, mp3; in folders of any depth), for 'absent-class'.
        lazy_init: Leave the listing to ``full_init``.

    Attributes:
        manifest: For each clip, in order, a dict with ``clip``, ``kind``, ``source`` (id of the other clip, or file),
            ``seed``, ``level`` and ``labels`` ('disjoint' or 'unknown' for sounds of other clips).

    Source: the corrected form of AVSBench-Robust; see ``docs/user_guides/robustness.md``.
    """

    def __init__(self,
                 dataset: dict | ClipDataset,
                 kind: str,
                 absent_sounds: str | None = None,
                 lazy_init: bool = False) -> None:
        self.kind = AudioCondition.parse(kind)
        self.absent_sounds = absent_sounds
        self.manifest: list[dict] = []
        super().__init__(dataset, lazy_init)

    def choose(self, clips: list[dict]) -> None:
        """Choose the sounds."""
        self._sounds = AudioReplacer(self.dataset, [self.kind], self.absent_sounds)
        self._chosen, without = [], []
        for index in range(len(clips)):
            seed = self._sounds.seed(index)
            source, labels = None, ''
            if self.kind.needs_other_clip or self.kind.name == 'absent-class':
                sources = self._sounds.sources(self.kind, index)
                if not sources:
                    without.append(self._sounds.clip_id(index))
                    continue
                source = sources[np.random.RandomState(seed).randint(len(sources))]
            if self.kind.needs_other_clip:
                labels = 'disjoint' if self._sounds.knows_labels(index) else 'unknown'
            self._chosen.append((index, source, seed))
            self.manifest.append(
                dict(
                    clip=self._sounds.clip_id(index),
                    kind=self.kind.name,
                    source=self._sounds.source_name(source),
                    seed=seed,
                    level=self.kind.level_text,
                    labels=labels))
        if not self._chosen:
            raise ValueError(f'{self.dataset.ann_file}: no clip of the split {self.dataset.split!r} has another one '
                             'that sounds of other classes and has as many frames')
        if without:
            print_log(f'{self.kind.name}: {len(without)} of {len(clips)} clips are left out, no other one sounds of '
                      f'other classes only: {without[0]}, ...', 'current', logging.WARNING)
        unknown = sum(row['labels'] == 'unknown' for row in self.manifest)
        if unknown:
            print_log(f'{self.kind.name}: of {unknown} clips it is not known what is heard in them, so they get the '
                      'sound of any other clip; the list of clips may say it in a column heard or a_obj', 'current',
                      logging.WARNING)

    def get_data_info(self, idx: int) -> dict:
        """The dict of a clip, with the ``audio_clip_id`` of the clip or file that is heard."""
        self.full_init()
        index, source, _ = self._chosen[idx]
        return dict(self.dataset.get_data_info(index), audio_clip_id=self._sounds.source_name(source))

    @worker_errors
    def __getitem__(self, idx: int) -> dict:
        self.full_init()
        index, source, seed = self._chosen[idx]
        packed = self.dataset[index]
        inputs = self._sounds.replace(packed['inputs'], self.kind, index, source, np.random.RandomState(seed))
        return dict(packed, inputs=inputs)

    def __len__(self) -> int:
        self.full_init()
        return len(self._chosen)


def write_manifest(path: Path, rows: list[dict]) -> None:
    """Write the manifests of one or more tests as one CSV file."""
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, MANIFEST_COLUMNS, lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
