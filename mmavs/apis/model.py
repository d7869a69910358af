"""Build models for inference from a config and a checkpoint."""
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope

from mmavs.checkpoint.compatibility import load_weights
from mmavs.checkpoint.timm_files import check_timm_files
from mmavs.registry import MODELS
from mmavs.utils.config import ConfigError, check_config, dataset_metainfo, load_config
from mmavs.utils.device import select_device
from mmavs.utils.precision import check_precision
from mmavs.utils.terminal import concerns_user
from mmavs.utils.zoo import find_model

from .weights import resolve_weights


def init_model(config: str | Path | Config,
               checkpoint: str | Path | None = None,
               device: str | torch.device | None = None,
               allow_other_settings: bool = False,
               precision: str = 'fp32',
               compile: bool = False) -> BaseModel:
    """Build a model for inference.

    Args:
        config: The name of a model of the zoo, a config file, or a config that has been read.
        checkpoint: Weights of the whole model: a file, a URL, or ``'published'`` for those of the authors, see
            :func:`mmavs.apis.published_weights`; None leaves them random, with a warning.
        device: Device of the model; None: the GPU if there is one, else the CPU.
        allow_other_settings: Accept a checkpoint that was trained for another input size or for other classes.
        precision: Type that predictions are computed in: ``'fp32'``, ``'bf16'`` or ``'fp16'``. What decides about
            pixels stays float32, see :meth:`mmavs.models.segmentors.AudioVisualSegmentor.accelerate`.
        compile: Whether to compile the model with ``torch.compile``, which takes a minute or more in the first
            prediction of a frame size, and needs a C++ compiler on a CPU.

    Returns:
        The model in evaluation mode. ``model.cfg`` is the config. ``model.dataset_meta`` holds what is known of the
        training data: ``classes``, ``palette``, ``events`` and ``clip_length``, from the checkpoint and, where it does
        not state them, from the dataset of the config (of training, or else of the test).

    Raises:
        ConfigError: There is no such model or file, the config cannot be read, or it names a component or an argument
            that does not exist; close matches are listed.
        FileNotFoundError: There is no such checkpoint.
        DownloadError: Published weights cannot be downloaded.
        ValueError: The checkpoint is damaged, is not the published one of its name, does not fit the model, or was
            trained for another input size or for other classes; or there is no such device or precision.
    """
    check_precision(precision)
    device = select_device(device)
    model = build_model(config)
    meta = {}
    if checkpoint is None:
        warnings.warn('the model has no checkpoint: its weights are random and its masks have no meaning; pass the '
                      'path of a checkpoint to init_model', stacklevel=2)
    else:
        checkpoint = resolve_weights(config, checkpoint)
        meta = load_weights(model, checkpoint, None if allow_other_settings else model.cfg)
    known = dataset_metainfo(model.cfg, 'train') or dataset_metainfo(model.cfg, 'test')
    stated = meta.get('dataset_meta') or {}
    if not isinstance(stated, Mapping):
        raise ValueError(f"{checkpoint}: meta['dataset_meta'] is a {type(stated).__name__}, expected a dict with "
                         'classes and palette: save its weights alone, dict(state_dict=...)')
    model.dataset_meta = {**known, **stated}
    if (precision, compile) != ('fp32', False):
        model.accelerate(precision, compile)
    return model.to(device).eval()


def build_model(config: str | Path | Config) -> BaseModel:
    """Build the model of a config with random weights; ``model.cfg`` is the config.

    Args:
        config: As for :func:`init_model`.

    Raises:
        ConfigError: As for :func:`init_model`.
    """
    if isinstance(config, Config):
        init_default_scope(config.get('default_scope', 'mmavs'))
        problems = list(check_config(config))
        if problems:
            raise ConfigError('\n'.join(problems))
    else:
        config = load_config(str(config))
    if 'model' not in config:
        raise ConfigError(f"{config.filename or 'the config'}: has no key 'model'")
    check_timm_files(config.model)
    MMLogger.get_current_instance().addFilter(concerns_user)
    model = MODELS.build(config.model)
    model.cfg = config
    return model


def get_model(name: str,
              checkpoint: str | Path | None = None,
              device: str | torch.device | None = None,
              allow_other_settings: bool = False,
              precision: str = 'fp32',
              compile: bool = False) -> BaseModel:
    """Build a model of the zoo for inference.

    Args:
        name: A name of :func:`mmavs.apis.list_models`.
        checkpoint: As for :func:`init_model`.
        device: As for :func:`init_model`.
        allow_other_settings: As for :func:`init_model`.
        precision: As for :func:`init_model`.
        compile: As for :func:`init_model`.

    Returns:
        The model, as of :func:`init_model`.

    Raises:
        ValueError: There is no such model; close matches are listed. Also the errors of :func:`init_model`.
    """
    return init_model(find_model(name).name, checkpoint, device, allow_other_settings, precision, compile)
