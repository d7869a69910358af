"""Models: segmentors, heads, backbones, layers and losses."""
import mmavs.registry  # noqa: F401 (before the models of mmpretrain)

from .audio_backbones import *  # noqa: F401,F403
from .backbones import *  # noqa: F401,F403
from .data_preprocessor import AVSDataPreprocessor
from .decode_heads import *  # noqa: F401,F403
from .losses import *  # noqa: F401,F403
from .pixel_decoders import *  # noqa: F401,F403
from .segmentors import *  # noqa: F401,F403

__all__ = ['AVSDataPreprocessor']
