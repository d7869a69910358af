"""Losses of dense masks as configs name them: dice, cross-entropy, the mix loss and that of intermediate masks.

mmseg's losses do not replace them. Its ``DiceLoss(naive_dice=False)`` has the same quotient, but neither it nor its
cross-entropy knows frames without ground truth and the mean over the labelled frames of all processes.
"""
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmavs.registry import MODELS

from .frame_losses import frame_binary_cross_entropy, frame_cross_entropy, frame_dice_loss, mean_of_frames


class FrameLoss(nn.Module):
    """Base class: mean over the labelled frames of a loss of each frame.

    Attributes:
        per_frame: Function of logits (N, K, H, W) and masks (N, H, W) that returns N losses.
        binary: Whether it takes one output channel, the foreground, or classes.
    """
    per_frame: Callable[[Tensor, Tensor], Tensor]
    binary: bool

    def forward(self, logits: Tensor, masks: Tensor, labelled: Tensor) -> Tensor:
        """Mean over the labelled frames of all processes; 0 if there is none.

        Args:
            logits: (N, K, h, w), interpolated to the size of the masks if they have another.
            masks: (N, H, W) uint8 classes, 255 = unlabelled.
            labelled: (N,) bool.

        Raises:
            ValueError: The loss is not one for K output channels.
        """
        if (logits.shape[1] == 1) != self.binary:
            expected = 'one output channel' if self.binary else 'classes, two or more'
            raise ValueError(f'{type(self).__name__}: the logits have {logits.shape[1]} channels, expected {expected}: '
                             'set num_classes of the head or another loss')
        if logits.shape[2:] != masks.shape[1:]:
            logits = F.interpolate(logits, masks.shape[1:], mode='bilinear', align_corners=False)
        return mean_of_frames(self.per_frame(logits, masks), labelled)


@MODELS.register_module()
class FrameDiceLoss(FrameLoss):
    """Dice of the foreground (AVSegFormer), see :func:`frame_dice_loss`."""
    per_frame = staticmethod(frame_dice_loss)
    binary = True


@MODELS.register_module()
class FrameBinaryCrossEntropyLoss(FrameLoss):
    """Binary cross-entropy of the foreground (AVSBench), see :func:`frame_binary_cross_entropy`."""
    per_frame = staticmethod(frame_binary_cross_entropy)
    binary = True


@MODELS.register_module()
class FrameCrossEntropyLoss(FrameLoss):
    """Cross-entropy of classes (AVSBench, AVSegFormer), see :func:`frame_cross_entropy`.

    Args:
        class_weights: Weights of the K classes, background first; None for equal ones.

    Raises:
        ValueError: In ``forward``, if there are more or fewer weights than classes.
    """
    binary = False

    def __init__(self, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer('class_weights', weights, persistent=False)

    def per_frame(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Loss of each frame, (N,), of logits (N, K, H, W) and masks (N, H, W)."""
        weights = self.class_weights
        if weights is not None and len(weights) != logits.shape[1]:
            raise ValueError(f'FrameCrossEntropyLoss: class_weights has {len(weights)} entries, expected one for each '
                             f'of the {logits.shape[1]} classes')
        return frame_cross_entropy(logits, masks, weights)


@MODELS.register_module()
class MaskLoss(nn.Module):
    """One loss of a foreground channel, another of classes: a config can change its number of classes alone.

    Args:
        foreground: Config of the loss of one output channel, with the arguments of :class:`FrameLoss`.
        classes: Config of the loss of more.
    """

    def __init__(self, foreground: dict, classes: dict) -> None:
        super().__init__()
        self.foreground = MODELS.build(foreground)
        self.classes = MODELS.build(classes)

    def forward(self, logits: Tensor, masks: Tensor, labelled: Tensor) -> Tensor:
        """Loss of logits (N, K, h, w), with masks and labelled frames as :class:`FrameLoss` takes them."""
        loss = self.foreground if logits.shape[1] == 1 else self.classes
        return loss(logits, masks, labelled)


@MODELS.register_module()
class MixLoss(nn.Module):
    """Train the mean channel of the mixed mask feature as a foreground mask (AVSegFormer, AAAI version).

    Args:
        mask_loss: Config of the loss of this mask, with the arguments of :class:`FrameLoss`. A head gives that of its
            own masks if the config names none.
        loss_weight: Weight lambda.
    """

    def __init__(self, mask_loss: dict, loss_weight: float = 0.1) -> None:
        super().__init__()
        self.mask_loss = MODELS.build(mask_loss)
        self.loss_weight = loss_weight

    def forward(self, feature: Tensor, masks: Tensor, labelled: Tensor) -> Tensor:
        """Weighted loss of F~ (N, C, h, w), with masks and labelled frames as :class:`FrameLoss` takes them."""
        return self.loss_weight * self.mask_loss(feature.mean(1, keepdim=True), masks, labelled)


@MODELS.register_module()
class IntermediateMaskLoss(nn.Module):
    """Train the intermediate mask of every decoder layer (AVSegFormer, first public version).

    Args:
        mask_loss: Config of the loss of a mask, with the arguments of :class:`FrameLoss`. A head gives that of its own
            masks if the config names none.
        loss_weight: Weight lambda of each layer.
    """

    def __init__(self, mask_loss: dict, loss_weight: float = 0.1) -> None:
        super().__init__()
        self.mask_loss = MODELS.build(mask_loss)
        self.loss_weight = loss_weight

    def forward(self, logits: Sequence[Tensor], masks: Tensor, labelled: Tensor) -> list[Tensor]:
        """Weighted loss of each layer.

        Args:
            logits: Logits (N, K, h, w) of each layer.
            masks: (N, H, W) uint8 classes, 255 = unlabelled.
            labelled: (N,) bool.
        """
        return [self.loss_weight * self.mask_loss(of_layer, masks, labelled) for of_layer in logits]
