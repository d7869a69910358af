"""The visual pyramid of a backbone that has heard the sound."""
from collections.abc import Iterable

from torch import Tensor


class AudioGuidedPyramid(tuple):
    """Maps (N, C_l, h_l, w_l) of a backbone that hears: a tuple of them to any head, and how each pixel responds.

    Args:
        maps: The maps, finest first.
        responses: The response of the pixels of each map to the sound of their frame, (N, h_l, w_l): higher is more.
    """

    def __new__(cls, maps: Iterable[Tensor], responses: Iterable[Tensor]) -> 'AudioGuidedPyramid':
        pyramid = super().__new__(cls, maps)
        pyramid.responses = tuple(responses)
        return pyramid
