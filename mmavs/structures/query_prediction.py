"""Predictions of queries: a class and a mask each."""
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor


class QueryPrediction(NamedTuple):
    """Prediction of the Q queries of N frames; a pair of logits, and what the mask logits are the product of.

    Attributes:
        class_logits: (N, Q, K + 1), the last class is "no object".
        mask_logits: (N, Q, h, w).
        embeddings: (N, Q, C), or None if the factors are not known.
        features: (N, C, h, w): the mask logits are the similarity of each embedding to each pixel. Or None.
    """
    class_logits: Tensor
    mask_logits: Tensor
    embeddings: Tensor | None = None
    features: Tensor | None = None


def select_masks(predictions: Sequence[QueryPrediction], frames: Tensor, queries: Tensor) -> Tensor:
    """Mask logits (L, M, h, w), float32 at least, of M queries in each of L predictions.

    If the factors are known, these masks are multiplied again, so that their gradient does not pass through the masks
    of all queries: it would be 0 in nearly all of them.

    Args:
        predictions: L predictions of the same frames.
        frames: (M,) int64 on the CPU, ascending, the frame of each query.
        queries: (L, M) int64 on the CPU, its index in each prediction.
    """
    num_frames, num_queries = predictions[0].mask_logits.shape[:2]
    rows = (frames * num_queries + queries).to(predictions[0].mask_logits.device, non_blocking=True)
    counts = torch.bincount(frames, minlength=num_frames).tolist()
    masks = []
    # Predictions of the same features, such as those of all layers of a decoder, share a product.
    for _, group in groupby(zip(predictions, rows), key=lambda pair: id(pair[0].features)):
        group = list(group)
        features = group[0][0].features
        if features is None:
            masks += [prediction.mask_logits.flatten(0, 1).index_select(0, row)[None] for prediction, row in group]
            continue
        embeddings = torch.stack([x.embeddings.flatten(0, 1).index_select(0, row) for x, row in group])  # (l, M, C)
        dtype = torch.promote_types(embeddings.dtype, torch.float32)
        pixels = features.to(dtype).flatten(2).unbind()
        products = [x @ pixels_of_frame for x, pixels_of_frame in zip(embeddings.to(dtype).split(counts, 1), pixels)]
        masks.append(torch.cat(products, 1).unflatten(2, features.shape[2:]))
    masks = torch.cat(masks)
    return masks.to(torch.promote_types(masks.dtype, torch.float32))
