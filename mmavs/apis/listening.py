"""Does a model listen? The same clips with their own sound, with none, and with the sound of other clips."""
from copy import deepcopy

from mmengine.config import Config
from mmengine.runner import TestLoop
from torch.utils.data import Dataset

from mmavs.engine.launch import build_runner
from mmavs.utils.checkpoint import load_weights


def listening_test(config: Config, checkpoint: str, launcher: str = 'none') -> dict[str, dict[str, float]]:
    """Score a model on the test split with the right and with wrong sounds.

    A model that listens scores much lower when the sound is muted or swapped; one that segments whatever is in the
    picture does not.

    Args:
        config: The model's config, with ``test_dataloader`` and ``test_evaluator``.
        checkpoint: File with its weights.
        launcher: As for :func:`mmavs.engine.launch.build_runner`.

    Returns:
        The metrics of the evaluator under ``'own'``, ``'muted'`` and ``'swapped'``.
    """
    loops = run_tests(config, checkpoint, sound_variants(config.test_dataloader), config.test_evaluator, launcher)
    return {name: scores for name, (scores, _) in loops.items()}


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


def sound_variants(dataloader: dict) -> dict[str, dict]:
    """Configs of the data loader with each clip's own sound, with silence, and with the sound of another clip."""
    muted, swapped = deepcopy(dataloader), deepcopy(dataloader)
    muted['dataset']['pipeline'].insert(-1, dict(type='MuteAudio'))
    swapped['dataset'] = dict(type='SwapAudio', dataset=swapped['dataset'])
    return dict(own=deepcopy(dataloader), muted=muted, swapped=swapped)
