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
from .query_prediction import QueryPrediction, select_masks

__all__ = [
    'AVSDataSample', 'AudioGuidedPyramid', 'BlockFeatures', 'DEFAULT_OUTPUTS', 'FrameTargets', 'PREDICTIONS',
    'QueryPrediction', 'UNLABELLED', 'check_outputs', 'select_frames', 'select_masks'
]
