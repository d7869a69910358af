"""Data structures that pass between datasets, models and metrics."""
from .avs_data_sample import AVSDataSample, FrameTargets
from .guided_pyramid import GuidedPyramid

__all__ = ['AVSDataSample', 'FrameTargets', 'GuidedPyramid']
