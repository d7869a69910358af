"""Protocol for backbones whose stages run one at a time, and adapters for those of other libraries."""
from functools import singledispatch
from typing import Protocol, runtime_checkable

import torch.nn.functional as F
from mmpretrain.models import ResNet as MMPretrainResNet
from mmpretrain.models import TIMMBackbone
from mmseg.models.backbones import ResNet as MMSegResNet
from torch import Tensor, nn


@runtime_checkable
class StagedBackbone(Protocol):
    """An image backbone that runs one stage at a time, for modules that work between its stages.

    A backbone of your own offers the protocol by having the two members below, like :class:`PVTv2`; it need not inherit
    from this class. For a backbone of another library, write an adapter that has them and register it by
    ``@as_staged.register(TheirBackbone)``, like :class:`StagedResNet`.

    Attributes:
        embed_dims: Channels C_l of the map of each stage, finest first.
    """
    embed_dims: tuple[int, ...]

    def run_stage(self, index: int, x: Tensor) -> Tensor:
        """Map (N, C_l, h_l, w_l) of stage ``index``, from the frames (stage 0) or the map of the stage before."""


@singledispatch
def as_staged(backbone: nn.Module) -> StagedBackbone:
    """The backbone itself if it offers the protocol, else its registered adapter.

    Raises:
        ValueError: The backbone does not offer the protocol and has no adapter.
    """
    if isinstance(backbone, StagedBackbone):
        return backbone
    raise ValueError(f'backbone is a {type(backbone).__name__}, whose stages cannot be run one at a time: use a PVTv2, '
                     'a ResNet of mmseg or mmpretrain or a TIMMBackbone of a CNN, or let it offer embed_dims and '
                     'run_stage(index, x), see mmavs.models.backbones.staged.StagedBackbone')


@as_staged.register(MMSegResNet)
@as_staged.register(MMPretrainResNet)
class StagedResNet:
    """The stages of a ResNet of mmseg or mmpretrain; the stem belongs to the first one.

    Args:
        backbone: The ResNet, with all four stages as outputs.
    """

    def __init__(self, backbone: MMSegResNet | MMPretrainResNet) -> None:
        if tuple(backbone.out_indices) != (0, 1, 2, 3):
            raise ValueError(f'backbone is a {type(backbone).__name__} with out_indices={tuple(backbone.out_indices)}: '
                             'set out_indices=(0, 1, 2, 3)')
        self.backbone = backbone
        self.embed_dims = tuple(backbone.feat_dim // 2**(3 - i) for i in range(4))

    def run_stage(self, index: int, x: Tensor) -> Tensor:
        if index == 0:
            x = self.backbone.maxpool(self._stem(x))
        return getattr(self.backbone, self.backbone.res_layers[index])(x)

    def _stem(self, x: Tensor) -> Tensor:
        if self.backbone.deep_stem:
            return self.backbone.stem(x)
        return F.relu(self.backbone.norm1(self.backbone.conv1(x)))


@as_staged.register(TIMMBackbone)
class StagedTimm:
    """The stages of a CNN of timm: the modules up to the first output, then those between two outputs.

    Args:
        backbone: The model, with ``features_only=True`` and the outputs that ``out_indices`` selects.
    """

    def __init__(self, backbone: TIMMBackbone) -> None:
        self.stages: list[list[nn.Module]] = [[]]
        for module, is_output in _timm_modules(backbone.timm_model):
            self.stages[-1].append(module)
            if is_output:
                self.stages.append([])
        self.stages.pop()  # what follows the last output
        self.embed_dims = tuple(backbone.timm_model.feature_info.channels())

    def run_stage(self, index: int, x: Tensor) -> Tensor:
        for module in self.stages[index]:
            x = module(x)
        return x


def _timm_modules(model: nn.Module) -> list[tuple[nn.Module, bool]]:
    """List the modules of a feature extractor of timm in their order, and whether the map of each is an output."""
    from timm.models import FeatureListNet
    from timm.models.efficientnet import EfficientNetFeatures

    if isinstance(model, FeatureListNet):
        return [(module, name in model.return_layers) for name, module in model.items()]
    if isinstance(model, EfficientNetFeatures) and model.feature_hooks is None:
        outputs = {feature['stage'] for feature in model.feature_info.get_dicts()}
        modules = [(0, model.conv_stem), (0, model.bn1), *enumerate(model.blocks, 1)]
        return [(module, stage in outputs and module is not model.conv_stem) for stage, module in modules]
    raise ValueError(f'backbone is a TIMMBackbone of a {type(model).__name__}, whose stages cannot be run one at a time'
                     ': set features_only=True and take a CNN, such as resnet50 or tf_efficientnet_lite0')
