"""Do deterministic work once per clip."""
from collections.abc import Callable

from mmcv.transforms import BaseTransform, Compose

from mmavs.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CachedTransforms(BaseTransform):
    """Run transforms the first time a clip is asked for, and keep what they made in memory.

    For data sets that fit into memory: reading and resizing then cost nothing from the second epoch on. Each worker of
    the data loader keeps its own copy, for as long as it lives (``persistent_workers=True``).

    Args:
        transforms: Configs of the transforms. They must not draw random numbers, and what follows must not write into
            their arrays; the transforms of mmcv and mmseg do not.
    """

    def __init__(self, transforms: list[dict | Callable]) -> None:
        self.transforms = Compose([TRANSFORMS.build(step) if isinstance(step, dict) else step for step in transforms])
        self._made: dict[tuple, dict] = {}

    def transform(self, results: dict) -> dict:
        """Transform a clip, or recall how it was transformed."""
        sounds = results['audio_path'], results['log_mel_path'], *results.get('audio_paths', ())
        clip = results['split'], results['clip_id'], sounds
        if clip not in self._made:
            self._made[clip] = self.transforms(dict(results))
        return dict(self._made[clip])
