"""Checkpoints: read without executing anything in them, load strictly, say what does not fit.

Importing this module (``mmavs.registry`` does) also directs MMEngine's own loading here: ``load_from``, ``resume`` and
``init_cfg=dict(type='Pretrained')`` of files, URLs and every other scheme. MMEngine falls back to unrestricted
unpickling, and its resumed runs execute a config that the checkpoint holds as a text; neither happens here.
"""
import hashlib
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from math import isqrt
from pathlib import Path
from types import FunctionType
from typing import Any, BinaryIO
from urllib.parse import urlparse

import mmengine.runner.checkpoint
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import barrier, get_rank
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from .safe_pickle import TORCH_SAVE_PREFIXES, RefusedGlobalError, unpickle_tensors
from .training_settings import check_training_settings
from .zoo import stated_sha256

try:
    from numpy._core import multiarray
except ImportError:  # numpy 1
    from numpy.core import multiarray


def read_checkpoint(path: str | Path, map_location: str | torch.device | Callable | None = 'cpu') -> Any:
    """Read a checkpoint file; the file can name tensors, arrays and MMEngine's training history, nothing else.

    Where a metafile states the SHA-256 of a published file of this name, the file has to have it.

    Args:
        path: A file of ``torch.save``, or a plain pickle of tensors or arrays (detectron2's ``.pkl``).
        map_location: Where its tensors go, as in :func:`torch.load`.

    Returns:
        What the file holds, normally a dict.

    Raises:
        FileNotFoundError: There is no such file.
        pickle.UnpicklingError: The file asks for something else; it is not executed.
        ValueError: The file is truncated or no checkpoint at all, or has another SHA-256.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such checkpoint')
    with path.open('rb') as file:
        _verify(file, path)
        return _read(file, path, map_location)


def _verify(file: BinaryIO, path: Path) -> None:
    """Raise a ValueError if metafiles state another SHA-256 for the file."""
    stated = stated_sha256(path)
    if not stated:
        return
    digest = hashlib.sha256()
    while block := file.read(2**20):
        digest.update(block)
    found = digest.hexdigest()
    if found not in stated:
        raise ValueError(f'{path}: SHA-256 is {found}, the metafile states {" or ".join(sorted(stated))}. It is '
                         'damaged or not the published one, and was not read: download it again from the place that '
                         'the metafile names, or give a file of your own another name')
    file.seek(0)


def _read(file: BinaryIO, name: str | Path, map_location: str | torch.device | Callable | None) -> Any:
    """:func:`read_checkpoint` of an open file or a buffer; ``name`` begins the messages."""
    size = file.seek(0, 2)
    try:
        file.seek(0)
        header = file.read(32)
        if header.startswith(b'PK') and not zipfile.is_zipfile(file):
            raise EOFError('the end of the archive is missing')
        file.seek(0)
        if header.startswith(TORCH_SAVE_PREFIXES):
            with torch.serialization.safe_globals(SAFE_GLOBALS):
                return torch.load(file, map_location=map_location, weights_only=True)
        return unpickle_tensors(file.read())
    except RefusedGlobalError as error:
        raise _refusal(name, str(error)) from None
    except Exception as error:
        refused = re.search(r'(?i:unsupported (?:global: global|class|global)) `?([\w.]+)', str(error))
        if isinstance(error, pickle.UnpicklingError) and refused:
            raise _refusal(name, refused[1]) from None
        reason = f'{type(error).__name__}: {error}'.splitlines()[0]
        raise ValueError(f'{name}: not a readable checkpoint of {size} bytes, it is truncated, damaged or of another '
                         f'kind ({reason}). Copy or download it again') from error


def _refusal(path: str | Path, name: str) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(
        f'{path}: refused, the checkpoint asks for {name}, which could run code; nothing was executed. Get it from its '
        'original source or, if you made it yourself, save it anew with tensors and plain Python values only')


def weights_of(checkpoint: Any, name: str) -> dict[str, Tensor]:
    """The state dict inside a checkpoint.

    Args:
        checkpoint: A state dict, or a dict that holds one as ``state_dict`` (MMEngine) or ``model`` (detectron2,
            published backbones). Arrays become tensors; a prefix ``module.`` that every key has is cut off.
        name: File name, for errors.

    Raises:
        ValueError: There is none.
    """
    weights = checkpoint
    for key in ('state_dict', 'model'):
        if isinstance(weights, Mapping) and isinstance(weights.get(key), Mapping):
            weights = weights[key]
    if not isinstance(weights, Mapping) or not weights:
        raise ValueError(f'{name}: holds no weights but a {type(weights).__name__}, expected a dict of tensors, bare '
                         "or as 'state_dict' or 'model'")
    weights = {key: torch.from_numpy(x) if isinstance(x, np.ndarray) else x for key, x in weights.items()}
    for key, value in weights.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ValueError(f'{name}: {key!r} is a {type(value).__name__}, expected a dict of tensors, bare or as '
                             "'state_dict' or 'model'")
    if all(key.startswith('module.') for key in weights):
        weights = {key.removeprefix('module.'): value for key, value in weights.items()}
    return weights


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
            :func:`mmavs.utils.training_settings.check_training_settings`. Also the errors of :func:`read_checkpoint`.
    """
    checkpoint = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    weights = weights_of(checkpoint, str(path))
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
    weights = weights_of(CheckpointLoader.load_checkpoint(str(path), map_location='cpu'), str(path))
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
            classes = [_classes_of(key, shape[0]) for shape in (found, wanted)]
            causes.append(f'  {key} has {found[0]} rows = {classes[0]}, the config says {classes[1]}: use the config '
                          'of the data set that it was trained on.')
        # The query mixer runs over the pixels of the stride-4 map.
        if re.search(r'mixer\.(layers\.)?0\.weight$', key) and found[:1] == wanted[:1]:
            sizes = ['{0} x {0}'.format(4 * isqrt(shape[1])) for shape in (found, wanted)]
            causes.append(f'  It was trained for frames of {sizes[0]}, the config says {sizes[1]}: use the config of '
                          'that input size.')
    return causes


def _classes_of(key: str, rows: int) -> str:
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


def _history_buffer_method(owner: type, name: str) -> FunctionType:
    """What a HistoryBuffer needs of ``getattr``: its own statistics."""
    method = vars(HistoryBuffer).get(name)
    if owner is not HistoryBuffer or name.startswith('_') or not isinstance(method, FunctionType):
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL builtins.getattr of {owner!r}, {name!r}')
    return method


def _safe_globals() -> list:
    """What MMEngine's checkpoints hold beside tensors and plain values: HistoryBuffers of arrays, numpy scalars."""
    allowed = [HistoryBuffer, np.ndarray, np.dtype, (_history_buffer_method, 'builtins.getattr')]
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed += [(multiarray._reconstruct, f'{module}._reconstruct'), (multiarray.scalar, f'{module}.scalar')]
    allowed += {type(np.dtype(code)) for code in '?bBhHiIlLqQefdgSU'}
    return allowed


SAFE_GLOBALS = _safe_globals()


def download(url: str, folder: str | Path | None = None, progress: bool = True) -> Path:
    """Download a file once, into PyTorch's cache by default, and return where it lies.

    A name that ends in a part of its own SHA-256, ``NAME-d70e859d.pth`` by the convention of torchvision and OpenMMLab,
    is checked against it.
    """
    folder = Path(folder or Path(torch.hub.get_dir()) / 'checkpoints')
    path = folder / Path(urlparse(url).path).name
    stated = re.search(r'-([0-9a-f]{8,64})\.\w+$', path.name)
    # Rank 0 first, then one process of every other machine.
    for is_turn in (get_rank() == 0, get_rank() > 0):
        if is_turn and not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            try:
                torch.hub.download_url_to_file(url, str(path), stated and stated[1], progress=progress)
            except RuntimeError as error:
                raise ValueError(f'{url}: the file that was downloaded is not the published one and was not kept: '
                                 f'its SHA-256 does not begin as its name says ({error})') from error
        barrier()
    return path


def _without_config(checkpoint: Any) -> Any:
    """A checkpoint without ``meta['config']``, a text that MMEngine's ``Runner.resume`` would execute as Python."""
    if isinstance(checkpoint, dict) and isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)
    return checkpoint


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: str | torch.device | Callable | None = None) -> Any:
    """:func:`read_checkpoint` in place of MMEngine's loader of files."""
    return _without_config(read_checkpoint(filename, map_location))


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_http(filename: str,
                   map_location: str | torch.device | Callable | None = None,
                   model_dir: str | None = None,
                   progress: bool = True) -> Any:
    """:func:`download`, then :func:`read_checkpoint`; in place of MMEngine's loader of URLs."""
    return load_from_local(str(download(filename, model_dir, progress)), map_location)


def load_file_or_buffer(file: str | BinaryIO,
                        map_location: str | torch.device | Callable | None = None,
                        weights_only: bool | None = None) -> Any:
    """:func:`read_checkpoint` in place of what MMEngine's other schemes (petrel, s3, pavi) read files and buffers with.

    ``weights_only`` is not heeded: there is no unrestricted reading.
    """
    if isinstance(file, str):
        return load_from_local(file, map_location)
    return _without_config(_read(file, 'the buffer', map_location))


# The schemes torchvision://, open-mmlab:// and mmcls:// call the first by this name, all others the second.
mmengine.runner.checkpoint.load_from_http = load_from_http
mmengine.runner.checkpoint._safe_torch_load = load_file_or_buffer
