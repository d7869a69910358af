"""The model zoo: what ``model-index.yml`` and the metafiles that it imports say of each config."""
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from .config_aliases import CONFIG_ALIASES

PACKAGE = Path(__file__).parents[1]


def zoo_root() -> Path:
    """The folder of ``model-index.yml``, ``configs`` and ``tools``: the checkout, or ``.mim`` in an installed wheel.

    Raises:
        FileNotFoundError: There is neither.
    """
    for root in (PACKAGE / '.mim', PACKAGE.parent):
        if (root / 'model-index.yml').is_file():
            return root
    raise FileNotFoundError(f'{PACKAGE}: found no model-index.yml, neither in .mim inside of it nor beside it: install '
                            'mmavs as a wheel, or in editable mode from a checkout')


@dataclass(frozen=True)
class PublishedResult:
    """Numbers of the authors.

    Attributes:
        dataset: Name of the data set, with its subset.
        metrics: Name -> value in percent.
        protocol: How they are computed, 'avsbench' or 'dataset'.
        source: Where they were published.
    """
    dataset: str
    metrics: dict[str, float]
    protocol: str
    source: str


@dataclass(frozen=True)
class PublishedWeights:
    """A file of weights that somebody published.

    Attributes:
        where: Where it is, or that there is none.
        file: Its name, None where that is not known.
        sha256: What its publisher states, None where nothing is stated.
        converter: The source that ``tools/model_converters/convert.py --from`` calls it, None for weights of mmavs.
    """
    where: str
    file: str | None = None
    sha256: str | None = None
    converter: str | None = None


@dataclass(frozen=True)
class ModelInfo:
    """An entry of the zoo.

    Attributes:
        name: Name of the model, that of its config without suffix.
        method: The collection that it belongs to.
        config: The config file.
        training_data: The data set of the config.
        parameters: Number of parameters, None where the metafile does not say.
        flops: FLOPs of a prediction of 5 frames, 2 for each multiply-add, None where the metafile does not say.
        results: Published numbers.
        weights: Published weights.
    """
    name: str
    method: str
    config: Path
    training_data: str
    parameters: int | None
    flops: int | None
    results: tuple[PublishedResult, ...]
    weights: tuple[PublishedWeights, ...]


@cache
def read_zoo() -> dict[str, ModelInfo]:
    """All models by name, in the order of ``model-index.yml``.

    Raises:
        ValueError: A metafile cannot be read, lacks a key, or names a model that there is already.
    """
    root, models = zoo_root(), {}
    for metafile in read_yaml(root / 'model-index.yml')['Import']:
        path = root / metafile
        for entry in read_yaml(path).get('Models') or ():
            try:
                info = _model_info(entry, root)
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{path}: the model {entry.get('Name')!r} lacks or misstates {error}") from error
            if info.name in models:
                raise ValueError(f'{path}: the name {info.name} is taken by {models[info.name].config}')
            models[info.name] = info
    return models


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file; a ValueError names it where it is none."""
    try:
        return yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f'{path}: not a readable YAML file ({error})') from error


def _model_info(entry: Mapping, root: Path) -> ModelInfo:
    origin, metadata = entry.get('Converted From') or {}, entry['Metadata']
    weights = [(origin.get('Weights'), origin.get('Converter')), (entry.get('Weights'), None)]
    for stated in (x.get('SHA256') for x, _ in weights if x):
        if not isinstance(stated, str | None):
            raise TypeError(f'SHA256 {stated}: write it in quotes, YAML reads a number')
    return ModelInfo(
        name=entry['Name'],
        method=entry['In Collection'],
        config=root / entry['Config'],
        training_data=metadata['Training Data'],
        parameters=metadata.get('Parameters'),
        flops=metadata.get('FLOPs'),
        results=tuple(
            PublishedResult(x['Dataset'], dict(x['Metrics']), x['Protocol'], x['Source'])
            for x in entry.get('Results') or ()),
        weights=tuple(
            PublishedWeights(x['Where'], x.get('File'), x.get('SHA256'), converter) for x, converter in weights if x))


def find_model(name: str) -> ModelInfo:
    """The entry of a model.

    Raises:
        ValueError: There is none of that name; close matches are listed.
    """
    zoo, name = read_zoo(), current_name(name)
    if name not in zoo:
        close = get_close_matches(name, zoo, n=3, cutoff=0.5)
        advice = f"did you mean {' or '.join(close)}?" if close else 'mmavs.apis.list_models() lists all.'
        raise ValueError(f'{name!r} is neither a config file nor one of the {len(zoo)} models of the zoo: {advice}')
    return zoo[name]


def current_name(config: str) -> str:
    """Replace the former name of a config, a path or the name of its model, by the present one.

    A file of the former name that exists is kept. A replacement is announced by a DeprecationWarning.
    """
    path = Path(config)
    if path.stem not in CONFIG_ALIASES or path.exists():
        return config
    present = str(path.with_name(CONFIG_ALIASES[path.stem] + path.suffix))
    # The warning names the caller of load_config: Python shows it in scripts and tools.
    warnings.warn(f'{config}: this config is now called {present}', DeprecationWarning, stacklevel=4)
    return present


def config_path(config: str) -> str:
    """The file of a config that is named by its path or by the name of its model.

    Raises:
        ValueError: There is no such model.
    """
    config = current_name(config)
    path = Path(config)
    return config if path.suffix or path.parent.name or path.exists() else str(find_model(config).config)


def stated_sha256(file: str | Path) -> set[str]:
    """The SHA-256 that metafiles state for published files of this name, in lower case; empty where none does."""
    weights = (x for info in read_zoo().values() for x in info.weights)
    return {x.sha256.lower() for x in weights if x.sha256 and x.file == Path(file).name}
