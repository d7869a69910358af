"""Hook that freezes the backbone for the first epochs."""
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmavs.registry import HOOKS
from mmavs.utils.model import unwrap_model


@HOOKS.register_module()
class FreezeBackboneHook(Hook):
    """Freeze the weights of ``model.backbone`` for the first epochs of a training (AVSegFormer, AAAI 2024).

    Frozen parameters require no gradient: they get no momentum and no weight decay, and the backward pass stops before
    the backbone. Running statistics of BatchNorm are updated all the time, as in the released code. The optimizer holds
    the parameters from the beginning, because it is built before. Parameters that the config freezes stay frozen. If
    the backbone wraps another one (``model.backbone.backbone``), only the inner one is frozen, because the layers
    around it are not pretrained. A resumed training is in the state of its epoch.

    Args:
        epochs: Number of epochs without updates.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self._frozen: list[nn.Parameter] = []

    def before_train(self, runner: Runner) -> None:
        """Raise a ValueError for loops without epochs, and if distributed training would wait for gradients."""
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
            for parameter in self._frozen:
                parameter.requires_grad_(True)
            self._frozen.clear()
            return
        backbone = unwrap_model(runner.model).backbone
        backbone = getattr(backbone, 'backbone', backbone)
        for parameter in backbone.parameters():
            if parameter.requires_grad:
                parameter.requires_grad_(False)
                self._frozen.append(parameter)
