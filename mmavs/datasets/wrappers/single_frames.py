"""Dataset wrapper that serves the labelled frames of clips one by one (EASE on AVSBench-semantic)."""
from mmavs.registry import DATASETS
from mmavs.utils.errors import worker_errors
from mmavs.utils.randomness import seeded

from .clip_wrapper import ClipWrapper


@DATASETS.register_module()
class SingleFrames(ClipWrapper):
    """Every labelled frame of the clips as a clip of one frame, with its own second of audio.

    For methods that treat frames independently. A batch then has a fixed number of frames of many clips, whereas clips
    of AVSBench-semantic have 1, 5 or 10 labelled frames. Only the one frame and mask are read.

    Args:
        dataset: Config of a clip dataset whose pipeline reads audio by :class:`LoadAudio`, or the dataset.
        lazy_init: Leave the listing to ``full_init``.
    """

    def prepare(self, clips: list[dict]) -> None:
        """List the labelled frames."""
        self._frames = [(i, frame) for i, clip in enumerate(clips)
                        for frame, is_labelled in enumerate(clip['labelled']) if is_labelled]

    def get_data_info(self, idx: int) -> dict:
        """Get the dict of a frame: that of its clip, with lists of length 1; ``first_frame`` is its index."""
        self.full_init()
        index, frame = self._frames[idx]
        clip = self.dataset.get_data_info(index)
        for key in ('frame_paths', 'mask_paths', 'mask_prior_paths', 'valid', 'labelled'):
            if clip.get(key) is not None:
                clip[key] = clip[key][frame:frame + 1]
        return dict(clip, first_frame=frame)

    @worker_errors
    def __getitem__(self, idx: int) -> dict:
        with seeded(getattr(idx, 'seed', None)):
            return self.dataset.pipeline(self.get_data_info(idx))

    def __len__(self) -> int:
        self.full_init()
        return len(self._frames)
