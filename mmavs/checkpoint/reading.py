"""Read and download checkpoints without executing anything in them."""
import argparse
import hashlib
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any, BinaryIO
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.dist import barrier, get_rank
from mmengine.logging import HistoryBuffer
from torch import Tensor

from mmavs.utils.safe_pickle import TORCH_SAVE_PREFIXES, RefusedGlobalError, unpickle_tensors
from mmavs.utils.zoo import stated_sha256

try:
    from numpy._core import multiarray
except ImportError:  # numpy 1
    from numpy.core import multiarray


def read_checkpoint(path: str | Path, map_location: str | torch.device | Callable | None = 'cpu') -> Any:
    """Read a checkpoint file; it may hold tensors, arrays, MMEngine's history and parsed arguments, nothing else.

    If a metafile of the model zoo states the SHA-256 of a published file of this name, the file must have it.

    Args:
        path: A file of ``torch.save``, or a plain pickle of tensors or arrays (detectron2's ``.pkl``).
        map_location: Device of its tensors, as in :func:`torch.load`.

    Returns:
        Content of the file, normally a dict.

    Raises:
        FileNotFoundError: The file does not exist.
        pickle.UnpicklingError: The file asks for something else; it is not executed.
        ValueError: The file is truncated, is not a checkpoint, or has another SHA-256.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such checkpoint')
    with path.open('rb') as file:
        _verify(file, path)
        return read_stream(file, path, map_location)


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
                         'damaged or not the published file, and was not read: download it again from the source that '
                         'the metafile names, or give a file of your own another name')
    file.seek(0)


def read_stream(file: BinaryIO, name: str | Path, map_location: str | torch.device | Callable | None) -> Any:
    """Read an open file or a buffer as :func:`read_checkpoint` does; ``name`` begins the messages."""
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


def _history_buffer_method(owner: type, name: str) -> FunctionType:
    """Restricted ``getattr`` for unpickling: returns only the statistics methods of HistoryBuffer."""
    method = vars(HistoryBuffer).get(name)
    if owner is not HistoryBuffer or name.startswith('_') or not isinstance(method, FunctionType):
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL builtins.getattr of {owner!r}, {name!r}')
    return method


def _safe_globals() -> list:
    """List the types in checkpoints beside tensors and plain values: MMEngine's history, numpy's, parsed arguments."""
    # The files of MAE and its descendants hold the arguments of their training.
    allowed = [argparse.Namespace, HistoryBuffer, np.ndarray, np.dtype, (_history_buffer_method, 'builtins.getattr')]
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed += [(multiarray._reconstruct, f'{module}._reconstruct'), (multiarray.scalar, f'{module}.scalar')]
    allowed += {type(np.dtype(code)) for code in '?bBhHiIlLqQefdgSU'}
    return allowed


SAFE_GLOBALS = _safe_globals()


def extract_state_dict(checkpoint: Any, name: str) -> dict[str, Tensor]:
    """Take the state dict out of a checkpoint.

    Args:
        checkpoint: A state dict, or a dict that holds one as ``state_dict`` (MMEngine) or ``model`` (detectron2,
            published backbones). Arrays become tensors; a prefix ``module.`` that all keys have is removed.
        name: File name, for errors.

    Raises:
        ValueError: The checkpoint holds no state dict.
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


def download(url: str, directory: str | Path | None = None, progress: bool = True) -> Path:
    """Download a file once, by default into PyTorch's cache, and return its path.

    A name that ends in the beginning of the file's SHA-256, ``NAME-d70e859d.pth`` by the convention of torchvision and
    OpenMMLab, is checked.

    Raises:
        ValueError: The SHA-256 of the downloaded file does not begin as its name states.
    """
    directory = Path(directory or Path(torch.hub.get_dir()) / 'checkpoints')
    path = directory / Path(urlparse(url).path).name
    stated = re.search(r'-([0-9a-f]{8,64})\.\w+$', path.name)
    # Rank 0 downloads first, then one process of every other machine.
    for is_turn in (get_rank() == 0, get_rank() > 0):
        if is_turn and not path.is_file():
            directory.mkdir(parents=True, exist_ok=True)
            try:
                torch.hub.download_url_to_file(url, str(path), stated and stated[1], progress=progress)
            except RuntimeError as error:
                raise ValueError(f'{url}: the file that was downloaded is not the published one and was not kept: '
                                 f'its SHA-256 does not begin as its name says ({error})') from error
        barrier()
    return path
