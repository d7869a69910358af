"""Write predicted masks to a file that any program can read."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric

from mmavs.registry import METRICS


@METRICS.register_module()
class SaveMasks(BaseMetric):
    """Write the predicted masks of all clips into one compressed ``.npz`` file.

    The file holds one array per clip, named by its ``clip_id``: (T, H, W) uint8, the class of every pixel, 0 for
    background. Read it with ``numpy.load(path)``; nothing in it is pickled.

    Args:
        path: The file, which must end in ``.npz``; its directory is made.
    """
    reported = {}

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = Path(path)
        if self.path.suffix != '.npz':
            raise ValueError(f'{path}: predictions are written as .npz')

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Keep the masks of each clip."""
        self.results += [(sample['clip_id'], sample['pred_sem_seg'].cpu().numpy()) for sample in data_samples]

    def compute_metrics(self, results: list[tuple[str, np.ndarray]]) -> dict:
        """Write the file; there are no scores."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(self.path, **dict(results))
        return {}
