"""Data structures that pass between datasets, models and metrics."""
from .audio_guided_pyramid import AudioGuidedPyramid
from .avs_data_sample import UNLABELLED, AVSDataSample, FrameTargets, select_frames

__all__ = ['AVSDataSample', 'AudioGuidedPyramid', 'FrameTargets', 'UNLABELLED', 'select_frames']
