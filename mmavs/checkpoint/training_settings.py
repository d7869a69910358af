"""Record the input size and classes of a training in its checkpoints, and compare them with the config that loads one.

The weights do not show the input size: many models accept frames of any size.
"""
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmavs.utils.config import dataset_metainfo, find_clip_dataset

# Key of these settings in the meta information of a checkpoint.
TRAINED_FOR = 'trained_for'


def training_settings(config: Config, split: str = 'train') -> dict[str, Any]:
    """Read the settings that the weights alone do not show from a config, as plain values.

    Args:
        config: The config of a model with its data.
        split: Data loader whose frames count, 'train' or 'test'.

    Returns:
        dict with

        - ``config``: name of the file, None for a config without a file;
        - ``input_size``: [height, width] of the frames that enter the model, None if the pipeline sets none;
        - ``classes``: class names of the training data, None without training data.
    """
    _, dataset = find_clip_dataset(config, split)
    classes = dataset_metainfo(config, 'train').get('classes')
    return dict(
        config=Path(config.filename).stem if config.filename else None,
        input_size=_input_size(dataset.get('pipeline', ())),
        classes=None if classes is None else list(classes))


def check_training_settings(meta: Mapping, config: Config, name: str, split: str = 'train',
                            compare_classes: bool = True) -> None:
    """Raise a ValueError if a checkpoint was trained for another input size or other classes than the config's.

    Args:
        meta: Meta information of the checkpoint; without these settings it passes.
        config: The config that is going to use the weights.
        name: Name of the checkpoint, with which the message begins.
        split: Data loader that is going to feed the model, 'train' or 'test'.
        compare_classes: Whether the classes must be the same.
    """
    trained = meta.get(TRAINED_FOR)
    if not trained:
        return
    _check_form(trained, name)
    trained = {key: trained.get(key) for key in ('config', 'input_size', 'classes')}
    wanted, differences = training_settings(config, split), []
    if None not in (trained['input_size'], wanted['input_size']) and trained['input_size'] != wanted['input_size']:
        sizes = ['{}x{}'.format(*settings['input_size']) for settings in (trained, wanted)]
        differences.append(f'  It was trained on frames of {sizes[0]} (height x width), the config has {sizes[1]}.')
    classes = trained['classes'], wanted['classes']
    if compare_classes and None not in classes and classes[0] != classes[1]:
        pairs = enumerate(zip_longest(*classes, fillvalue='no class'))
        index, names = next((index, names) for index, names in pairs if names[0] != names[1])
        numbers = map(len, classes)
        differences.append('  It was trained for {} classes, the config has {}; the first that differs is class {}: {} '
                           'and {}.'.format(*numbers, index, *names))
    if differences:
        first = f"{name}: the checkpoint{_of(trained)} was trained for other settings than the config{_of(wanted)}."
        advice = ('  Use the config that it was trained with. If the difference is intended: --allow-other-settings of '
                  'mmavs test, allow_other_settings=True of init_model or, for load_from and resume, of '
                  'StrictLoadHook in custom_hooks. To fine-tune on other classes: allow_new_classifier=True of '
                  'StrictLoadHook.')
        raise ValueError('\n'.join([first, *differences, advice]))


def _check_form(trained: Any, name: str) -> None:
    """Raise a ValueError unless these are settings as :func:`training_settings` states them."""
    config, size, classes = (trained.get(key) if isinstance(trained, Mapping) else trained
                             for key in ('config', 'input_size', 'classes'))
    if not (config is None or isinstance(config, str)) or not (
            size is None or _is_list(size, int) and len(size) == 2) or not (classes is None or _is_list(classes, str)):
        raise ValueError(f"{name}: meta['{TRAINED_FOR}'] is {trained!r:.200}, expected config, input_size [height, "
                         'width] and classes: save its weights alone, dict(state_dict=...)')


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list | tuple) and all(type(x) is kind for x in value)


def _of(settings: Mapping) -> str:
    return f" of {settings['config']}" if settings['config'] else ''


def _input_size(pipeline: Iterable[Mapping]) -> list[int] | None:
    """Return [height, width] of the last transform of the frames that sets a fixed size."""
    size = None
    for step in _steps_of_frames(pipeline):
        kind = step['type'].rpartition('.')[2]
        if kind == 'Resize' and 'scale' in step and not step.get('keep_ratio'):
            size = _pair(step['scale'])[::-1]
        elif kind == 'CenterCrop':
            size = _pair(step['crop_size'])[::-1]
        elif kind == 'RandomCrop':
            size = _pair(step['crop_size'])
    return size


def _steps_of_frames(pipeline: Iterable[Mapping]) -> Iterator[Mapping]:
    """Yield the transforms of a pipeline that process the frames, also those within others."""
    for step in pipeline:
        if 'frames' in step.get('keys', ('frames', )):
            yield step
            yield from _steps_of_frames(step.get('transforms', ()))


def _pair(size: int | Iterable[int]) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)
