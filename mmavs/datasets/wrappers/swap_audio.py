"""Dataset wrapper that exchanges the audio of clips, for the audio ablation."""
import logging

from mmengine.logging import print_log

from mmavs.datasets.file_listing import AUDIO_KEYS
from mmavs.registry import DATASETS

from .clip_wrapper import ClipWrapper


@DATASETS.register_module()
class SwapAudio(ClipWrapper):
    """Give each clip the audio of another clip of the same dataset.

    Of n clips, clip i gets the audio of clip i + n/2 (cyclically), or of the next clip after that with another category
    and the same number of frames, if there is one. The choice depends on the list of clips only.

    Args:
        dataset: Config of a clip dataset, or the dataset.
        lazy_init: Leave the listing to ``full_init``.

    Raises:
        ValueError: The dataset has fewer than two clips.
    """

    def prepare(self, clips: list[dict]) -> None:
        """Choose the audio of each clip."""
        if len(clips) < 2:
            raise ValueError(f'{self.dataset.ann_file}: swapping audio needs two clips, the split '
                             f'{self.dataset.split!r} has {len(clips)}')
        keys = [(clip['category'], sum(clip['valid'])) for clip in clips]
        self._sources = [_other_clip(i, keys) for i in range(len(clips))]
        print_log(f'SwapAudio: {len(clips)} clips with the audio of other clips', 'current', logging.INFO)

    def get_data_info(self, idx: int) -> dict:
        """Get the dict of a clip with the audio paths of the other clip, whose id is ``audio_clip_id``."""
        clip, other = super().get_data_info(idx), self.dataset.get_data_info(self._sources[idx])
        audio = {key: other[key] for key in (*AUDIO_KEYS, 'audio_positions') if key in other}
        return dict(clip, **audio, audio_clip_id=other['clip_id'])


def _other_clip(index: int, keys: list[tuple]) -> int:
    """Index of the clip whose audio clip ``index`` gets; ``keys`` are (category, number of frames)."""
    count = len(keys)
    category, num_frames = keys[index]
    others = ((index + count // 2 + step) % count for step in range(count))
    best = None
    for other in others:
        if other == index:
            continue
        mismatch = (category is not None and keys[other][0] == category, keys[other][1] != num_frames)
        if not any(mismatch):
            return other
        if best is None or mismatch < best[0]:
            best = mismatch, other
    return best[1]
