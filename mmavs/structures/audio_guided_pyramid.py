"""Visual pyramid of an audio-guided backbone."""
from collections.abc import Iterable

from torch import Tensor


class AudioGuidedPyramid(tuple):
    """Tuple of the maps of an audio-guided backbone, with the response of each pixel to the audio.

    Any head can use it as a plain visual pyramid.

    Args:
        maps: Maps (N, C_l, h_l, w_l), finest first.
        responses: Response (N, h_l, w_l) of the pixels of each map to the audio of their frame; higher is stronger.
    """

    def __new__(cls, maps: Iterable[Tensor], responses: Iterable[Tensor]) -> 'AudioGuidedPyramid':
        pyramid = super().__new__(cls, maps)
        pyramid.responses = tuple(responses)
        return pyramid
