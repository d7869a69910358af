"""What the data sets share that change the sound of the clips of another."""
from torch.utils.data import Dataset

from mmavs.datasets.clip_dataset import ClipDataset
from mmavs.registry import DATASETS
from mmavs.utils.errors import worker_errors


class ClipWrapper(Dataset):
    """A data set of the clips of another one.

    Args:
        dataset: Config of a data set of clips, or the data set.
        lazy_init: Leave the listing to ``full_init``.
    """

    def __init__(self, dataset: dict | ClipDataset, lazy_init: bool = False) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self._is_listed = False
        if not lazy_init:
            self.full_init()

    @property
    def metainfo(self) -> dict:
        """The meta information of the wrapped data set."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """List the clips and choose what is to be changed."""
        if self._is_listed:
            return
        self.dataset.full_init()
        self.choose([self.dataset.get_data_info(i) for i in range(len(self.dataset))])
        self._is_listed = True

    def choose(self, clips: list[dict]) -> None:
        """Prepare for the clips of the wrapped data set, which is listed by now."""

    def get_data_info(self, idx: int) -> dict:
        """The dict of a clip."""
        self.full_init()
        return self.dataset.get_data_info(idx)

    @worker_errors
    def __getitem__(self, idx: int) -> dict:
        return self.dataset.pipeline(self.get_data_info(idx))

    def __len__(self) -> int:
        return len(self.dataset)
