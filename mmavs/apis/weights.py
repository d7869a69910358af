"""The weights that authors publish, by the name of a model: fetched, checked and converted once."""
import os
import shutil
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from filelock import FileLock
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from mmavs.checkpoint.fetching import fetch, recorded_sha256, remember_sha256
from mmavs.utils.cache_directory import cache_directory
from mmavs.utils.files import atomic_write
from mmavs.utils.published import PublishedWeights
from mmavs.utils.zoo import Backbone, current_name, find_model, read_backbones, read_zoo
from mmavs.version import __version__

#: Takes the place of a checkpoint wherever one is named: the weights of the authors.
PUBLISHED = 'published'


def resolve_weights(config: str | Path | Config, weights: str | Path) -> str | Path:
    """Replace ``'published'`` by the checkpoint of the authors; other weights are returned unchanged.

    Args:
        config: The model: its name in the zoo, its config file, or a config that has been read.
        weights: A checkpoint, or ``'published'``. (A file of that name is ``./published``.)

    Raises:
        ValueError: The model has no published weights. Also the errors of :func:`published_weights`.
    """
    if weights != PUBLISHED:
        return weights
    config = (config.filename if isinstance(config, Config) else str(config)) or 'the config'
    name = Path(current_name(config)).stem if config.endswith('.py') else config
    if config.endswith('.py') and name not in read_zoo():
        raise ValueError(f'{config}: has no published weights, because it is not a config of the zoo: name a checkpoint'
                         ' file, or a model of the zoo')
    return published_weights(name)


def published_weights(name: str) -> Path:
    """Return the published weights of a model as a checkpoint of mmavs.

    At the first use, the file is fetched and converted, its source and license are printed on stderr, and its SHA-256
    is remembered in a file beside it. Later uses need no network. Several processes may ask at once.

    Args:
        name: Name of a model of the zoo.

    Returns:
        The converted checkpoint, in :func:`mmavs.utils.cache_directory.cache_directory`.

    Raises:
        DownloadError: There is no network, or the file is not fetched by a program; the message names its address and
            where to put it.
        ImportError: The package that downloads from there is missing.
        ValueError: The zoo has no such model, it has no published weights, or the file has another SHA-256 than the
            metafile states or than at its first use. Also the errors of :func:`mmavs.apis.convert_checkpoint`.
    """
    from .conversion import convert_checkpoint  # needs init_model, which needs this module

    info = find_model(name)
    weights = _published(info.name)
    place = cache_directory() / weights.place
    _announce(info.name, weights)

    def converted(sha256: str | None) -> Path:
        # By file and version: another file, or other rules of conversion, give another checkpoint.
        return cache_directory() / 'converted' / f'{info.name}_{str(sha256)[:12]}_{__version__}.pth'

    with _lock(place):
        done = converted(recorded_sha256(place))
        if done.is_file() and not place.is_file():  # removed to save space
            return done
        sha256 = fetch(weights, place)
        if weights.converter is None:
            done = place
        elif not (done := converted(sha256)).is_file():
            convert_checkpoint(weights.converter, place, done, info.config)
        remember_sha256(place, sha256)
    return done


def fetch_backbone(backbone: Backbone, path: Path | None = None) -> Path:
    """Fetch a pretrained backbone, convert it if it needs that, and put it at a place.

    Args:
        backbone: One of :func:`mmavs.utils.zoo.read_backbones`.
        path: The place; None for the one that configs state, relative to the working directory.

    Returns:
        The place. A file that is there is kept and not checked.

    Raises:
        DownloadError, ImportError, ValueError: As for :func:`published_weights`.
    """
    from .conversion import convert_checkpoint

    path = path or backbone.path
    if path.is_file():
        return path
    weights, place = backbone.weights, cache_directory() / backbone.weights.place
    _announce(backbone.name, weights)
    with _lock(place):
        sha256 = fetch(weights, place)
        if weights.converter:
            convert_checkpoint(weights.converter, place, path)
        else:
            with atomic_write(path) as partial:
                shutil.copyfile(place, partial)
        remember_sha256(place, sha256)
    return path


def fetch_pretrained(config: Config) -> Iterator[str]:
    """Fetch the pretrained weights that a training begins with, ``init_cfg=dict(type='Pretrained')`` of the model.

    Args:
        config: The config of a model.

    Yields:
        Each file that the config names, after it has been put there; a URL, after it has been downloaded into the cache
        of PyTorch.

    Raises:
        DownloadError, ImportError, ValueError: As for :func:`published_weights`.
        FileNotFoundError: The config names a file that is neither there nor known.
    """
    known = {backbone.path.name: backbone for backbone in read_backbones().values()}
    for checkpoint in dict.fromkeys(_pretrained(config.model)):
        backbone = known.get(Path(checkpoint).name)
        if backbone and '://' not in checkpoint:
            fetch_backbone(backbone, Path(checkpoint))
        else:
            CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='silent')
        yield checkpoint


def _pretrained(node: Any) -> Iterator[str]:
    """Iterate over the checkpoints of ``init_cfg`` in the config of a model."""
    if isinstance(node, dict):
        if node.get('type') == 'Pretrained':
            yield node['checkpoint']
        node = list(node.values())
    for child in node if isinstance(node, list | tuple) else ():
        yield from _pretrained(child)


def models_with_weights() -> list[str]:
    """List the models of the zoo whose weights are published."""
    return [name for name, info in read_zoo().items() if any(weights.is_published for weights in info.weights)]


def _published(name: str) -> PublishedWeights:
    """Find the published file of a model; a ValueError says that there is none, and which models have one."""
    info = read_zoo()[name]
    published = [weights for weights in info.weights if weights.is_published]
    if published:
        return published[-1]  # weights of mmavs come last
    reason = info.weights[0].address if info.weights else info.unpublished or 'the authors did not publish any'
    available = models_with_weights()
    close = get_close_matches(name, available, n=3, cutoff=0) or available[:3]
    raise ValueError(f'{name}: has no published weights ({reason}). Models that have some: {", ".join(close)}; '
                     "'mmavs models' shows all")


def _announce(name: str, weights: PublishedWeights) -> None:
    """Print source and license on stderr, once for all processes of a job."""
    if int(os.environ.get('RANK', 0)) == 0:
        print(f'{name}: weights from {weights.where}; license: {weights.license or "not known"}', file=sys.stderr)


def _lock(place: Path) -> FileLock:
    """One process at a time fetches and converts a file; the others wait and find it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(place.with_name(f'{place.name}.lock'))
