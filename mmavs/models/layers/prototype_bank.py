"""Bank of audio prototypes for events without a label: an open-world extension of VCT."""
import torch
import torch.nn.functional as F
from mmengine.dist import all_gather_object, get_rank
from torch import Tensor, nn

from mmavs.registry import MODELS


@MODELS.register_module()
class PrototypeBank(nn.Module):
    """Audio prototypes that are found in training, in addition to the learned ones of known events.

    VCT has one learned prototype for each event that the labels name; its paper calls this closed set a limit. The bank
    is ours, not the paper's. It holds centers in the space in which the PAC loss compares audio and prototypes, and
    grows with labelled frames of which no event is known:

    - If the most similar of all prototypes is a center, and similar enough, the frame belongs to this center, which
      moves towards the audio of the frame.
    - If no prototype is similar enough, the audio becomes a new center. In a full bank, the frame belongs to the most
      similar center.
    - If a learned prototype is the most similar one, and similar enough, nothing happens.

    In evaluation the bank does not change. All processes of a distributed training make the same updates.

    Buffers: ``centers`` (capacity, C), unit vectors; ``counts`` (capacity,) int64, the frames that belonged to each, 0
    for a free place; ``steps``, the number of updates.

    Args:
        channels: Channels C.
        capacity: Largest number of centers.
        min_similarity: Cosine similarity in [-1, 1] from which on audio and prototype are similar enough.
        momentum: Fraction of a center that a frame leaves unchanged.
        warmup: Updates before the first center. While the audio of all events is embedded alike, the first center would
            take all unknown audio, and the PAC loss would pull the rest towards it.
    """

    def __init__(self, channels: int, capacity: int, min_similarity: float, momentum: float, warmup: int) -> None:
        super().__init__()
        self.min_similarity = min_similarity
        self.momentum = momentum
        self.warmup = warmup
        self.register_buffer('centers', torch.zeros(capacity, channels))
        self.register_buffer('counts', torch.zeros(capacity, dtype=torch.long))
        self.register_buffer('steps', torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def prompts(self, prototypes: Tensor, projection: Tensor) -> tuple[Tensor, Tensor]:
        """Centers as prototypes that queries can attend to, beside the learned ones.

        The prototype of a center is the direction in which its similarity with the center grows fastest, ``center @
        projection``, with the mean norm of the learned prototypes.

        Args:
            prototypes: (M, C) learned prototypes.
            projection: (C, C) weight W of the PAC loss, which compares ``W p`` of a prototype p.

        Returns:
            Prototypes (capacity, C), and which of them exist, (capacity,) bool.
        """
        directions = F.normalize(self.centers @ projection.to(self.centers), dim=1)
        return (directions * prototypes.norm(dim=1).mean()).to(prototypes), self.counts > 0

    @torch.no_grad()
    def update(self, audio: Tensor, prototypes: Tensor, known: Tensor) -> Tensor:
        """Let the bank grow and move.

        Args:
            audio: (n, C) unit vectors, the audio of the labelled frames of this process.
            prototypes: (M, C) unit vectors, the learned prototypes of sounding objects.
            known: (n,) bool, the frames with a known event.

        Returns:
            (n, capacity) float32, 1 where a frame belongs to a center.
        """
        gathered = all_gather_object(audio[~known].float().cpu())
        owners = [self._add(frames, prototypes.float().cpu()) for frames in gathered]
        self.steps += 1
        assigned = torch.zeros(len(audio), len(self.counts), device=audio.device)
        rows = (~known).nonzero().squeeze(1)
        for row, owner in zip(rows.tolist(), owners[get_rank()]):
            if owner is not None:
                assigned[row, owner] = 1
        return assigned

    def _add(self, frames: Tensor, learned: Tensor) -> list[int | None]:
        """Add frames (n, C) of unknown events one by one; return the center of each, or None."""
        centers, counts = self.centers.cpu(), self.counts.cpu()  # one by one, on the CPU
        grows = self.steps >= self.warmup
        owners = []
        for frame in frames:
            to_centers = torch.where(counts > 0, centers @ frame, -torch.inf)
            best = max((learned @ frame).max(), to_centers.max())
            owner = None
            if best < self.min_similarity and grows and not counts.all():
                owner = int(counts.argmin())
                centers[owner] = frame
            elif (best == to_centers.max() or best < self.min_similarity) and counts.any():
                owner = int(to_centers.argmax())
                moved = self.momentum * centers[owner] + (1 - self.momentum) * frame
                centers[owner] = F.normalize(moved, dim=0)
            if owner is not None:
                counts[owner] += 1
            owners.append(owner)
        self.centers.copy_(centers)
        self.counts.copy_(counts)
        return owners
