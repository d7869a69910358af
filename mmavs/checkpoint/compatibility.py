"""Load weights strictly, and explain why a checkpoint does not fit a model."""
import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from .reading import extract_state_dict
from .training_settings import check_training_settings


def load_weights(model: nn.Module, path: str | Path, config: Config | None = None) -> dict:
    """Load all weights of a model, strictly.

    Args:
        model: The model; it is changed only if the checkpoint fits.
        path: A file, or a URL that MMEngine knows.
        config: The model's config, to compare its test pipeline and classes with what the checkpoint says that it was
            trained for; None accepts any.

    Returns:
        The meta information of the checkpoint, empty where it has none.

    Raises:
        ValueError: The checkpoint does not fit; see :func:`check_state_dict` and
            :func:`mmavs.checkpoint.training_settings.check_training_settings`. Also the errors of
            :func:`mmavs.checkpoint.reading.read_checkpoint`.
    """
    checkpoint = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    weights = extract_state_dict(checkpoint, str(path))
    check_state_dict(model, weights, str(path))
    meta = checkpoint.get('meta', {})
    if config is not None:
        check_training_settings(meta, config, str(path), 'test')
    model.load_state_dict(weights)
    return meta


def check_state_dict(model: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Raise a ValueError unless keys and shapes of ``weights`` are those of the model.

    The message lists what is missing, what is not in the model and what has another shape, and says what the cause
    seems to be: unconverted weights, another method, another number of classes or another input size.

    Args:
        model: The model.
        weights: The state dict.
        name: Where it comes from, to begin the message with.
    """
    expected = model.state_dict()
    missing = [key for key in expected if key not in weights]
    unexpected = [key for key in weights if key not in expected]
    reshaped = [key for key in expected if key in weights and expected[key].shape != weights[key].shape]
    if not (missing or unexpected or reshaped):
        return
    lines = [f'{name}: the checkpoint does not fit the model that the config describes.']
    lines += _causes(expected, weights, missing, unexpected, reshaped)
    if reshaped:
        shapes = [f'{x} is {tuple(weights[x].shape)}, the model has {tuple(expected[x].shape)}' for x in reshaped]
        lines.append(f'  other shapes: {_abridged(shapes)}')
    if missing:
        lines.append(f'  missing: {_abridged(missing)}')
    if unexpected:
        lines.append(f'  not in the model: {_abridged(unexpected)}')
    raise ValueError('\n'.join(lines))


def check_pretrained(module: nn.Module, path: str | Path, prefix: str, name: str) -> None:
    """Raise a ValueError unless a file has at least half of the parameters of a part of a model.

    Args:
        module: The part.
        path: A file, or a URL that MMEngine knows.
        prefix: What the names in the file may begin with.
        name: The part's name in the model.
    """
    weights = extract_state_dict(CheckpointLoader.load_checkpoint(str(path), map_location='cpu'), str(path))
    prefix = prefix.removesuffix('.')  # MMEngine takes it with and without
    weights = {key.removeprefix(f'{prefix}.'): x for key, x in weights.items()}
    expected = {key: x.shape for key, x in module.named_parameters()}
    fitting = sum(key in weights and weights[key].shape == shape for key, shape in expected.items())
    if 2 * fitting < len(expected):
        causes = _causes(expected, weights, [], [], [])
        raise ValueError('\n'.join([
            f'{path}: only {fitting} of the {len(expected)} parameters of {name} are in it by name and shape; it has '
            f'{_abridged(list(weights))}, the model {_abridged(list(expected))}.', *causes]))


def _causes(expected: Mapping, weights: Mapping, missing: list, unexpected: list, reshaped: list) -> list[str]:
    """One line for each likely cause of a misfit."""
    for source, pattern in UNCONVERTED.items():
        if any(re.match(pattern, key) for key in weights):
            return [f'  It holds weights as the authors published them: convert it with '
                    f'tools/model_converters/convert.py --from {source} SRC DST and load DST.']
    for part in ('backbone', 'audio_backbone'):
        if 2 * sum(f'{part}.{key}' in expected for key in weights) > len(weights):
            return [f'  It holds the weights of a backbone alone: set model.{part}.init_cfg=dict(type="Pretrained", '
                    'checkpoint=...) to train with it.']
    causes = []
    kinds = [next((kind for kind, prefix in BACKBONES.items() if any(key.startswith(prefix) for key in keys)), None)
             for keys in (weights, expected)]
    if None not in kinds and kinds[0] != kinds[1]:
        causes.append(f'  Its backbone is a {kinds[0]}, that of the config a {kinds[1]}: use the config of its '
                      'backbone.')
    # Backbones are those of many methods.
    own, absent = ([key for key in keys if not re.match(r'(audio_)?backbone\.', key)] for keys in (expected, missing))
    if 2 * len(absent) > len(own):
        causes.append(f'  It seems to belong to another method{" or backbone" if None in kinds else ""}: only '
                      f'{len(expected) - len(missing)} of {len(expected)} parameters of the model are in it.')
        return causes
    for prefix, (part, has, lacks) in OPTIONAL_PARTS.items():
        if any(key.startswith(prefix) for key in unexpected):
            causes.append(f'  It has {part} and the config has none: {has}.')
        if any(key.startswith(prefix) for key in missing):
            causes.append(f'  The config has {part} and it has none: {lacks}.')
    for key in reshaped:
        found, wanted = weights[key].shape, expected[key].shape
        if re.search(CLASSIFIER, key) and found[1:] == wanted[1:]:
            classes = [_describe_classes(key, shape[0]) for shape in (found, wanted)]
            causes.append(f'  {key} has {found[0]} rows = {classes[0]}, the config says {classes[1]}: use the config '
                          'of the data set that it was trained on.')
        # The query mixer runs over the pixels of the stride-4 map.
        if re.search(r'mixer\.(layers\.)?0\.weight$', key) and found[:1] == wanted[:1]:
            sizes = ['{0} x {0}'.format(4 * isqrt(shape[1])) for shape in (found, wanted)]
            causes.append(f'  It was trained for frames of {sizes[0]}, the config says {sizes[1]}: use the config of '
                          'that input size.')
    return causes


def _describe_classes(key: str, rows: int) -> str:
    """The classes that so many rows of a classifier tell apart; ``class_embed`` has one for "no object" too."""
    classes = rows - key.endswith('class_embed.weight')
    return '1 class (sounding objects)' if classes == 1 else f'{classes} classes'


def _abridged(names: list[str], limit: int = 6) -> str:
    rest = f', ... ({len(names)} in all)' if len(names) > limit else ''
    return ', '.join(names[:limit]) + rest


# Names that only the authors' own checkpoints have, by the source that convert.py knows.
UNCONVERTED = {
    'vct': r'sem_seg_head\.',
    'avsegformer': r'head\.(transformer\.|level_embed)',
    'tpavi': r'tpavi_b\d\.',
    'swin': r'(backbone\.)?layers\.\d\.blocks\.',
}


# How the names of a backbone begin.
BACKBONES = {'PVTv2': 'backbone.block1.', 'ResNet': 'backbone.layer1.', 'Swin Transformer': 'backbone.stages.'}


# The weights that have a row for each class.
CLASSIFIER = r'(class_embed|cls_embed|(?<!intermediate_head\.)mask_head\.\d|output_conv\.4)\.weight$'


# Parts that models of one method may or may not have: prefix, name, what to do where only the checkpoint has it, and
# where only the config has it.
OPTIONAL_PARTS = {
    'mask_prior.': ('a mask-prior branch', 'use the config of the same name with mask-prior in it',
                    'use the config of the same name without mask-prior in it'),
    'decode_head.query_generator.query.':
    ('a query generator', 'it is of the second version of AVSegFormer, use a config avsegformer_*',
     'it is of the first version of AVSegFormer, use a config avsegformer-v1_*'),
    'decode_head.query_generator.pre_proj.':
    ('queries made of pixels', 'it is a VCT, use a config vct_*', 'it is an ACT, use a config act_*'),
}
