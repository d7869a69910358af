"""End a training on SIGTERM or SIGINT, at the end of an iteration and with a checkpoint."""
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from mmengine.device import get_device
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TrainingStopped(SystemExit):
    """End of a training that a signal has asked for; the exit status is 128 + the number of the signal."""


class StopSignalHook(Hook):
    """End a training after the iteration in which the process gets SIGTERM or SIGINT (Ctrl+C).

    A training by iterations writes a checkpoint first. One by epochs can only be resumed at the beginning of an epoch:
    it keeps the checkpoint of the last one. A validation is left as soon as the checkpoint before it has been written,
    because a resumed training begins with it. A second signal ends the process at once.

    All processes of a distributed training end after the same iteration, also if only one gets the signal.
    """

    # After all other hooks: they have seen the iteration, and the checkpoint that was due is written.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self.signal: int | None = None

    @contextmanager
    def taking_signals(self) -> Iterator[None]:
        """Take the signals; possible in the main thread only, elsewhere they keep their meaning."""
        try:
            former = {number: signal.signal(number, self._note) for number in SIGNALS}
        except ValueError:
            yield
            return
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        for other in SIGNALS:
            signal.signal(other, signal.SIG_DFL)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Write a checkpoint and end the training."""
        number = self._agreed()
        if not number:
            return
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        hook = _checkpoint_hook(runner)
        if hook is not None and not by_epoch and _saved(hook) != runner.iter + 1:
            hook._save_checkpoint(runner)
        self._stop(runner, number, hook, runner.iter + 1)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: list | None = None) -> None:
        """End the training if its checkpoint has been written."""
        hook = _checkpoint_hook(runner)
        done = runner.epoch if isinstance(runner.train_loop, EpochBasedTrainLoop) else runner.iter
        # Processes may have different numbers of batches to validate: they agree in the next iteration.
        if self.signal and hook is not None and _saved(hook) == done and get_world_size() == 1:
            self._stop(runner, self.signal, hook, runner.iter)

    def _agreed(self) -> int:
        """Signal that any of the processes has got, 0 for none."""
        if get_world_size() == 1:
            return self.signal or 0
        number = torch.tensor(self.signal or 0, device=get_device())
        all_reduce(number, 'max')
        return int(number)

    @staticmethod
    def _stop(runner: Runner, number: int, hook: CheckpointHook | None, iteration: int) -> None:
        last = getattr(hook, 'last_ckpt', None)
        kept = (f'resume it with the same command and --resume: it continues from {last}' if last else
                'no checkpoint has been written, so it can only be started anew')
        runner.logger.warning(f'{signal.Signals(number).name}: the training ends after iteration {iteration}; {kept}')
        raise TrainingStopped(128 + number)


def _checkpoint_hook(runner: Runner) -> CheckpointHook | None:
    return next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)


def _saved(hook: CheckpointHook) -> int | None:
    """Step of the last checkpoint of this run."""
    name = str(hook.last_ckpt or '').rpartition('/')[2]
    digits = name.rpartition('.')[0].rpartition('_')[2]
    return int(digits) if digits.isdecimal() else None
