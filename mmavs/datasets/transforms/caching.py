"""Cache the results of deterministic transforms."""
from collections.abc import Callable

from mmcv.transforms import BaseTransform, Compose

from mmavs.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CachedTransforms(BaseTransform):
    """Run transforms once per clip, or frame of :class:`SingleFrames`, and keep the results in memory.

    Suits datasets that fit into memory: reading and resizing cost nothing from the second epoch on. Each worker of the
    data loader keeps its own copy until it ends (set ``persistent_workers=True``).

    Args:
        transforms: Configs of the transforms. They must not draw random numbers, and later transforms must not write
            into their arrays; those of mmcv and mmseg do not.
    """

    def __init__(self, transforms: list[dict | Callable]) -> None:
        self.transforms = Compose([TRANSFORMS.build(step) if isinstance(step, dict) else step for step in transforms])
        self._results: dict[tuple, dict] = {}

    def transform(self, results: dict) -> dict:
        """Transform a clip, or return the cached result."""
        audio = results['audio_path'], results['log_mel_path'], *results.get('audio_paths', ())
        # SingleFrames serves the frames of a clip one by one.
        key = results['split'], results['clip_id'], results.get('first_frame'), audio
        if key not in self._results:
            self._results[key] = self.transforms(dict(results))
        return dict(self._results[key])
