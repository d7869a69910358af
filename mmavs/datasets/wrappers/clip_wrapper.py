"""Base class of the dataset wrappers."""
from mmcv.transforms import Compose
from torch.utils.data import Dataset

from mmavs.datasets.clip_dataset import ClipDataset
from mmavs.registry import DATASETS
from mmavs.utils.errors import worker_errors


class ClipWrapper(Dataset):
    """Dataset that serves the clips of another dataset.

    Args:
        dataset: Config of a clip dataset or of another wrapper, or the dataset.
        lazy_init: Leave the listing to ``full_init``.
    """

    def __init__(self, dataset: dict | ClipDataset, lazy_init: bool = False) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self._is_listed = False
        if not lazy_init:
            self.full_init()

    @property
    def metainfo(self) -> dict:
        """The meta information of the wrapped dataset."""
        return self.dataset.metainfo

    @property
    def pipeline(self) -> Compose:
        """The pipeline of the wrapped dataset."""
        return self.dataset.pipeline

    @property
    def ann_file(self) -> str:
        """The list of the wrapped dataset, for messages."""
        return self.dataset.ann_file

    def full_init(self) -> None:
        """List the clips and prepare what the wrapper needs of them."""
        if self._is_listed:
            return
        self.dataset.full_init()
        self.prepare([self.dataset.get_data_info(i) for i in range(len(self.dataset))])
        self._is_listed = True

    def prepare(self, clips: list[dict]) -> None:
        """Prepare what the wrapper needs of the clips of the wrapped dataset, which is listed."""

    def get_data_info(self, idx: int) -> dict:
        """Get the dict of a clip."""
        self.full_init()
        return self.dataset.get_data_info(idx)

    @worker_errors
    def __getitem__(self, idx: int) -> dict:
        return self.dataset.pipeline(self.get_data_info(idx))

    def __len__(self) -> int:
        return len(self.dataset)
