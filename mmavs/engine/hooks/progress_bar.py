"""A progress bar for short trainings at a terminal."""
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mmavs.registry import HOOKS


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Show a bar with the iterations, the smoothed loss, and the time left while an iteration-based training runs.

    Args:
        smoothing: Share of the past in the running mean of the loss that is shown, in [0, 1).
    """

    priority = 'VERY_LOW'

    def __init__(self, smoothing: float = 0.95) -> None:
        self.smoothing = smoothing
        self.loss: float | None = None

    def before_train(self, runner: Runner) -> None:
        """Draw the bar, at the iteration where a resumed training stands."""
        self.progress = Progress(
            TextColumn('training'), BarColumn(), MofNCompleteColumn(), TextColumn('loss {task.fields[loss]}'),
            TimeElapsedColumn(), TextColumn('left'), TimeRemainingColumn(), disable=not is_main_process())
        self.task = self.progress.add_task('training', total=runner.max_iters, completed=runner.iter, loss='-')
        self.progress.start()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Advance the bar."""
        loss = float(outputs['loss'])
        self.loss = loss if self.loss is None else self.smoothing * self.loss + (1 - self.smoothing) * loss
        self.progress.update(self.task, completed=runner.iter + 1, loss=f'{self.loss:.3f}')

    def after_train(self, runner: Runner) -> None:
        """Leave the full bar on the terminal."""
        self.progress.stop()
