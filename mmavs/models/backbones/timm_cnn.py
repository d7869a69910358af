"""CNNs of timm whose batch norms, first stages or all weights stay as pretrained."""
from typing import Any

from mmpretrain.models import TIMMBackbone
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmavs.registry import MODELS

from .staged import as_staged


@MODELS.register_module()
class TimmCNN(TIMMBackbone):
    """A CNN of timm as mmpretrain's ``TIMMBackbone``, with the options that its ResNet has for batch norms.

    In training, a batch norm normalizes by the statistics of the batch, in prediction by their running average. The
    frames of a clip are nearly equal, and a batch of two clips hence has the statistics of two images: training and
    prediction differ, and what the pretrained weights expect is neither.

    Args:
        norm_eval: Keep batch norms in evaluation mode: they normalize by the pretrained statistics, also in training.
            Their scale and shift are trained.
        frozen_stages: Number of stages, with the stem, whose weights are not trained and whose batch norms are in
            evaluation mode. Most of the time of a step goes to the first ones, whose maps are large. Gradients still
            pass, to modules between the stages.
        **kwargs: Arguments of mmpretrain's ``TIMMBackbone``.
    """

    def __init__(self, norm_eval: bool = False, frozen_stages: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norm_eval = norm_eval
        self.frozen_stages = frozen_stages
        for module in self.frozen_modules():
            module.requires_grad_(False)
        self.train()

    def frozen_modules(self) -> list[nn.Module]:
        """The modules of the stages whose weights stay as pretrained.

        Raises:
            ValueError: ``frozen_stages`` is not in 0 to the number of stages.
        """
        if not self.frozen_stages:
            return []
        stages = as_staged(self).stages
        if not 0 < self.frozen_stages <= len(stages):
            raise ValueError(f'frozen_stages={self.frozen_stages}: expected 0 to {len(stages)}, the number of outputs '
                             'of the backbone')
        return [module for stage in stages[:self.frozen_stages] for module in stage]

    def train(self, mode: bool = True) -> nn.Module:
        """Set the training mode, except of what stays in evaluation mode."""
        super().train(mode)
        if hasattr(self, 'frozen_stages'):  # not yet while the parent is set up
            kept = self.frozen_modules()
            if self.norm_eval:
                kept += [module for module in self.modules() if isinstance(module, _BatchNorm)]
            for module in kept:
                module.eval()
        return self
