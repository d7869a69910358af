"""Metrics for MMEngine's evaluator: thin wrappers of :mod:`mmavs.evaluation.functional`."""
from .avsbench_metric import AVSBenchMetric
from .avss_metric import AVSSMetric
from .dataset_metric import DatasetMetric
from .robustness_metric import RobustnessMetric
from .save_masks import SaveMasks
from .switch_metric import SwitchMetric

__all__ = ['AVSBenchMetric', 'AVSSMetric', 'DatasetMetric', 'RobustnessMetric', 'SaveMasks', 'SwitchMetric']
