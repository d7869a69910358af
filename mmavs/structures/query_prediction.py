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
    device = predictions[0].mask_logits.device
    rows = frames * num_queries + queries
    # Every frame has room for as many queries as the fullest one, so that one product computes those of all frames.
    counts = torch.bincount(frames, minlength=num_frames)
    room, starts = int(counts.max()), counts.cumsum(0) - counts
    slots = frames * room + torch.arange(len(frames)) - starts[frames]
    rows_of_slots = rows.new_zeros(len(rows), num_frames * room)
    rows_of_slots[:, slots] = rows
    rows, rows_of_slots, slots = (x.to(device, non_blocking=True) for x in (rows, rows_of_slots, slots))

    masks, start = [], 0
    # Predictions of the same features, such as those of all layers of a decoder, share a product.
    for _, group in groupby(predictions, key=lambda prediction: id(prediction.features)):
        group = list(group)
        layers, features = slice(start, start + len(group)), group[0].features
        start += len(group)
        if features is None:
            masks += [x.mask_logits.flatten(0, 1).index_select(0, row)[None] for x, row in zip(group, rows[layers])]
            continue
        embeddings = torch.stack([
            x.embeddings.flatten(0, 1).index_select(0, row).unflatten(0, (num_frames, room))
            for x, row in zip(group, rows_of_slots[layers])], 1).flatten(1, 2)  # (N, l * room, C)
        dtype = torch.promote_types(embeddings.dtype, torch.float32)
        products = embeddings.to(dtype) @ features.to(dtype).flatten(2)
        products = products.unflatten(1, (len(group), room)).transpose(0, 1).flatten(1, 2)  # (l, N * room, h * w)
        masks.append(products.index_select(1, slots).unflatten(2, features.shape[2:]))
    masks = torch.cat(masks)
    return masks.to(torch.promote_types(masks.dtype, torch.float32))
