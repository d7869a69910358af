"""Audio backbones: from sound to tokens of each frame."""
from .base import AudioBackbone
from .beats import BEATs
from .vggish import VGGish

__all__ = ['AudioBackbone', 'BEATs', 'VGGish']
