"""Read and download checkpoints without executing anything in them."""
import argparse
import http.client
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any, BinaryIO
from urllib.error import URLError
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.dist import barrier, get_rank
from mmengine.logging import HistoryBuffer, print_log
from torch import Tensor

from mmavs.utils.files import stream_sha256
from mmavs.utils.optional_packages import optional_import
from mmavs.utils.safe_pickle import TORCH_SAVE_PREFIXES, RefusedGlobalError, unpickle_tensors
from mmavs.utils.zoo import stated_sha256

try:
    from numpy._core import multiarray
except ImportError:  # numpy 1
    from numpy.core import multiarray

# Keys under which programs save a state dict: MMEngine and Lightning; detectron2; PyTorch's tutorials; others.
CONTAINERS = ('state_dict', 'model', 'model_state_dict', 'net', 'weights')
# Prefixes that wrappers give to all keys: distributed training, torch.compile, the module of Lightning.
WRAPPERS = ('module.', '_orig_mod.', 'model.')
# Buffers that thop (FLOP counter) adds to every module.
COUNTERS = ('total_ops', 'total_params')


class DownloadError(ValueError):
    """File that cannot be downloaded; the message names its URL and the place of the file."""


def read_checkpoint(path: str | Path, map_location: str | torch.device | Callable | None = 'cpu') -> Any:
    """Read a checkpoint file; it may hold tensors, arrays, MMEngine's history and parsed arguments, nothing else.

    If a metafile of the model zoo states the SHA-256 of a published file of this name, the file must have it.

    Args:
        path: A file of ``torch.save``, a safetensors file, or a plain pickle of tensors or arrays (detectron2's
            ``.pkl``). The content decides, not the suffix.
        map_location: Device of its tensors, as in :func:`torch.load`.

    Returns:
        Content of the file, normally a dict.

    Raises:
        FileNotFoundError: The file does not exist.
        ImportError: It is a safetensors file, and the package is not installed.
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
    found = stream_sha256(file)
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
        if _is_safetensors(header, size):
            return _read_safetensors(file.read(), name, map_location)
        if header.startswith(TORCH_SAVE_PREFIXES):
            with torch.serialization.safe_globals(SAFE_GLOBALS):
                return torch.load(file, map_location=map_location, weights_only=True)
        return unpickle_tensors(file.read())
    except RefusedGlobalError as error:
        raise _refusal(name, str(error)) from None
    except ImportError:
        raise
    except Exception as error:
        refused = re.search(r'(?i:unsupported (?:global: global|class|global)) `?([\w.]+)', str(error))
        if isinstance(error, pickle.UnpicklingError) and refused:
            raise _refusal(name, refused[1]) from None
        reason = f'{type(error).__name__}: {error}'.splitlines()[0]
        raise ValueError(f'{name}: not a readable checkpoint of {size} bytes, it is truncated, damaged or of another '
                         f'kind ({reason}). Copy or download it again') from error


def _is_safetensors(header: bytes, size: int) -> bool:
    """Recognize a safetensors file: the length of its JSON header in 8 bytes, then the header."""
    return header[8:9] == b'{' and int.from_bytes(header[:8], 'little') < size


def _read_safetensors(data: bytes, name: str | Path, map_location: str | torch.device | Callable | None) -> Any:
    weights = optional_import('safetensors.torch', f'{name}: reading a safetensors file').load(data)
    if isinstance(map_location, str | torch.device):
        weights = {key: x.to(map_location) for key, x in weights.items()}
    return weights


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
    """List the types in checkpoints beside tensors and plain values: HistoryBuffers, numpy's, command-line arguments.

    A Namespace only takes attributes; no value of them can run code.
    """
    allowed = [HistoryBuffer, argparse.Namespace, np.ndarray, np.dtype, (_history_buffer_method, 'builtins.getattr')]
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed += [(multiarray._reconstruct, f'{module}._reconstruct'), (multiarray.scalar, f'{module}.scalar')]
    allowed += {type(np.dtype(code)) for code in '?bBhHiIlLqQefdgSU'}
    return allowed


SAFE_GLOBALS = _safe_globals()


def extract_state_dict(checkpoint: Any, name: str) -> dict[str, Tensor]:
    """Take the state dict out of a checkpoint.

    Arrays become tensors. Prefixes that wrappers give to all keys (:data:`WRAPPERS`) are removed, and ``_orig_mod.``,
    which torch.compile gives to a compiled part, everywhere. Counters of thop are left out, with a note.

    Args:
        checkpoint: A state dict, or a dict that holds one under one of the keys :data:`CONTAINERS`.
        name: File name, for errors.

    Raises:
        ValueError: The checkpoint holds no state dict, or weights that are NaN or infinite.
    """
    weights = _find_state_dict(checkpoint)
    if not isinstance(weights, Mapping) or not weights:
        raise ValueError(f'{name}: holds no weights but a {type(weights).__name__}, {_EXPECTED}')
    weights = {key: torch.from_numpy(x) if isinstance(x, np.ndarray) else x for key, x in weights.items()}
    for key, value in weights.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ValueError(f'{name}: {key!r} is a {type(value).__name__}, {_EXPECTED}')
    counters = [key for key in weights if key.rpartition('.')[2] in COUNTERS]
    if counters:
        print_log(f'{name}: ignored {len(counters)} counters of thop, such as {counters[0]}', 'current')
    weights = _unwrap_names({key: x for key, x in weights.items() if key not in set(counters)})
    check_finite(weights, name)
    return weights


_EXPECTED = f"expected a dict of tensors, bare or under one of the keys {', '.join(CONTAINERS)}"


def _find_state_dict(checkpoint: Any) -> Any:
    """Descend to the innermost mapping under the keys of :data:`CONTAINERS`."""
    while isinstance(checkpoint, Mapping):
        inner = next((checkpoint[key] for key in CONTAINERS if isinstance(checkpoint.get(key), Mapping)), None)
        if inner is None:
            break
        checkpoint = inner
    return checkpoint


def _unwrap_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    while weights and (common := [x for x in WRAPPERS if all(key.startswith(x) for key in weights)]):
        weights = {key.removeprefix(common[0]): x for key, x in weights.items()}
    return {key.replace('_orig_mod.', ''): x for key, x in weights.items()}


def check_finite(weights: Mapping[str, Tensor], name: str) -> None:
    """Raise a ValueError that names the first tensor with NaN or infinite values."""
    for key, x in weights.items():
        # The terms of a finite sum are finite; it is faster than a test of each, which decides if a sum overflows.
        if x.sum().isfinite():
            continue
        finite = x.isfinite()
        if not finite.all():
            raise ValueError(f'{name}: {key} holds {int((~finite).sum())} NaN or infinite values of {x.numel()}: the '
                             'training that wrote it has diverged; use an earlier checkpoint, or train again with a '
                             'lower learning rate')


def normalize_checkpoint(checkpoint: Any, name: str) -> dict[str, Any]:
    """Bring a checkpoint into the layout of MMEngine, whose loaders read ``state_dict`` and know no other layout.

    Args:
        checkpoint: Content of a file, as for :func:`extract_state_dict`.
        name: File name, for errors.

    Returns:
        dict with ``state_dict`` and the other entries of the file. ``meta['config']`` is removed, a text that
        MMEngine's ``Runner.resume`` would execute as Python.

    Raises:
        ValueError: As :func:`extract_state_dict`.
    """
    weights = extract_state_dict(checkpoint, name)
    others = {}
    if _find_state_dict(checkpoint) is not checkpoint:
        others = {key: x for key, x in checkpoint.items() if key not in CONTAINERS}
    if isinstance(others.get('meta'), dict):
        others['meta'].pop('config', None)
    return dict(others, state_dict=weights)


def download(url: str, directory: str | Path | None = None, progress: bool = True) -> Path:
    """Download a file once, by default into PyTorch's cache, and return its path.

    A name that ends in the beginning of the file's SHA-256, ``NAME-d70e859d.pth`` by the convention of torchvision and
    OpenMMLab, is checked.

    Raises:
        DownloadError: The file is not there and cannot be downloaded.
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
            except (OSError, http.client.HTTPException) as error:
                if getattr(error, 'filename', None) and not isinstance(error, URLError):
                    raise
                reason = getattr(error, 'reason', error)
                raise DownloadError(f'cannot download {url} ({reason}): put the file at {path}') from error
        barrier()
    return path
