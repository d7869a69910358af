"""Samplers that give each clip of a training run a seed for its random augmentation."""
from collections.abc import Iterator
from itertools import islice

from mmengine.dataset import InfiniteSampler

from mmavs.registry import DATA_SAMPLERS
from mmavs.utils.randomness import derive_seed


class SeededIndex(int):
    """Index of a clip with the ``seed`` of the random draws of its pipeline."""

    seed: int

    @classmethod
    def draw(cls, index: int, seed: int) -> 'SeededIndex':
        """Make the index of clip ``index``, to be augmented with ``seed``."""
        seeded = cls(index)
        seeded.seed = seed
        return seeded


@DATA_SAMPLERS.register_module()
class SeededInfiniteSampler(InfiniteSampler):
    """InfiniteSampler of MMEngine whose indices have a seed, derived from the run's seed and the position in the order.

    Process r of W takes the positions r, r + W, r + 2W, ... of one global order. Clips and their augmentation
    therefore depend neither on the number of processes and workers nor on whether the run was resumed.
    """

    def _indices_of_rank(self) -> Iterator[SeededIndex]:
        positions = enumerate(self._infinite_indices())
        for position, index in islice(positions, self.rank, None, self.world_size):
            yield SeededIndex.draw(index, derive_seed(self.seed, position))
