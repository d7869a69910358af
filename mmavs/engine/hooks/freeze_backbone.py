"""A backbone that waits until the head has learned to use it."""
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmavs.registry import HOOKS


@HOOKS.register_module()
class FreezeBackboneHook(Hook):
    """Keep the weights of ``model.backbone`` as they are in the first epochs of a training (AVSegFormer, AAAI 2024).

    The parameters need no gradient then, so they have no momentum and no weight decay either, and the backward pass
    ends in front of the backbone. Its mode stays: running statistics of BatchNorm move all the time, as in the released
    code. The optimizer, which is built before, holds the parameters from the beginning; those that were frozen before
    stay so. Of a backbone that wraps another one (``model.backbone.backbone``), that one is kept: what is around it is
    new. A resumed training is in the state of its epoch.

    Args:
        epochs: Epochs without updates.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self._waiting: list[nn.Parameter] = []

    def before_train(self, runner: Runner) -> None:
        """Raise a ValueError for loops without epochs, and where distributed training would wait for gradients."""
        loop = runner.train_loop
        if not isinstance(loop, EpochBasedTrainLoop):
            raise ValueError(f'FreezeBackboneHook counts epochs, but train_cfg.type is {type(loop).__name__}, expected '
                             'EpochBasedTrainLoop: remove the hook, or train by epochs')
        model = runner.model
        if self.epochs > 0 and isinstance(model, DistributedDataParallel) and not model.find_unused_parameters:
            raise ValueError('FreezeBackboneHook leaves parameters without gradient, for which distributed training '
                             'would wait: set find_unused_parameters=True at the top level of the config')

    def before_train_epoch(self, runner: Runner) -> None:
        """Freeze or unfreeze, by the number of finished epochs."""
        if runner.epoch >= self.epochs:
            for parameter in self._waiting:
                parameter.requires_grad_(True)
            self._waiting.clear()
            return
        backbone = getattr(runner.model, 'module', runner.model).backbone
        backbone = getattr(backbone, 'backbone', backbone)
        for parameter in backbone.parameters():
            if parameter.requires_grad:
                parameter.requires_grad_(False)
                self._waiting.append(parameter)
