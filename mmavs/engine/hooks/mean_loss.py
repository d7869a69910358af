"""Hook that logs the mean loss over all processes."""
import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook

from mmavs.registry import HOOKS


@HOOKS.register_module()
class MeanLossHook(Hook):
    """Average the logged loss terms over all processes; otherwise the log shows those of the first process.

    Every process must compute the same terms.
    """

    # Before MMEngine's RuntimeInfoHook records the terms.
    priority = 'HIGHEST'

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Average ``outputs`` in place, all terms in one reduction."""
        if get_world_size() == 1 or not outputs:
            return
        terms = torch.stack([value.detach().float() for value in outputs.values()])
        all_reduce(terms, 'mean')
        outputs.update(zip(outputs, terms))
