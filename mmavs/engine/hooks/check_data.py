"""Hook that checks the files of all clips before the first step."""
import time
from collections.abc import Iterator

from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import Dataset

from mmavs.datasets import ClipDataset
from mmavs.datasets.check import check_clips
from mmavs.registry import HOOKS

# Number of unusable clips that the message lists.
MAX_LISTED = 5


# The second name is the former one, which older configs state.
@HOOKS.register_module(['CheckDataHook', 'InspectDataHook'])
class CheckDataHook(Hook):
    """Check the files of all clips that a training (with its validation) or a test is going to read.

    See :func:`mmavs.datasets.check.check_clips` for the checks. The clips are divided among the processes.
    """

    def before_run(self, runner: Runner) -> None:
        """Raise a ValueError that lists the first unusable clips; warn if audio does not fit the frames."""
        start, count, problems, warnings = time.time(), 0, [], []
        for dataset in _datasets(runner):
            clips = (dataset.get_data_info(i) for i in range(get_rank(), len(dataset), get_world_size()))
            for messages, found in zip((problems, warnings), check_clips(dataset, clips)):
                messages += found
            count += len(dataset)
        if problems:
            first = '\n'.join(problems[:MAX_LISTED])
            raise ValueError(first if len(problems) == 1 else f'{len(problems)} clips cannot be used. First:\n{first}')
        if warnings:
            runner.logger.warning(
                f'audio is shorter than the video, or more than twice as long, in {len(warnings)} clip(s): it is '
                f'padded, or its end is not used; is it the audio of these frames, and the sample rate right? First: '
                f'{warnings[0]}')
        runner.logger.info(f'checked the files of {count} clips in {time.time() - start:.1f} s')


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
