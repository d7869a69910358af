"""Dataset wrappers that replace the audio of clips."""
from .clip_wrapper import ClipWrapper
from .negative_audio import NegativeAudio
from .replace_audio import ReplaceAudio
from .swap_audio import SwapAudio

__all__ = ['ClipWrapper', 'NegativeAudio', 'ReplaceAudio', 'SwapAudio']
