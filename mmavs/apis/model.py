"""From a config and a checkpoint to a model."""
import io
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table

from mmavs.checkpoint.compatibility import load_weights
from mmavs.registry import MODELS
from mmavs.utils.config import ConfigError, check_config, load_config
from mmavs.utils.zoo import ModelInfo, find_model, read_zoo


def init_model(config: str | Path | Config,
               checkpoint: str | Path | None = None,
               device: str | torch.device = 'cpu',
               allow_other_settings: bool = False) -> BaseModel:
    """Build a model for inference.

    Args:
        config: The name of a model of the zoo, a config file, or a config that has been read.
        checkpoint: Weights to load, all of them; None leaves them random.
        device: Where the model goes.
        allow_other_settings: Accept a checkpoint that was trained for another input size or for other classes.

    Returns:
        The model in evaluation mode; ``model.cfg`` is the config.

    Raises:
        ConfigError: There is no such model or file, the config cannot be read, or it names a component or an argument
            that does not exist; close matches are listed.
        FileNotFoundError: There is no such checkpoint.
        ValueError: The checkpoint is damaged, not the published one of its name, does not fit the model, or was
            trained for something else.
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
    model = MODELS.build(config.model)
    if checkpoint is not None:
        load_weights(model, checkpoint, None if allow_other_settings else config)
    model.cfg = config
    return model.to(device).eval()


# Room for the longest names where the table is not printed to a terminal.
WIDTH = 160


class ModelList(list):
    """Names of models that print as a table: config, size, published numbers."""

    def table(self) -> Table:
        """A row for each model."""
        table = Table(
            'model', 'method', 'trained on', 'params (M)', 'GFLOPs', 'published', 'protocol', 'source', '--from',
            caption=f'{len(self)} models. GFLOPs: prediction of 5 frames, 2 for each multiply-add. Published numbers '
            'are those of the authors in percent; numbers of different protocols do not compare. --from: what '
            'tools/model_converters/convert.py calls the authors\' checkpoints.')
        for column in table.columns[3:5]:
            column.justify = 'right'
        for column in table.columns:
            column.overflow = 'fold'  # nothing is cut off
        for column in table.columns[:3]:
            column.no_wrap = True
        for name in self:
            table.add_row(*_row(find_model(name)))
        return table

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=WIDTH)
        console.print(self.table())
        return console.file.getvalue()

    __repr__ = __str__


def list_models(pattern: str | Iterable[str] | None = None) -> ModelList:
    """The names of the models of the zoo, which print as a table.

    Args:
        pattern: A pattern of names with ``*`` and ``?``, 'vct_*_avss' for example, or several; None for all models.

    Returns:
        A list of names for :func:`get_model` and :func:`init_model`.
    """
    patterns = ['*'] if pattern is None else [pattern] if isinstance(pattern, str) else list(pattern)
    return ModelList(name for name in read_zoo() if any(fnmatch(name, pattern) for pattern in patterns))


def get_model(name: str,
              checkpoint: str | None = None,
              device: str | torch.device = 'cpu',
              allow_other_settings: bool = False) -> BaseModel:
    """Build a model of the zoo for inference.

    Args:
        name: A name of :func:`list_models`.
        checkpoint: Weights to load, all of them; None leaves them random.
        device: Where the model goes.
        allow_other_settings: As for :func:`init_model`.

    Raises:
        ValueError: There is no such model; close matches are listed. Also the errors of :func:`init_model`.
    """
    return init_model(find_model(name).name, checkpoint, device, allow_other_settings)


def _row(info: ModelInfo) -> list[str]:
    numbers = [', '.join(f'{key} {value}' for key, value in x.metrics.items()) for x in info.results]
    return [
        info.name, info.method, info.training_data,
        '' if info.parameters is None else f'{info.parameters / 1e6:.1f}',
        '' if info.flops is None else f'{info.flops / 1e9:.0f}', '\n'.join(numbers),
        '\n'.join(x.protocol for x in info.results), '\n'.join(x.source for x in info.results),
        ', '.join(x.converter for x in info.weights if x.converter)
    ]
