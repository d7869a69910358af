"""Dataset wrapper that replaces the audio of all clips by one audio condition, for tests."""
import logging
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from mmavs.datasets.clip_dataset import ClipDataset
from mmavs.datasets.file_listing import write_csv
from mmavs.registry import DATASETS
from mmavs.utils.errors import worker_errors

from .audio_conditions import AudioCondition, AudioReplacer
from .clip_wrapper import ClipWrapper

MANIFEST_COLUMNS = ('clip', 'kind', 'source', 'seed', 'level', 'class_overlap')


@DATASETS.register_module()
class ReplaceAudio(ClipWrapper):
    """Give each clip the audio of one audio condition, the same in every run.

    - 'silence': zeros.
    - 'noise': white Gaussian noise with the RMS of the original audio; 'noise:-20': of -20 dBFS (RMS 0.1).
    - 'off-screen': the audio of another clip of the split, none of whose sounding classes is sounding in this clip or
      listed as visible. Classes are taken from the list of clips (S4, VPO; others if it has the columns) and from the
      masks (AVSS, VPO). If they are unknown (MS3 as published), any other clip is taken, and the manifest says
      'unknown'. Clips without a candidate are left out.
    - 'absent-class': an audio file of a class that the dataset does not have.
    - 'mixture:0': the original audio mixed with that of 'off-screen', at this signal-to-noise ratio in dB.

    The new audio has the rate and length of the original audio and passes the same front-end. The random draws of a
    clip depend on its id only, off-screen audio also on the list of clips, but not on its order.

    Args:
        dataset: Config of a clip dataset whose pipeline loads waveforms, or the dataset.
        kind: Audio condition, see above.
        absent_audio: Directory of audio files (wav, flac, ogg, mp3; at any depth), for 'absent-class'.
        lazy_init: Leave the listing to ``full_init``.

    Attributes:
        manifest: For each clip, in order, a dict with ``clip``, ``kind``, ``source`` (id of the other clip, or file),
            ``seed``, ``level`` and ``class_overlap`` ('disjoint' or 'unknown' for audio of other clips).

    Source: the corrected form of AVSBench-Robust; see ``docs/user_guides/robustness.md``.
    """

    def __init__(self,
                 dataset: dict | ClipDataset,
                 kind: str,
                 absent_audio: str | None = None,
                 lazy_init: bool = False) -> None:
        self.condition = AudioCondition.parse(kind)
        self.absent_audio = absent_audio
        self.manifest: list[dict] = []
        super().__init__(dataset, lazy_init)

    def prepare(self, clips: list[dict]) -> None:
        """Choose the audio of each clip."""
        condition = self.condition
        self._replacer = replacer = AudioReplacer(self.dataset, [condition], self.absent_audio)
        self._chosen, without = [], []
        for index in range(len(clips)):
            seed = replacer.seed(index)
            source = replacer.draw_source(condition, index, np.random.RandomState(seed))
            if source is None and condition.needs_source:
                without.append(replacer.clip_id(index))
                continue
            class_overlap = ''
            if condition.needs_other_clip:
                class_overlap = 'disjoint' if replacer.knows_classes(index) else 'unknown'
            self._chosen.append((index, source, seed))
            self.manifest.append(
                dict(
                    clip=replacer.clip_id(index),
                    kind=condition.name,
                    source=replacer.source_name(source),
                    seed=seed,
                    level=condition.level_text,
                    class_overlap=class_overlap))
        if not self._chosen:
            raise ValueError(f'{self.dataset.ann_file}: no clip of the split {self.dataset.split!r} has another clip '
                             'with disjoint sounding classes and as many frames')
        if without:
            print_log(f'{condition.name}: {len(without)} of {len(clips)} clips are left out, no other clip has '
                      f'disjoint sounding classes: {without[0]}, ...', 'current', logging.WARNING)
        unknown = sum(row['class_overlap'] == 'unknown' for row in self.manifest)
        if unknown:
            print_log(f'{condition.name}: the sounding classes of {unknown} clips are unknown, they get the audio of '
                      'any other clip; the list of clips may state the classes in a column sounding or a_obj',
                      'current', logging.WARNING)

    def get_data_info(self, idx: int) -> dict:
        """Get the dict of a clip, with the ``audio_clip_id`` of the clip or file that its audio comes from."""
        self.full_init()
        index, source, _ = self._chosen[idx]
        return dict(self.dataset.get_data_info(index), audio_clip_id=self._replacer.source_name(source))

    @worker_errors
    def __getitem__(self, idx: int) -> dict:
        self.full_init()
        index, source, seed = self._chosen[idx]
        packed = self.dataset[index]
        rng = np.random.RandomState(seed)
        return dict(packed, inputs=self._replacer.replace(packed['inputs'], self.condition, index, source, rng))

    def __len__(self) -> int:
        self.full_init()
        return len(self._chosen)


def write_manifest(path: Path, rows: list[dict]) -> None:
    """Write the manifests of one or more tests as one CSV file."""
    write_csv(path, rows, MANIFEST_COLUMNS)
