"""Load weights strictly, and explain why a checkpoint does not fit a model."""
import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from .converters import TRAITS, Traits
from .training_settings import check_training_settings


def load_weights(model: nn.Module, path: str | Path, config: Config | None = None) -> dict:
    """Load all weights of a model, strictly.

    Args:
        model: The model; it is changed only if the checkpoint fits.
        path: A file, or a URL that MMEngine knows.
        config: The model's config, to compare its test pipeline and classes with those of the checkpoint's training;
            None accepts any.

    Returns:
        The meta information of the checkpoint, empty if it has none.

    Raises:
        ValueError: The checkpoint does not fit; see :func:`check_state_dict` and
            :func:`mmavs.checkpoint.training_settings.check_training_settings`. Also the errors of
            :func:`mmavs.checkpoint.reading.read_checkpoint`.
    """
    checkpoint = CheckpointLoader.load_checkpoint(str(path), map_location='cpu', logger='silent')
    weights = checkpoint['state_dict']
    check_state_dict(model, weights, str(path))
    meta = checkpoint.get('meta', {})
    if config is not None:
        check_training_settings(meta, config, str(path), 'test')
    model.load_state_dict(weights)
    return meta


def check_state_dict(model: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Raise a ValueError unless keys, shapes and kinds of numbers of ``weights`` are those of the model.

    The message lists missing keys, unexpected keys, other shapes and other types, and names the likely cause:
    unconverted weights, another method, another number of classes or another input size. PyTorch would convert other
    types without a word: integers are not accepted as floats, and floats as integers only if they are whole numbers.

    Args:
        model: The model.
        weights: The state dict.
        name: Its source, with which the message begins.
    """
    expected = model.state_dict()
    missing = [key for key in expected if key not in weights]
    unexpected = [key for key in weights if key not in expected]
    reshaped = [key for key in expected if key in weights and expected[key].shape != weights[key].shape]
    other_types = [key for key in expected if key in weights and not _same_kind(expected[key], weights[key])]
    if not (missing or unexpected or reshaped or other_types):
        return
    lines = [f'{name}: the checkpoint does not fit the model that the config describes.']
    lines += _causes(expected, weights, missing, unexpected, reshaped)
    if reshaped:
        shapes = [f'{x} is {tuple(weights[x].shape)}, the model has {tuple(expected[x].shape)}' for x in reshaped]
        lines.append(f'  other shapes: {_abridged(shapes)}')
    if other_types:
        types = [f'{x} is {weights[x].dtype}, the model has {expected[x].dtype}' for x in other_types]
        lines.append(f'  other types: {_abridged(types)}')
    if missing:
        lines.append(f'  missing: {_abridged(missing)}')
    if unexpected:
        lines.append(f'  not in the model: {_abridged(unexpected)}')
    raise ValueError('\n'.join(lines))


def _same_kind(expected: Tensor, found: Tensor) -> bool:
    """Whether both are floats, or both integers; counters and indices of a model in half precision are whole floats."""
    if found.is_floating_point() == expected.is_floating_point():
        return True
    return found.is_floating_point() and bool((found == found.round()).all())


def with_own_classifier(model: nn.Module, weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Replace the weights that have a row for each class by those of the model, whose classes are new.

    Args:
        model: The model.
        weights: The state dict of a checkpoint.

    Returns:
        The state dict, and the keys that are the model's own.
    """
    own = {key: x for key, x in model.state_dict().items() if _is_classifier(key)}
    return {key: x for key, x in weights.items() if not _is_classifier(key)} | own, list(own)


def _is_classifier(key: str) -> bool:
    return any(re.search(f'{traits.classifier}|{traits.events}', key) for traits in TRAITS.values())


def check_pretrained(module: nn.Module, path: str | Path, prefix: str, name: str) -> None:
    """Raise a ValueError unless a file holds at least half of the parameters of a part of a model.

    Args:
        module: The part.
        path: A file, or a URL that MMEngine knows.
        prefix: Prefix that the names in the file may have.
        name: The part's name in the model.
    """
    weights = CheckpointLoader.load_checkpoint(str(path), map_location='cpu', logger='silent')['state_dict']
    prefix = prefix.removesuffix('.')  # MMEngine accepts it with and without the dot
    weights = {key.removeprefix(f'{prefix}.'): x for key, x in weights.items()}
    expected = {key: x.shape for key, x in module.named_parameters()}
    fitting = sum(key in weights and weights[key].shape == shape for key, shape in expected.items())
    if 2 * fitting < len(expected):
        causes = _causes(expected, weights, [], [], [])
        raise ValueError('\n'.join([
            f'{path}: only {fitting} of the {len(expected)} parameters of {name} are in it by name and shape; it holds '
            f'{_abridged(list(weights))}, the model {_abridged(list(expected))}.', *causes]))


def _causes(expected: Mapping, weights: Mapping, missing: list, unexpected: list, reshaped: list) -> list[str]:
    """Describe each likely cause of a misfit in one line."""
    source = _published_source(weights)
    if source:
        return [f'  It holds weights as the authors published them: convert it with '
                f'mmavs convert --from {source} SRC DST and load DST.']
    prefix, num_fitting = _foreign_prefix(expected, weights)
    if 2 * num_fitting > len(expected):
        return [f'  {num_fitting} of its {len(weights)} keys fit without the prefix {prefix!r}: save them without it, '
                f'{{key.removeprefix({prefix!r}): x for key, x in weights.items() if key.startswith({prefix!r})}}.']
    for part in ('backbone', 'audio_backbone'):
        if 2 * sum(f'{part}.{key}' in expected for key in weights) > len(weights):
            return [f'  It holds the weights of a backbone alone: set model.{part}.init_cfg=dict(type="Pretrained", '
                    'checkpoint=...) to train with it.']
    causes = []
    backbones = _backbone(weights), _backbone(expected)
    if None not in backbones and backbones[0] != backbones[1]:
        causes.append(f'  Its backbone is a {backbones[0]}, that of the config a {backbones[1]}: use the config of its '
                      'backbone.')
    # Several methods use the same backbone, therefore only the other keys identify the method.
    own, absent = ([key for key in keys if not re.match(r'(audio_)?backbone\.', key)] for keys in (expected, missing))
    if 2 * len(absent) > len(own):
        causes.append(f'  It seems to belong to another method{" or backbone" if None in backbones else ""}: only '
                      f'{len(expected) - len(missing)} of {len(expected)} parameters of the model are in it.')
        return causes
    for traits in TRAITS.values():
        causes += _causes_in_method(traits, expected, weights, missing, unexpected, reshaped)
    return causes


def _foreign_prefix(expected: Mapping, weights: Mapping) -> tuple[str, int]:
    """Find the prefix without which most keys are those of the model, and their number."""
    prefixes = {key.removesuffix(wanted) for wanted in list(expected)[:5] for key in weights
                if key.endswith(f'.{wanted}')}
    counts = {prefix: sum(f'{prefix}{key}' in weights for key in expected) for prefix in prefixes}
    return max(counts.items(), key=lambda item: item[1], default=('', 0))


def _published_source(weights: Mapping) -> str | None:
    """Find the source of weights in the names of their authors, None for other names."""
    # The file of a method holds its backbone as well: methods come first.
    for source, traits in sorted(TRAITS.items(), key=lambda item: item[1].backbone is not None):
        if any(re.match(traits.published, key) for key in weights):
            return source
    return None


def _backbone(weights: Mapping) -> str | None:
    """Name the kind of backbone in the weights of a model, None if it is not known."""
    backbones = [traits.backbone for traits in TRAITS.values() if traits.backbone]
    return next((name for name, prefix in backbones if any(key.startswith(prefix) for key in weights)), None)


def _causes_in_method(traits: Traits, expected: Mapping, weights: Mapping, missing: list, unexpected: list,
                      reshaped: list) -> list[str]:
    """Describe the causes that the traits of one method show: optional parts, classes, input size."""
    causes = []
    for part in traits.optional_parts:
        if any(key.startswith(part.prefix) for key in unexpected):
            causes.append(f'  It has {part.name} and the config has none: {part.only_in_checkpoint}.')
        if any(key.startswith(part.prefix) for key in missing):
            causes.append(f'  The config has {part.name} and it has none: {part.only_in_config}.')
    # One cause, of which bias and further classifiers (of intermediate masks) would only repeat the numbers.
    classifier = next((key for key in reshaped if re.search(traits.classifier, key)), None)
    for key in reshaped:
        found, wanted = weights[key].shape, expected[key].shape
        if key == classifier and found[1:] == wanted[1:]:
            classes = [_describe_classes(shape[0] - traits.extra_rows) for shape in (found, wanted)]
            causes.append(f'  {key} has {found[0]} rows = {classes[0]}, the config says {classes[1]}: use the config '
                          'of the dataset that it was trained on. To fine-tune on other classes: load_from in the '
                          "config, and dict(type='StrictLoadHook', allow_new_classifier=True) in custom_hooks.")
        if re.search(traits.pixels, key) and found[:1] == wanted[:1]:
            sizes = ['{0} x {0}'.format(4 * isqrt(shape[1])) for shape in (found, wanted)]
            causes.append(f'  It was trained for frames of {sizes[0]}, the config says {sizes[1]}: use the config of '
                          'that input size.')
    return causes


def _describe_classes(number: int) -> str:
    return '1 class (sounding objects)' if number == 1 else f'{number} classes'


def _abridged(names: list[str], limit: int = 6) -> str:
    rest = f', ... ({len(names)} in all)' if len(names) > limit else ''
    return ', '.join(names[:limit]) + rest
