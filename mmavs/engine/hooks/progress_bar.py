"""Hook that shows the progress of short trainings: a bar at a terminal, lines in a file."""
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mmavs.registry import HOOKS

# Lines for the whole training if the output is not a terminal.
NUM_LINES = 10
# Weight of the past in the running mean of the loss that is shown.
SMOOTHING = 0.95


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Show the progress of an iteration-based training: iterations, smoothed loss and, at a terminal, the time left.

    A terminal gets a bar that moves, any other output (a file, a pipe) a line for every 10 % of the iterations.
    """

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.loss: float | None = None

    def before_train(self, runner: Runner) -> None:
        """Draw the bar, at the current iteration of a resumed training."""
        self.console = Console(quiet=not is_main_process())
        self.progress = Progress(
            TextColumn('training'), BarColumn(), MofNCompleteColumn(), TextColumn('loss {task.fields[loss]}'),
            TimeElapsedColumn(), TextColumn('left'), TimeRemainingColumn(),
            console=self.console, disable=self.console.quiet or not self.console.is_terminal)
        self.task = self.progress.add_task('training', total=runner.max_iters, completed=runner.iter, loss='-')
        self.progress.start()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Advance the bar, or write a line if another tenth of the training is done."""
        loss = outputs['loss'].item()
        self.loss = loss if self.loss is None else SMOOTHING * self.loss + (1 - SMOOTHING) * loss
        done, total = runner.iter + 1, runner.max_iters
        self.progress.update(self.task, completed=done, loss=f'{self.loss:.3f}')
        if not self.console.is_terminal and done * NUM_LINES // total > (done - 1) * NUM_LINES // total:
            self.console.print(f'training {done}/{total} ({done / total:.0%}), loss {self.loss:.3f}', highlight=False)

    def after_train(self, runner: Runner) -> None:
        """Leave the full bar on the terminal."""
        self.progress.stop()
