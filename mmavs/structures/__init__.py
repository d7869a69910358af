"""Data structures that pass between datasets, models and metrics."""
from .avs_data_sample import AVSDataSample, FrameTargets

__all__ = ['AVSDataSample', 'FrameTargets']
