"""Set prediction loss of Mask2Former and the methods built on it."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmavs.registry import MODELS
from mmavs.structures import FrameTargets, QueryPrediction, select_frames, select_masks
from mmavs.utils.precision import disable_autocast

from .dice import dice_loss
from .matching import Segments, assign_queries, matching_costs
from .point_sampling import chunk_size, sample_points, uncertain_points

# A QueryPrediction, or its class logits (N, Q, K + 1) and mask logits (N, Q, h, w) alone.
Prediction = QueryPrediction | tuple[Tensor, Tensor]
# Points of PointRend: candidates per point, and the fraction of points chosen by uncertainty; the others are uniform.
OVERSAMPLE = 3.0
UNCERTAIN_FRACTION = 0.75


@MODELS.register_module()
class SetCriterion(nn.Module):
    """Match queries to the segments of each labelled frame, then compare classes and masks.

    Every class that is present in a frame, background included, is one segment. The predictions of all decoder layers
    are matched and compared independently, with equal weight (Mask2Former, CVPR 2022, with the weights of VCT, CVPR
    2025). Mask terms are computed at sampled points, and in float32 also under autocast.

    Every term is a mean over the batch of all processes, which makes it independent of how a batch is distributed over
    them (the released code takes the mean of the classification term in each process).

    Args:
        num_classes: K, background included; class logits have one more entry, "no object".
        class_weight: Weight of the classification term, in the loss and in the matching.
        mask_weight: Weight of the point-wise binary cross-entropy, in both.
        dice_weight: Weight of the dice term, in both.
        no_object_weight: Weight of unmatched queries in the classification term.
        class_weights: Weights of the K classes in the classification term, background first; None for 1 each. They do
            not change the matching.
        num_points: Points at which a mask is compared.
    """

    def __init__(self,
                 num_classes: int,
                 class_weight: float = 2.0,
                 mask_weight: float = 5.0,
                 dice_weight: float = 5.0,
                 no_object_weight: float = 0.1,
                 class_weights: Sequence[float] | None = None,
                 num_points: int = 12544) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.weights = dict(loss_cls=class_weight, loss_mask=mask_weight, loss_dice=dice_weight)
        self.num_points = num_points
        if class_weights is not None and len(class_weights) != num_classes:
            raise ValueError(f'SetCriterion: class_weights has {len(class_weights)} entries, expected one for each of '
                             f'the {num_classes} classes, background included')
        weights = torch.tensor([*(class_weights or [1.0] * num_classes), no_object_weight])
        self.register_buffer('class_weights', weights, persistent=False)

    def forward(self, predictions: Sequence[Prediction], targets: FrameTargets) -> dict[str, Tensor]:
        """Weighted loss terms of the labelled ones of N frames.

        Args:
            predictions: (class logits (N, Q, K + 1), mask logits (N, Q, h, w)) of each layer, the final one last. With
                the factors of the masks (:class:`QueryPrediction`) the gradient takes less time.
            targets: Masks (N, H, W) of any size and the labelled frames.

        Returns:
            ``loss_cls``, ``loss_mask`` and ``loss_dice`` of the final prediction; ``d{i}.loss_cls``, ``d{i}.loss_mask``
            and ``d{i}.loss_dice`` of the earlier ones.
        """
        frames = targets.labelled_frames
        segments = Segments.from_label_maps(select_frames(targets.masks, frames), self.num_classes)
        terms = self.compare(predictions, segments, frames)
        losses = {}
        for layer in range(len(predictions)):
            prefix = '' if layer == len(predictions) - 1 else f'd{layer}.'
            losses.update({prefix + name: weight * terms[name][layer] for name, weight in self.weights.items()})
        return losses

    def compare(self, predictions: Sequence[Prediction], segments: Segments, frames: Tensor) -> dict[str, Tensor]:
        """Unweighted terms ``loss_cls``, ``loss_mask`` and ``loss_dice``, each (L,) for L predictions.

        Args:
            predictions: As for :meth:`forward`.
            segments: Segments of the labelled frames.
            frames: (n,) int64 on the CPU, indices of the labelled ones of the N frames.
        """
        predictions = [QueryPrediction(*prediction) for prediction in predictions]
        class_logits, mask_logits = ([x[i] for x in predictions] for i in range(2))
        with disable_autocast(mask_logits[0]):
            class_logits = torch.stack([select_frames(logits, frames) for logits in class_logits]).float()
            queries = self._match(class_logits, mask_logits, segments, frames)
            loss_cls = self._class_loss(class_logits, segments, queries)
            loss_mask, loss_dice = self._mask_losses(predictions, segments, frames, queries)
        return dict(loss_cls=loss_cls, loss_mask=loss_mask, loss_dice=loss_dice)

    def _match(self, class_logits: Tensor, mask_logits: Sequence[Tensor], segments: Segments,
               frames: Tensor) -> Tensor:
        """Query of each segment in each prediction, (L, M) on the CPU; the costs are copied from the device once."""
        costs = [
            matching_costs(
                logits,
                select_frames(masks.detach(), frames),
                segments,
                self.num_points,
                class_weight=self.weights['loss_cls'],
                mask_weight=self.weights['loss_mask'],
                dice_weight=self.weights['loss_dice']) for logits, masks in zip(class_logits, mask_logits)
        ]
        return assign_queries(torch.stack(costs), segments.counts)

    def _class_loss(self, class_logits: Tensor, segments: Segments, queries: Tensor) -> Tensor:
        """Unweighted classification term of each prediction, (L,)."""
        classes = torch.full(class_logits.shape[:-1], self.num_classes)
        layers, matched = (queries >= 0).nonzero(as_tuple=True)
        classes[layers, segments.frames[matched], queries[layers, matched]] = segments.labels[matched]
        classes = classes.to(class_logits.device, non_blocking=True).flatten(1)
        losses = F.cross_entropy(class_logits.flatten(1, 2).transpose(1, 2), classes, self.class_weights,
                                 reduction='none')
        # The weighted mean over the batch of all processes; 0 if no frame is labelled.
        weights = self.class_weights[classes].sum(1)
        all_reduce(weights, 'mean')
        return losses.sum(1) / weights.clamp(min=torch.finfo(losses.dtype).eps)

    def _mask_losses(self, predictions: Sequence[QueryPrediction], segments: Segments, frames: Tensor,
                     queries: Tensor) -> tuple[Tensor, Tensor]:
        """Unweighted mask and dice term of each prediction, (L,) each."""
        device = segments.masks.device
        num_masks = torch.full((1,), float(len(segments.labels)), device=device)
        all_reduce(num_masks, 'mean')

        # Logits of the matched queries, all predictions in one tensor.
        num_layers, num_segments = queries.shape
        matched = select_masks(predictions, frames[segments.frames], queries.clamp(min=0)).flatten(0, 1).float()
        candidates = max(1, int(OVERSAMPLE * self.num_points))
        points = torch.cat([
            uncertain_points(logits, self.num_points, OVERSAMPLE, UNCERTAIN_FRACTION)
            for logits in matched.detach().split(max(1, chunk_size(device) // candidates))
        ]).unflatten(0, (num_layers, num_segments))

        logits = sample_points(matched.unsqueeze(1), points.flatten(0, 1)).unflatten(0, (num_layers, num_segments))
        logits = logits.squeeze(2)
        labels = sample_points(segments.masks.unsqueeze(1), points.transpose(0, 1)).squeeze(1).transpose(0, 1)
        # Segments in excess of the number of queries are unmatched and contribute no loss.
        weights = (queries >= 0).to(device, torch.float32, non_blocking=True) / num_masks.clamp(min=1)
        loss_mask = F.binary_cross_entropy_with_logits(logits, labels, reduction='none').mean(-1)
        return (loss_mask * weights).sum(1), (dice_loss(logits, labels) * weights).sum(1)
