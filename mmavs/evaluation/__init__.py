"""Metrics: pure functions in ``functional``, and thin wrappers for MMEngine's evaluator."""
from .avsbench_metric import AVSBenchMetric
from .avss_metric import AVSSMetric
from .dataset_metric import DatasetMetric
from .robustness_metric import RobustnessMetric
from .save_masks import SaveMasks
from .switch_metric import SwitchMetric

__all__ = ['AVSBenchMetric', 'AVSSMetric', 'DatasetMetric', 'RobustnessMetric', 'SaveMasks', 'SwitchMetric']
