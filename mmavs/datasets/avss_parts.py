"""S4 and MS3 as parts of AVSBench-semantic: frames of original size, binary masks (EASE)."""
from pathlib import Path
from typing import Any

from mmavs.registry import DATASETS

from .avsbench_object import AVSBenchObjectDataset
from .avss import AVSSDataset

#: Subset of AVSBench-object -> the part of AVSBench-semantic with the same clips.
PARTS = dict(s4='v1s', ms3='v1m')


@DATASETS.register_module()
class BinaryAVSSDataset(AVSSDataset):
    """The clips of S4 or MS3 from AVSBench-semantic: every class but the background is the sounding object.

    AVSBench-object ships frames of 224x224 and masks of its own; the numbers that EASE publishes on S4 and MS3 are
    those of the re-labelled masks of AVSBench-semantic. In training, S4 has labels in the first frame only.

    Args:
        data_root: Directory of AVSBench-semantic, with ``metadata.csv``.
        split: See :class:`ClipDataset`.
        subset: 's4' or 'ms3'.
        **options: Other arguments of :class:`AVSSDataset`.

    Source: released code of EASE.
    """

    METAINFO = AVSBenchObjectDataset.METAINFO

    def __init__(self, data_root: str, split: str, subset: str, **options: Any) -> None:
        if subset not in PARTS:
            raise ValueError(f"subset is {subset!r}, expected {' or '.join(map(repr, PARTS))}")
        self.subset = subset
        super().__init__(data_root, split, **options)

    def read_metadata(self) -> list[dict]:
        """Read the rows of ``metadata.csv`` that belong to the subset."""
        return [row for row in super().read_metadata() if row['label'] == PARTS[self.subset]]

    def describe_clip(self, row: dict) -> dict:
        """Make the dict of one clip."""
        return dict(super().describe_clip(row), subset=self.subset, mask_encoding='nonzero', num_classes=2)

    def _check_label_file(self, path: Path) -> None:
        """The names of the classes are not used."""
