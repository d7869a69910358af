"""Test one checkpoint on several data loaders."""
from copy import deepcopy

from mmengine.config import Config
from mmengine.runner import TestLoop
from torch.utils.data import Dataset

from mmavs.checkpoint.compatibility import load_weights

from .launch import build_runner


def run_tests(config: Config, checkpoint: str, dataloaders: dict[str, dict], evaluator: dict | list[dict],
              launcher: str = 'none') -> dict[str, tuple[dict[str, float], Dataset]]:
    """Test one checkpoint on several data loaders.

    Args:
        config: The model's config.
        checkpoint: File with its weights.
        dataloaders: Name -> config of a data loader.
        evaluator: Config of the metrics.
        launcher: As for :func:`mmavs.engine.launch.build_runner`.

    Returns:
        Name -> the metrics, and the data set that was built.
    """
    runner = build_runner(config, launcher)
    load_weights(getattr(runner.model, 'module', runner.model), checkpoint, config)
    # All are built before the first runs: a data set that cannot be built costs no finished test.
    loops = {name: TestLoop(runner, dataloader, deepcopy(evaluator)) for name, dataloader in dataloaders.items()}
    runner.call_hook('before_run')
    results = {}
    for name in dataloaders:
        # The workers of a loader end with its loop.
        loop = loops.pop(name)
        results[name] = loop.run(), loop.dataloader.dataset
    runner.call_hook('after_run')
    return results
