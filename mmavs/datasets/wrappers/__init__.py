"""Dataset wrappers that replace the audio of clips, or serve their frames one by one."""
from .clip_wrapper import ClipWrapper
from .negative_audio import NegativeAudio
from .replace_audio import ReplaceAudio
from .single_frames import SingleFrames
from .swap_audio import SwapAudio

__all__ = ['ClipWrapper', 'NegativeAudio', 'ReplaceAudio', 'SingleFrames', 'SwapAudio']
