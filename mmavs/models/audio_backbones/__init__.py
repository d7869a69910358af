"""Audio backbones: from sound to tokens of each frame."""
from .vggish import VGGish

__all__ = ['VGGish']
