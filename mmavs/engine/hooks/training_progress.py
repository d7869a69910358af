"""Hook that tells the head how far the training is."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmavs.registry import HOOKS
from mmavs.utils.model import unwrap_model


@HOOKS.register_module()
class TrainingProgressHook(Hook):
    """Set ``progress`` of the head, the fraction of all iterations that is done, in [0, 1), before every iteration.

    A head that anneals something needs it (:class:`EASEHead`). It follows from the iteration, hence a resumed training
    continues where it ended.
    """

    def before_train(self, runner: Runner) -> None:
        """Raise a ValueError if the head does not ask for the progress."""
        head = getattr(unwrap_model(runner.model), 'decode_head', None)
        if not hasattr(head, 'progress'):
            raise ValueError(f'TrainingProgressHook: {type(head).__name__} has no attribute progress, nothing in it '
                             'depends on the progress of the training: remove the hook from custom_hooks')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Tell the head the progress."""
        unwrap_model(runner.model).decode_head.progress = runner.iter / runner.max_iters
