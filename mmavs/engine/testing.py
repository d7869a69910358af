"""Test one checkpoint on several data loaders."""
from copy import deepcopy

from mmengine.config import Config
from mmengine.runner import TestLoop
from torch.utils.data import Dataset

from mmavs.checkpoint.compatibility import load_weights
from mmavs.utils.model import unwrap_model

from .launch import build_runner


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
    runner = build_runner(config, launcher)
    load_weights(unwrap_model(runner.model), checkpoint, config)
    # All are built before the first runs: an error in one dataset then does not discard finished tests.
    loops = {name: TestLoop(runner, dataloader, deepcopy(evaluator)) for name, dataloader in dataloaders.items()}
    runner.call_hook('before_run')
    results = {}
    for name in dataloaders:
        # The workers of a loader end with its loop.
        loop = loops.pop(name)
        results[name] = loop.run(), loop.dataloader.dataset
    runner.call_hook('after_run')
    return results
