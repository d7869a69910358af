"""Loss of the whole batch in the logs of distributed training."""
import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook

from mmavs.registry import HOOKS


@HOOKS.register_module()
class MeanLossHook(Hook):
    """Replace the loss terms that are logged, which are those of the first process, by their mean over all processes.

    Every process must compute the same terms.
    """

    # Before MMEngine's RuntimeInfoHook records the terms.
    priority = 'HIGHEST'

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Average ``outputs`` in place; one small message for all terms."""
        if get_world_size() == 1 or not outputs:
            return
        terms = torch.stack([value.detach().float() for value in outputs.values()])
        all_reduce(terms, 'mean')
        outputs.update(zip(outputs, terms))
