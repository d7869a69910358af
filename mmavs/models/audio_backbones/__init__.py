"""Audio backbones: waveforms or log-mel in, audio tokens of each frame out."""
from .audio_spectrogram_transformer import AST
from .audiomae import AudioMAE
from .base import AudioBackbone
from .beats import BEATs
from .vggish import VGGish

__all__ = ['AST', 'AudioBackbone', 'AudioMAE', 'BEATs', 'VGGish']
