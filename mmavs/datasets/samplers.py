"""Which clip comes next, and with which augmentation."""
from collections.abc import Iterator
from itertools import islice

from mmengine.dataset import InfiniteSampler

from mmavs.registry import DATA_SAMPLERS
from mmavs.utils.randomness import derive_seed


class SeededIndex(int):
    """The index of a clip, with the seed (attribute ``seed``) of the random draws of its pipeline."""

    seed: int

    @classmethod
    def draw(cls, index: int, seed: int) -> 'SeededIndex':
        """The clip ``index``, to be augmented with ``seed``."""
        drawn = cls(index)
        drawn.seed = seed
        return drawn


@DATA_SAMPLERS.register_module()
class SeededInfiniteSampler(InfiniteSampler):
    """MMEngine's InfiniteSampler, each index with a seed made of the run's seed and its position in the global order.

    Clips and their augmentation then do not depend on the number of processes and workers, nor on whether the run was
    interrupted and resumed: process r of W draws the positions r, r + W, r + 2W, ... of one common order.
    """

    def _indices_of_rank(self) -> Iterator[SeededIndex]:
        positions = enumerate(self._infinite_indices())
        for position, index in islice(positions, self.rank, None, self.world_size):
            yield SeededIndex.draw(index, derive_seed(self.seed, position))
