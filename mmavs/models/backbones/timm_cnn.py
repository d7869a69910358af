"""CNNs of timm whose batch norms, or all weights, stay as pretrained."""
from typing import Any

from mmpretrain.models import TIMMBackbone
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmavs.registry import MODELS


@MODELS.register_module()
class TimmCNN(TIMMBackbone):
    """A CNN of timm as mmpretrain's ``TIMMBackbone``, with the options that its ResNet has for batch norms.

    In training, a batch norm normalizes by the statistics of the batch, in prediction by their running average. The
    frames of a clip are nearly equal, and a batch of two clips hence has the statistics of two images: training and
    prediction differ, and what the pretrained weights expect is neither.

    Args:
        norm_eval: Keep batch norms in evaluation mode: they normalize by the pretrained statistics, also in training.
            Their scale and shift are trained.
        frozen: Do not train any weight; implies ``norm_eval``. Gradients still pass, to modules between the stages.
        **kwargs: Arguments of mmpretrain's ``TIMMBackbone``.
    """

    def __init__(self, norm_eval: bool = False, frozen: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norm_eval = norm_eval or frozen
        self.frozen = frozen
        if frozen:
            self.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> nn.Module:
        """Set the training mode, except of what stays in evaluation mode."""
        super().train(mode and not getattr(self, 'frozen', False))
        if getattr(self, 'norm_eval', False):
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
