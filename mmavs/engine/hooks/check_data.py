"""Hook that checks the files of all clips before the first step."""
import logging
import time
from collections.abc import Iterator, Sequence

from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import Dataset

from mmavs.datasets import ClipDataset
from mmavs.datasets.check_clips import check_clips
from mmavs.datasets.checked_clips import CheckedClips
from mmavs.registry import HOOKS
from mmavs.utils.garbage_collection import frozen_garbage

# Number of unusable clips that the message lists.
MAX_LISTED = 5


# The second name is the former one, which older configs state.
@HOOKS.register_module(['CheckDataHook', 'InspectDataHook'])
class CheckDataHook(Hook):
    """Check the files of all clips that a training (with its validation) or a test is going to read.

    See :func:`mmavs.datasets.check_clips.check_clips` for the checks. The clips are divided among the processes. Clips
    that passed an earlier check, and whose files have not changed since, are not checked again.

    Args:
        cache: Whether to remember the clips that passed, see :class:`mmavs.datasets.checked_clips.CheckedClips`.
        cache_dir: Directory for it; None: ``checked_clips`` in the cache of mmavs.
        hash_content: Compare the content of files with that of the earlier check, instead of size and time.
        num_threads: Number of clips checked in parallel; None: chosen by the number of cores.
    """

    def __init__(self,
                 cache: bool = True,
                 cache_dir: str | None = None,
                 hash_content: bool = False,
                 num_threads: int | None = None) -> None:
        self.cache = cache
        self.cache_dir = cache_dir
        self.hash_content = hash_content
        self.num_threads = num_threads

    def before_run(self, runner: Runner) -> None:
        """Check the clips of the loops of this run."""
        self.check(list(_datasets(runner)))

    def check(self, datasets: Sequence[ClipDataset]) -> None:
        """Raise a ValueError that lists the first unusable clips; warn if audio does not fit the frames."""
        start, problems, warnings = time.time(), [], []
        for dataset in datasets:
            found = self._check_dataset(dataset)
            problems += found[0]
            warnings += found[1]
        if problems:
            first = '\n'.join(problems[:MAX_LISTED])
            raise ValueError(first if len(problems) == 1 else f'{len(problems)} clips cannot be used. First:\n{first}')
        if warnings:
            print_log(
                f'audio is shorter than the video, or more than twice as long, in {len(warnings)} clip(s): it is '
                f'padded, or its end is not used; is it the audio of these frames, and the sample rate right? First: '
                f'{warnings[0]}', 'current', logging.WARNING)
        print_log(f'checked the files of {sum(map(len, datasets))} clips in {time.time() - start:.1f} s', 'current')

    def _check_dataset(self, dataset: ClipDataset) -> tuple[list[str], list[str]]:
        """Check the clips of this process: its problems and warnings."""
        checked = CheckedClips(dataset, self.cache_dir, self.hash_content) if self.cache else None
        description = f'check files, {dataset.SUBSET} {dataset.split}' if get_rank() == 0 else None
        with frozen_garbage(collect=False):
            clips = [dataset.get_data_info(i) for i in range(get_rank(), len(dataset), get_world_size())]
        with frozen_garbage():
            return check_clips(dataset, clips, self.num_threads, checked, description)


def _datasets(runner: Runner) -> Iterator[ClipDataset]:
    """Yield the clip datasets of the loops that have been built: those of this run."""
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        if isinstance(loop, BaseLoop):
            yield from _unwrap(loop.dataloader.dataset)


def _unwrap(dataset: Dataset) -> Iterator[ClipDataset]:
    """Yield the clip datasets inside wrappers."""
    if isinstance(dataset, ClipDataset):
        yield dataset
    for inner in getattr(dataset, 'datasets', None) or filter(None, [getattr(dataset, 'dataset', None)]):
        yield from _unwrap(inner)
