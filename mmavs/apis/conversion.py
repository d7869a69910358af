"""Convert published checkpoints, checked against their model, and export checkpoints under the published names."""
import re
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from torch import nn

from mmavs.checkpoint.compatibility import check_pretrained, check_state_dict
from mmavs.checkpoint.converters import CONVERTERS, Conversion, export_weights
from mmavs.checkpoint.reading import extract_state_dict, read_checkpoint
from mmavs.checkpoint.training_settings import TRAINED_FOR, training_settings
from mmavs.registry import MODELS
from mmavs.utils.files import atomic_write, check_writable
from mmavs.utils.zoo import current_name, read_zoo, zoo_root
from mmavs.version import __version__

from .model import build_model


def convert_checkpoint(source: str, src: str | Path, dst: str | Path, config: str | Path | None = None) -> Conversion:
    """Convert a published checkpoint.

    Args:
        source: Origin of the checkpoint, a key of ``CONVERTERS``.
        src: The published file.
        dst: File to write: ``dict(state_dict=..., meta=...)`` of tensors and plain values. The meta information of a
            whole model states the training settings of the config.
        config: Config that the checkpoint was trained with, whose model the result has to fit; None detects it from
            the weights. A file, also relative to ``configs/``, or the name of a model of the zoo.

    Returns:
        The converted weights, and for each key its new name or the reason for which it was dropped.

    Raises:
        FileNotFoundError: There is no such file, or no file of the weights that complete it.
        ValueError: The file is not a checkpoint or not the published one, holds an unknown key, its weights fit
            several configs and none is named, or the result does not fit the model.
    """
    check_writable(dst)
    converter = CONVERTERS[source]
    checkpoint = read_checkpoint(src)
    conversion = converter.convert(extract_state_dict(checkpoint, str(src)))
    if config is None:
        target = converter.target(conversion.state_dict)
        arguments = converter.arguments(checkpoint, str(src))
        model = _target_model(dict(target, **arguments) if arguments else target)
    else:
        model = _target_model(str(config))
    _complete(conversion, model, converter.absent, str(src))
    absent = {key: x for key, x in model.state_dict().items() if re.fullmatch(converter.absent, key)}
    check_state_dict(model, absent | conversion.state_dict, str(src))

    weights = {key: x.contiguous() for key, x in conversion.state_dict.items()}
    meta = dict(source=source, source_file=Path(src).name, mmavs_version=__version__)
    if hasattr(model, 'cfg'):
        meta[TRAINED_FOR] = training_settings(model.cfg)
    with atomic_write(dst) as partial:
        torch.save(dict(state_dict=weights, meta=meta), partial)
    return conversion


def export_checkpoint(target: str, src: str | Path, dst: str | Path) -> Conversion:
    """Write a checkpoint of mmavs under the names of a published model, for its authors' code.

    Args:
        target: Published model whose names are used, a key of ``CONVERTERS``.
        src: A trained or converted checkpoint of mmavs.
        dst: File to write: a plain state dict, for ``vct`` and ``beats`` under the key ``model``, together with the
            other keys that their authors' code reads. The weights that conversion drops are missing, because mmavs
            does not keep them. The authors' code has to load the file with ``strict=False``, as that of ``vct`` does.

    Returns:
        The exported weights, and for each key its published name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a checkpoint, or has a key without a counterpart in the published model.
    """
    check_writable(dst)
    conversion = export_weights(target, extract_state_dict(read_checkpoint(src), str(src)))
    with atomic_write(dst) as partial:
        with open(partial, 'wb') as file:
            torch.save(CONVERTERS[target].file(conversion.state_dict), file)
    return conversion


def _complete(conversion: Conversion, model: nn.Module, absent: str, name: str) -> None:
    """Add the pretrained weights that the config names for parts of the model that the source lacks."""
    for part, module in model.named_children():
        keys = [key for key in module.state_dict(prefix=f'{part}.') if re.fullmatch(absent, key)]
        init_cfg = getattr(module, 'init_cfg', None) or {}
        if keys and init_cfg.get('type') == 'Pretrained':
            path = init_cfg['checkpoint']
            try:
                check_pretrained(module, path, init_cfg.get('prefix', 'backbone'), part)
            except FileNotFoundError as error:
                raise FileNotFoundError(f'{name} holds no {part}, which the config takes from another file: '
                                        f'{error}') from error
            module.init_weights()
            weights = module.state_dict(prefix=f'{part}.')
            conversion.state_dict.update({key: weights[key] for key in keys})
            conversion.added.update(dict.fromkeys(keys, path))


def _target_model(target: dict | str) -> nn.Module:
    """Build the model of a config, or a component."""
    if isinstance(target, dict):
        init_default_scope('mmavs')
        return MODELS.build(target)
    target = current_name(target)
    path = Path(target)
    return build_model(target if path.is_file() or target in read_zoo() else zoo_root() / 'configs' / path)
