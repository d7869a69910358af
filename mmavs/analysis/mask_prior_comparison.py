"""Comparison of mask priors: test a model with those of several generators, and without regions."""
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

from mmengine.config import Config

from mmavs.engine.testing import run_tests
from mmavs.utils.config import find_clip_dataset

NONE = 'none'


def compare_mask_priors(config: Config,
                        checkpoint: str,
                        directories: Mapping[str, str | Path],
                        launcher: str = 'none') -> dict[str, dict[str, float]]:
    """Test a model on the test split with different mask priors of the same clips.

    Args:
        config: Config of a model with a mask-prior branch.
        checkpoint: File with its weights.
        directories: Name -> directory of mask priors, relative to the data root or absolute.
        launcher: As for :func:`mmavs.engine.launch.build_runner`.

    Returns:
        The metrics of the evaluator under each name, and with the constant gray of uncovered pixels under 'none'.

    Raises:
        FileNotFoundError: Mask priors of a clip are missing.
        ValueError: The model has no mask-prior branch, its test pipeline reads none, or a name is 'none'.
    """
    if not config.model.get('mask_prior'):
        raise ValueError(f'{config.filename}: the model has no mask-prior branch, expected a config with '
                         'model.mask_prior')
    if NONE in directories:
        raise ValueError(f'{NONE!r} is the name of the test without regions, name the directory otherwise')
    loaders = {name: _with_directory(config.test_dataloader, str(path)) for name, path in directories.items()}
    loaders[NONE] = _without_regions(config.test_dataloader, str(config.filename))
    # MMEngine's timer builds the config's own test data as well, whose mask priors may not exist.
    config = deepcopy(config)
    config.test_dataloader = deepcopy(loaders[NONE])
    loops = run_tests(config, checkpoint, loaders, config.test_evaluator, launcher)
    return {name: scores for name, (scores, _) in loops.items()}


def _copy_with_dataset(dataloader: dict) -> tuple[dict, dict]:
    """Copy the config of a data loader; return it and the part that is its clip dataset."""
    copied = deepcopy(dataloader)
    return copied, find_clip_dataset({'test_dataloader': copied}, 'test')[1]


def _with_directory(dataloader: dict, directory: str) -> dict:
    loader, dataset = _copy_with_dataset(dataloader)
    dataset['data_prefix'] = {**dataset.get('data_prefix', {}), 'mask_prior': directory}
    return loader


def _without_regions(dataloader: dict, filename: str) -> dict:
    loader, dataset = _copy_with_dataset(dataloader)
    prefix = dataset.get('data_prefix', {})
    dataset['data_prefix'] = {key: value for key, value in prefix.items() if key != 'mask_prior'}
    pipeline = [dict(type='FillMaskPrior') if step['type'] == 'LoadMaskPrior' else step for step in dataset['pipeline']]
    if pipeline == dataset['pipeline']:
        raise ValueError(f'{filename}: the test pipeline has no LoadMaskPrior')
    dataset['pipeline'] = pipeline
    return loader
