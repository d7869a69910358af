"""Data structures that pass between datasets, models and metrics."""
from .audio_guided_pyramid import AudioGuidedPyramid
from .avs_data_sample import (
    DEFAULT_OUTPUTS,
    PREDICTIONS,
    UNLABELLED,
    AVSDataSample,
    FrameTargets,
    check_outputs,
    select_frames,
)
from .block_features import BlockFeatures

__all__ = [
    'AVSDataSample', 'AudioGuidedPyramid', 'BlockFeatures', 'DEFAULT_OUTPUTS', 'FrameTargets', 'PREDICTIONS',
    'UNLABELLED', 'check_outputs', 'select_frames'
]
