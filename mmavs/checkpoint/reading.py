"""Read checkpoints without executing anything in them."""
import json
import pickle
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

from mmavs.utils.files import stream_sha256
from mmavs.utils.optional_packages import optional_import
from mmavs.utils.zoo import advice_for_missing, stated_sha256

from .content import check_plain
from .pickle_reader import DamagedPickleError, RefusedGlobalError
from .storages import check_bool
from .torch_files import (
    LEGACY_PREFIX,
    ZIP_PREFIX,
    MapLocation,
    read_legacy_file,
    read_plain_pickle,
    read_torch_file,
)

# Keys under which programs save a state dict: MMEngine and Lightning; detectron2; PyTorch's tutorials; others.
CONTAINERS = ('state_dict', 'model', 'model_state_dict', 'net', 'weights')
# Prefixes that wrappers give to all keys: distributed training, torch.compile, the module of Lightning.
WRAPPERS = ('module.', '_orig_mod.', 'model.')
# Buffers that thop (FLOP counter) adds to every module.
COUNTERS = ('total_ops', 'total_params')
# Types of weights; the layers of PyTorch compute with no others.
WEIGHT_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8, torch.int8,
                torch.int16, torch.int32, torch.int64)
# Kinds of numpy's types that become tensors: bool, integers, real and complex numbers; no texts.
NUMBER_KINDS = 'biufc'
# Meta information whose texts messages and reports quote; others (the config, the environment) may have several lines.
META_TEXTS = ('dataset_meta', 'trained_for', 'experiment_name', 'source', 'source_file', 'mmengine_version',
              'mmavs_version')
#: Key of the metadata of a safetensors file whose text, JSON, is the meta information of a checkpoint.
SAFETENSORS_META = 'mmavs_meta'


def read_checkpoint(path: str | Path, map_location: MapLocation = 'cpu') -> Any:
    """Read a checkpoint file; it may hold tensors, arrays, MMEngine's history and parsed arguments, nothing else.

    If a metafile of the model zoo states the SHA-256 of a published file of this name, the file must have it.

    Args:
        path: A file of ``torch.save``, a safetensors file, or a plain pickle of tensors or arrays (detectron2's
            ``.pkl``). The content decides, not the suffix.
        map_location: Device of its tensors, as in :func:`torch.load`; None: the CPU.

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
        raise FileNotFoundError(f'{path}: no such checkpoint{advice_for_missing(path)}')
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


def read_stream(file: BinaryIO, name: str | Path, map_location: MapLocation = None) -> Any:
    """Read an open file or a buffer as :func:`read_checkpoint` does; ``name`` begins the messages."""
    size = file.seek(0, 2)
    try:
        return read_content(file, size, map_location)
    except RefusedGlobalError as error:
        raise pickle.UnpicklingError(
            f'{name}: refused, the checkpoint asks for {error}, which could run code; nothing was executed. Get it '
            'from its original source or, if you made it yourself, save it anew with tensors and plain Python values '
            'only') from None
    except ImportError as error:
        raise ImportError(f'{name}: {error}') from error
    except Exception as error:
        kind = '' if isinstance(error, DamagedPickleError) else f'{type(error).__name__}: '
        reason = f'{kind}{error}'.splitlines()[0] if f'{error}' else type(error).__name__
        raise ValueError(f'{name}: not a readable checkpoint of {size} bytes, it is truncated, damaged or of another '
                         f'kind ({reason}). Copy or download it again') from error


def read_content(file: BinaryIO, size: int, map_location: MapLocation = None) -> Any:
    """Read an open file of any kind; exceptions do not name it."""
    file.seek(0)
    header = file.read(32)
    if header.startswith(ZIP_PREFIX):
        content = read_torch_file(file, map_location)
    else:
        file.seek(0)
        data = file.read()
        if _is_safetensors(header, size):
            content = _read_safetensors(data, map_location)
        elif header.startswith(LEGACY_PREFIX):
            content = read_legacy_file(data, map_location)
        else:
            content = read_plain_pickle(data)
    check_plain(content, size)
    return content


def _is_safetensors(header: bytes, size: int) -> bool:
    """Recognize a safetensors file: the length of its JSON header in 8 bytes, then the header."""
    return header[8:9] == b'{' and int.from_bytes(header[:8], 'little') < size


def _read_safetensors(data: bytes, map_location: MapLocation) -> dict[str, Any]:
    """Read the weights and, if the file states it, the meta information; without it, the bare state dict."""
    weights = optional_import('safetensors.torch', 'reading a safetensors file').load(data)
    for x in weights.values():
        check_bool(x)
    if isinstance(map_location, str | torch.device):
        weights = {key: x.to(map_location) for key, x in weights.items()}
    header = json.loads(data[8:8 + int.from_bytes(data[:8], 'little')])
    meta = header.get('__metadata__', {}).get(SAFETENSORS_META)
    return weights if meta is None else dict(state_dict=weights, meta=json.loads(meta))


def extract_state_dict(checkpoint: Any, name: str) -> dict[str, Tensor]:
    """Take the state dict out of a checkpoint.

    Arrays become tensors. Prefixes that wrappers give to all keys (:data:`WRAPPERS`) are removed, and ``_orig_mod.``,
    which torch.compile gives to a compiled part, everywhere. Counters of thop are left out, with a note.

    Args:
        checkpoint: A state dict, or a dict that holds one under one of the keys :data:`CONTAINERS`.
        name: File name, for errors.

    Raises:
        ValueError: The checkpoint holds no state dict, two weights of one name, or weights that are NaN, infinite,
            complex, or of another type that no layer has.
    """
    weights = _find_state_dict(checkpoint)
    if not isinstance(weights, Mapping) or not weights:
        raise ValueError(f'{name}: holds no weights but a {type(weights).__name__}, {_EXPECTED}')
    weights = {key: _as_tensor(x) for key, x in weights.items()}
    for key, value in weights.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            kind = f'{value.dtype} array' if isinstance(value, np.ndarray) else type(value).__name__
            raise ValueError(f'{name}: {key!r} is a {kind}, {_EXPECTED}')
        if not key.isprintable():  # messages quote the names
            raise ValueError(f'{name}: the weight {key!r:.200} has control characters in its name, which no model has: '
                             'the file was changed or damaged')
    counters = [key for key in weights if key.rpartition('.')[2] in COUNTERS]
    if counters:
        print_log(f'{name}: ignored {len(counters)} counters of thop, such as {counters[0]}', 'current')
    weights = _unwrap_names({key: x for key, x in weights.items() if key not in set(counters)}, name)
    check_dtypes(weights, name)
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


def _as_tensor(value: Any) -> Any:
    """Convert an array of numbers; anything else is returned unchanged."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in NUMBER_KINDS:
        return value
    # PyTorch has no numbers of more than 64 bits, which only some machines have.
    return torch.from_numpy(value.astype(np.float64) if value.dtype == np.longdouble else value)


def _unwrap_names(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    while weights and (common := [x for x in WRAPPERS if all(key.startswith(x) for key in weights)]):
        weights = {key.removeprefix(common[0]): x for key, x in weights.items()}
    unwrapped = {key.replace('_orig_mod.', ''): x for key, x in weights.items()}
    if len(unwrapped) < len(weights):
        key = Counter(key.replace('_orig_mod.', '') for key in weights).most_common(1)[0][0]
        raise ValueError(f'{name}: holds {key} twice, with and without the prefix _orig_mod. of torch.compile: save '
                         'the weights of one of them')
    return unwrapped


def check_dtypes(weights: Mapping[str, Tensor], name: str) -> None:
    """Raise a ValueError that names the first tensor of a type that no layer has, such as complex numbers."""
    refused = {key: x for key, x in weights.items() if x.dtype not in WEIGHT_TYPES}
    for key, x in refused.items():
        kind = 'complex values' if x.is_complex() else f'values of {x.dtype}'
        raise ValueError(f'{name}: {key} holds {x.numel()} {kind}{_further(refused)}, expected real numbers of '
                         '16, 32 or 64 bits: save the weights as float32')


def check_finite(weights: Mapping[str, Tensor], name: str) -> None:
    """Raise a ValueError that names the first tensor with NaN or infinite values."""
    infinite = {key: x for key, x in weights.items() if not _is_finite(x)}
    for key, x in infinite.items():
        raise ValueError(f'{name}: {key} holds {int((~x.isfinite()).sum())} NaN or infinite values of {x.numel()}'
                         f'{_further(infinite)}: the training that wrote it has diverged; use an earlier checkpoint, '
                         'or train again with a lower learning rate')


def check_texts(value: Any, name: str, key: str) -> None:
    """Raise a ValueError that names a text with control characters, such as a class name; messages quote them."""
    if isinstance(value, str) and not value.isprintable():
        raise ValueError(f'{name}: {key} is {value!r:.200}, expected a text without control characters: save its '
                         'weights alone, dict(state_dict=...)')
    if isinstance(value, Mapping):
        for child, x in value.items():
            check_texts(child, name, f'a key of {key}')
            check_texts(x, name, f'{key}.{child}')
    elif isinstance(value, list | tuple | set | frozenset):
        for i, x in enumerate(value):
            check_texts(x, name, f'{key}.{i}')


def _further(refused: Mapping[str, Tensor]) -> str:
    return f', as do {len(refused) - 1} more tensors' if len(refused) > 1 else ''


def _is_finite(x: Tensor) -> bool:
    # The terms of a finite sum are finite; it is faster than a test of each, which decides if a sum overflows.
    return bool(x.sum().isfinite()) or bool(x.isfinite().all())


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
    averaged = others.get('ema_state_dict')  # of EMAHook, weights too
    if isinstance(averaged, Mapping):
        tensors = {f'ema_state_dict.{key}': x for key, x in averaged.items() if isinstance(x, Tensor)}
        check_dtypes(tensors, name)
        check_finite(tensors, name)
    if 'meta' in others:
        meta = others['meta']
        if not isinstance(meta, dict):
            raise ValueError(f"{name}: 'meta' is a {type(meta).__name__}, expected a dict of plain values: MMEngine "
                             'did not write this checkpoint; save its weights alone, dict(state_dict=...)')
        check_texts({key: meta[key] for key in META_TEXTS if key in meta}, name, 'meta')
        meta.pop('config', None)
    return dict(others, state_dict=weights)
