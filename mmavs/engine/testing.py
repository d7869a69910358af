"""Test one checkpoint on several data loaders, or without ground truth."""
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.runner import TestLoop
from torch.utils.data import Dataset

from mmavs.checkpoint.compatibility import load_weights
from mmavs.evaluation.metrics.detailed_metric import DetailedMetric
from mmavs.registry import TRANSFORMS
from mmavs.utils.model import unwrap_model

from .launch import build_runner
from .loader_timeout import naming_late_worker


class TestResult(NamedTuple):
    """Result of a test on one data loader.

    Attributes:
        scores: The results of all metrics.
        dataset: The dataset.
        details: Prefix of a :class:`DetailedMetric` -> its ``details``, on the main process.
    """
    scores: dict[str, float]
    dataset: Dataset
    details: dict[str, dict[str, Any]]

    __test__ = False  # not a test of pytest


def run_tests(config: Config, checkpoint: str, dataloaders: dict[str, dict], evaluator: dict | list[dict],
              launcher: str = 'none') -> dict[str, tuple[dict[str, float], Dataset]]:
    """Test one checkpoint on several data loaders.

    Args:
        config: Config of the model.
        checkpoint: File of its weights.
        dataloaders: Name -> config of a data loader.
        evaluator: Config of the metrics.
        launcher: As for :func:`mmavs.engine.launch.build_runner`.

    Returns:
        Name -> metrics and dataset.
    """
    results = run_detailed_tests(config, checkpoint, dataloaders, evaluator, launcher)
    return {name: (result.scores, result.dataset) for name, result in results.items()}


def run_detailed_tests(config: Config, checkpoint: str, dataloaders: dict[str, dict], evaluator: dict | list[dict],
                       launcher: str = 'none') -> dict[str, TestResult]:
    """Test as :func:`run_tests`, and return the scores of the clips as well."""
    runner = build_runner(config, launcher)
    load_weights(unwrap_model(runner.model), checkpoint, config)
    # All are built before the first runs: an error in one dataset then does not discard finished tests.
    loops = {name: TestLoop(runner, dataloader, deepcopy(evaluator)) for name, dataloader in dataloaders.items()}
    runner.call_hook('before_run')
    results = {}
    for name in dataloaders:
        # The workers of a loader end with its loop.
        loop = loops.pop(name)
        with naming_late_worker():
            scores = loop.run()
        details = {metric.prefix: metric.details for metric in loop.evaluator.metrics
                   if isinstance(metric, DetailedMetric)}
        results[name] = TestResult(scores, loop.dataloader.dataset, details)
    runner.call_hook('after_run')
    return results


def remove_ground_truth(config: Config) -> None:
    """Remove the transforms that read masks or make targets of them from the pipelines of the test, and its metrics.

    Args:
        config: The config, changed in place.
    """
    for dataset in _pipelines(config.test_dataloader.dataset):
        dataset['pipeline'] = _without_targets(dataset['pipeline'])
    config.test_evaluator = []


def _pipelines(node: object) -> Iterator[dict]:
    """Iterate over the dataset configs that have a pipeline, inside wrappers too."""
    if isinstance(node, dict):
        if 'pipeline' in node:
            yield node
        for key in ('dataset', 'datasets'):
            yield from _pipelines(node.get(key))
    elif isinstance(node, list | tuple):
        for item in node:
            yield from _pipelines(item)


def _without_targets(transforms: list[dict]) -> list[dict]:
    kept = []
    for transform in transforms:
        kind = TRANSFORMS.get(transform['type'])
        if getattr(kind, 'path_key', None) == 'mask_paths' or kind.__name__ == 'GenerateEventLabels':
            continue
        if isinstance(transform.get('transforms'), list):
            transform = dict(transform, transforms=_without_targets(transform['transforms']))
        kept.append(transform)
    return kept
