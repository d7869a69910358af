"""Model zoo: entries of the configs in ``model-index.yml`` and the metafiles that it imports."""
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from .config_aliases import CONFIG_ALIASES
from .published import PublishedWeights, read_published
from .yaml_files import read_yaml

PACKAGE = Path(__file__).parents[1]


def zoo_root() -> Path:
    """Find the directory of ``model-index.yml``, ``configs`` and ``tools``: the checkout, or ``.mim`` in a wheel.

    Raises:
        FileNotFoundError: The package has neither.
    """
    for root in (PACKAGE / '.mim', PACKAGE.parent):
        if (root / 'model-index.yml').is_file():
            return root
    raise FileNotFoundError(f'{PACKAGE}: found no model-index.yml, neither in .mim inside of it nor beside it: install '
                            'mmavs as a wheel, or in editable mode from a checkout')


@dataclass(frozen=True)
class PublishedResult:
    """Published results.

    Attributes:
        dataset: Name of the dataset, with its subset.
        metrics: Name -> value in percent.
        protocol: 'avsbench' or 'dataset'.
        source: Publication.
    """
    dataset: str
    metrics: dict[str, float]
    protocol: str
    source: str


@dataclass(frozen=True)
class ModelInfo:
    """Entry of the zoo.

    Attributes:
        name: Name of the model, that of its config without suffix.
        method: Its collection.
        config: Config file.
        training_data: Dataset of the config.
        parameters: Number of parameters, None if the metafile does not state it.
        flops: FLOPs of a prediction of 5 frames, 2 for each multiply-add, None if the metafile does not state them.
        results: Published numbers.
        unpublished: Why there is none, None if there are some.
        weights: Published weights.
        parity: What the model reproduces of the released code with seeded weights (``tests/test_parity.py``), None if
            the two were not compared.
    """
    name: str
    method: str
    config: Path
    training_data: str
    parameters: int | None
    flops: int | None
    results: tuple[PublishedResult, ...]
    unpublished: str | None
    weights: tuple[PublishedWeights, ...]
    parity: str | None = None


@cache
def read_zoo() -> dict[str, ModelInfo]:
    """Read all models by name, in the order of ``model-index.yml``.

    Raises:
        FileNotFoundError: The package was installed without the zoo.
        ValueError: A metafile cannot be read, lacks a key, or repeats the name of a model.
    """
    root, models = zoo_root(), {}
    index = root / 'model-index.yml'
    for metafile in _listed(index, 'Import', str):
        path = root / metafile
        for entry in _listed(path, 'Models', dict):
            try:
                info = _model_info(entry, root)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ValueError(f"{path}: the model {entry.get('Name')!r} lacks or misstates {error}") from error
            if info.name in models:
                raise ValueError(f'{path}: the name {info.name} is taken by {models[info.name].config}')
            models[info.name] = info
    return models


def _listed(path: Path, key: str, kind: type) -> list:
    """The entries under a key of a YAML file, each of one type; none without the key."""
    entries = read_yaml(path).get(key) or []
    if not isinstance(entries, list) or not all(isinstance(entry, kind) for entry in entries):
        raise ValueError(f'{path}: {key} is not a list of entries, each a {kind.__name__}')
    return entries


def _model_info(entry: Mapping, root: Path) -> ModelInfo:
    if not isinstance(entry['Name'], str):
        raise TypeError('Name')
    origin, metadata = entry.get('Converted From') or {}, entry['Metadata']
    weights = [(origin.get('Weights'), origin.get('Converter')), (entry.get('Weights'), None)]
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
        unpublished=entry.get('Unpublished'),
        weights=tuple(read_published(x, converter, entry['Name']) for x, converter in weights if x),
        parity=origin.get('Parity'))


@dataclass(frozen=True)
class Backbone:
    """Pretrained backbone that configs name as ``init_cfg=dict(type='Pretrained', checkpoint=PATH)``.

    Attributes:
        name: Its name for ``mmavs download``.
        path: The place that the configs state, relative to the working directory.
        weights: The published file. It is converted if it has a converter, else used unchanged.
    """
    name: str
    path: Path
    weights: PublishedWeights


@cache
def read_backbones() -> dict[str, Backbone]:
    """Read the pretrained backbones of ``configs/_base_/pretrained.yml`` by name.

    Raises:
        FileNotFoundError: The package was installed without the zoo.
        ValueError: The file cannot be read, or an entry lacks a key.
    """
    path = zoo_root() / 'configs/_base_/pretrained.yml'
    backbones = {}
    for entry in (_listed(path, 'Backbones', dict) if path.is_file() else ()):
        try:
            if not isinstance(entry['Name'], str):
                raise TypeError('Name')
            weights = read_published(entry['Weights'], entry.get('Converter'), entry['Name'])
            backbones[entry['Name']] = Backbone(entry['Name'], Path(entry['Path']), weights)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}: the backbone {entry.get('Name')!r} lacks or misstates {error}") from error
    return backbones


def find_model(name: str) -> ModelInfo:
    """Find the entry of a model.

    Raises:
        ValueError: No model has this name; close matches are listed.
    """
    zoo, name = read_zoo(), current_name(name)
    if name not in zoo:
        close = get_close_matches(name, zoo, n=3, cutoff=0.5)
        advice = f"did you mean {' or '.join(close)}?" if close else 'mmavs.apis.list_models() lists all.'
        raise ValueError(f'{name!r} is neither a config file nor one of the {len(zoo)} models of the zoo: {advice}')
    return zoo[name]


def current_name(config: str) -> str:
    """Replace the former name of a config, a path or the name of its model, by the present one.

    A file of the former name that exists is kept. A replacement is announced by a FutureWarning, Python's
    category for deprecations that concern the users of a program.
    """
    path = Path(config)
    if path.stem not in CONFIG_ALIASES or path.exists():
        return config
    present = str(path.with_name(CONFIG_ALIASES[path.stem] + path.suffix))
    warnings.warn(f'{config}: this config is now called {present}', FutureWarning, stacklevel=4)
    return present


def config_path(config: str) -> str:
    """Find the file of a config that is named by its path or by the name of its model.

    Raises:
        ValueError: No model has this name.
    """
    config = current_name(config)
    path = Path(config)
    return config if path.suffix or path.parent.name or path.exists() else str(find_model(config).config)


def stated_sha256(file: str | Path) -> set[str]:
    """List the SHA-256 that metafiles state for published files of this name, in lower case.

    The set is empty if a metafile names such a file without its SHA-256, or if the package was installed without the
    model zoo.
    """
    try:
        zoo = read_zoo()
    except FileNotFoundError:
        return set()
    named = [x for info in zoo.values() for x in info.weights if x.file and Path(x.file).name == Path(file).name]
    return set() if any(x.sha256 is None for x in named) else {x.sha256 for x in named}


def advice_for_missing(file: str | Path) -> str:
    """Say how to get a missing file if it is the pretrained backbone of a config; the text follows a message."""
    try:
        backbones = read_backbones()
    except FileNotFoundError:
        return ''
    for backbone in backbones.values():
        if backbone.path.name == Path(file).name:
            return f": 'mmavs download {backbone.name}' puts it at {backbone.path}"
    return ''
