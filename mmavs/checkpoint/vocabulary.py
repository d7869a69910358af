"""Names that files of tensors may use, and what each may make: plain values, arrays and tensors.

No name stands for a class or function of a library: each makes its object from arguments that are checked first.
"""
from __future__ import annotations

import argparse
import re
from collections import Counter, OrderedDict
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from .pickle_reader import MAX_SIZE, DamagedPickleError, Name, RefusedGlobalError, Unfinished, check_keys
from .storages import Storage, make_tensor

# Types of numbers, and fixed-size texts; no objects, records or dates. Complex numbers are read, so that a message can
# name the weight that has them.
DTYPES = re.compile(r'b1|[iu][1248]|f(?:2|4|8|16)|c(?:8|16)|[SU]\d{1,6}')
STORAGE_DTYPES = {
    'DoubleStorage': torch.float64,
    'FloatStorage': torch.float32,
    'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16,
    'LongStorage': torch.int64,
    'IntStorage': torch.int32,
    'ShortStorage': torch.int16,
    'CharStorage': torch.int8,
    'ByteStorage': torch.uint8,
    'BoolStorage': torch.bool,
    'ComplexFloatStorage': torch.complex64,
    'ComplexDoubleStorage': torch.complex128,
}


class StorageType(Name):
    """Type of a storage in a persistent id.

    Attributes:
        dtype: Type of its numbers; None: bytes of any type.
    """
    __slots__ = ('dtype', )

    def __init__(self, text: str, dtype: torch.dtype | None) -> None:
        super().__init__(text)
        self.dtype = dtype


class ArrayType(Unfinished):
    """Type of the elements of an array."""
    __slots__ = ('code', 'order')

    def __init__(self, code: str, align: bool | int = False, copy: bool | int = True) -> None:
        super().__init__()
        if not isinstance(code, str) or not DTYPES.fullmatch(code):
            raise RefusedGlobalError(f'an array of type {code!r}'[:60])
        self.code, self.order = code, '='

    def finish(self, state: Any) -> ArrayType:
        # Version, byte order, shape, names and fields of a record; then sizes, which the code states already.
        version, order, *record = state[:5]
        if version not in (3, 4) or order not in ('<', '>', '|', '=') or any(x is not None for x in record):
            raise RefusedGlobalError('an array type with fields')
        finished = ArrayType(self.code)
        finished.order = order
        return finished

    @property
    def dtype(self) -> np.dtype:
        """The type in numpy."""
        return np.dtype(self.order + self.code)


class UnfinishedArray(Unfinished):
    """Array whose state follows."""
    __slots__ = ()

    def finish(self, state: Any) -> np.ndarray:
        _, shape, kind, is_fortran, data = state
        return _array(data, kind, shape, 'F' if is_fortran else 'C')


class UnfinishedHistory(Unfinished):
    """HistoryBuffer of MMEngine whose state follows."""
    __slots__ = ()

    def finish(self, state: Any) -> HistoryBuffer:
        logs, counts = state['_log_history'], state['_count_history']
        length = state.get('max_length', 1000000)
        if not all(isinstance(x, np.ndarray) and x.ndim == 1 and x.dtype.kind in 'biuf' for x in (logs, counts)):
            raise DamagedPickleError('a HistoryBuffer without numbers')
        if type(length) is not int or not len(logs) <= length:
            raise DamagedPickleError('a HistoryBuffer longer than it says')
        return HistoryBuffer(logs, counts, length)


class UnfinishedNamespace(Unfinished):
    """Parsed command-line arguments whose state follows."""
    __slots__ = ()

    def finish(self, state: Any) -> argparse.Namespace:
        if not all(type(key) is str for key in state):
            raise DamagedPickleError('an argument without a name')
        return argparse.Namespace(**state)


def _array(data: Any, kind: Any, shape: Any, order: str) -> np.ndarray:
    """Make an array from its bytes, which must be as many as type and shape state."""
    data = data.encode('latin1') if isinstance(data, str) else data
    if not isinstance(kind, ArrayType) or not isinstance(data, bytes | bytearray):
        raise DamagedPickleError('an array without type or bytes')
    _check_sizes(shape)
    dtype = kind.dtype
    if prod(shape) * dtype.itemsize != len(data):
        raise DamagedPickleError(f'an array of shape {shape} and type {dtype} with {len(data)} bytes')
    if dtype.kind == 'b' and max(data, default=0) > 1:
        raise DamagedPickleError('an array of bool with other values')
    if dtype.kind == 'U' and np.frombuffer(data, f'{dtype.byteorder}u4').max(initial=0) > 0x10ffff:
        raise DamagedPickleError('an array of texts with other values')
    array = np.frombuffer(data, dtype) if dtype.itemsize else np.zeros(prod(shape), dtype)
    return array.astype(dtype.newbyteorder('='), copy=True).reshape(shape, order=order)


def _check_sizes(sizes: Any) -> None:
    if type(sizes) is not tuple or len(sizes) > 32 or not all(
            type(x) is int and 0 <= x < MAX_SIZE for x in sizes):
        raise DamagedPickleError(f'a shape that is {sizes!r}'[:80])


def _reconstruct(kind: Any, shape: Any, code: Any) -> UnfinishedArray:
    if kind is not NDARRAY:
        raise RefusedGlobalError('an array of another class')
    return UnfinishedArray()


def _scalar(kind: Any, data: Any) -> np.generic:
    return _array(data, kind, (1, ), 'C')[0]


def _encode(text: Any, encoding: Any) -> bytes:
    """``_codecs.encode``, of which bytes in old protocols need latin1 only."""
    if not isinstance(text, str) or encoding != 'latin1':
        raise DamagedPickleError(f'encoding {encoding!r}'[:60])
    return text.encode('latin1')


def _ordered_dict(pairs: Any = ()) -> OrderedDict:
    if not isinstance(pairs, list | tuple) or not all(isinstance(x, list | tuple) and len(x) == 2 for x in pairs):
        raise DamagedPickleError('an OrderedDict without pairs')
    check_keys([key for key, _ in pairs])
    return OrderedDict(pairs)


def _counter(counts: Any = None) -> Counter:
    counts = {} if counts is None else counts
    if type(counts) is not dict or not all(type(x) is int for x in counts.values()):
        raise DamagedPickleError('a Counter without counts')
    return Counter(counts)


def _set(items: Any = ()) -> set:
    if not isinstance(items, list | tuple):
        raise DamagedPickleError('a set without items')
    return set(check_keys(list(items)))


def _size(sizes: Any = ()) -> torch.Size:
    _check_sizes(sizes)
    return torch.Size(sizes)


def _device(kind: Any, index: Any = None) -> torch.device:
    if not isinstance(kind, str) or not re.fullmatch(r'[a-z]{1,20}(:\d{1,3})?', kind) or not (
            index is None or type(index) is int and 0 <= index < 1000):
        raise DamagedPickleError('a device without a name')
    return torch.device(kind) if index is None else torch.device(kind, index)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """Tensor; whether it requires a gradient, its hooks and its Python attributes are left out."""
    if not isinstance(storage, Storage):
        raise DamagedPickleError('a tensor without a storage')
    return make_tensor(storage, offset, size, stride)


def _tensor_v3(storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any,
               *_: Any) -> Tensor:
    if not isinstance(storage, Storage) or not isinstance(dtype, torch.dtype):
        raise DamagedPickleError('a tensor without a storage or type')
    return make_tensor(storage.view(dtype), offset, size, stride)


def _parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise DamagedPickleError('a parameter without a tensor')
    return data


def _from_type(function: Any, kind: Any, arguments: Any, state: Any) -> Tensor:
    """Tensor with Python attributes, which are left out."""
    known = any(function is x for x in TENSORS) and (kind is TENSOR or kind is PARAMETER)
    if not known or not isinstance(arguments, tuple):
        raise RefusedGlobalError('a tensor of another class')
    return function.call(*arguments)


def _history_method(owner: Any, name: Any) -> Name:
    """Restricted ``getattr``: methods of HistoryBuffer, which its state lists and which are not used."""
    if owner is not HISTORY or name not in HISTORY_METHODS:
        raise RefusedGlobalError('builtins.getattr')
    return HISTORY_METHODS[name]


def _new(kind: Any, base: Any, state: Any) -> Unfinished:
    """``copyreg._reconstructor``, which old protocols use for any class."""
    if not (kind is HISTORY or kind is NAMESPACE) or base is not OBJECT or state is not None:
        raise RefusedGlobalError('copyreg._reconstructor')
    return kind.call()


NDARRAY = Name('numpy.ndarray')
TENSOR = Name('torch.Tensor')
PARAMETER = Name('torch.nn.Parameter')
OBJECT = Name('builtins.object')
HISTORY = Name('mmengine.logging.HistoryBuffer', UnfinishedHistory)
HISTORY_METHODS = {name: Name(f'HistoryBuffer.{name}') for name in ('min', 'max', 'current', 'mean')}
NAMESPACE = Name('argparse.Namespace', UnfinishedNamespace)
TENSORS = (Name('torch._utils._rebuild_tensor', _tensor), Name('torch._utils._rebuild_tensor_v2', _tensor),
           Name('torch._utils._rebuild_tensor_v3', _tensor_v3))

#: Names of plain values and arrays.
VALUES: dict[tuple[str, str], Any] = {
    ('collections', 'OrderedDict'): Name('OrderedDict', _ordered_dict),
    ('collections', 'Counter'): Name('Counter', _counter),
    ('_codecs', 'encode'): Name('_codecs.encode', _encode),
    ('copyreg', '_reconstructor'): Name('copyreg._reconstructor', _new),
    ('copy_reg', '_reconstructor'): Name('copyreg._reconstructor', _new),
    ('numpy', 'ndarray'): NDARRAY,
    ('numpy', 'dtype'): Name('numpy.dtype', ArrayType),
    ('argparse', 'Namespace'): NAMESPACE,
    ('mmengine.logging.history_buffer', 'HistoryBuffer'): HISTORY,
    **{('mmengine.logging.history_buffer', f'HistoryBuffer.{name}'): x for name, x in HISTORY_METHODS.items()},
    ('torch', 'Size'): Name('torch.Size', _size),
    ('torch', 'device'): Name('torch.device', _device),
}
for _module in ('builtins', '__builtin__'):
    VALUES |= {
        (_module, 'object'): OBJECT,
        (_module, 'set'): Name('set', _set),
        (_module, 'frozenset'): Name('frozenset', lambda items=(): frozenset(_set(items))),
        (_module, 'bytearray'): Name('bytearray', _encode),
        (_module, 'getattr'): Name('getattr', _history_method),
    }
for _module in ('numpy.core', 'numpy._core'):
    VALUES |= {
        (f'{_module}.multiarray', '_reconstruct'): Name('numpy._reconstruct', _reconstruct),
        (f'{_module}.multiarray', 'scalar'): Name('numpy.scalar', _scalar),
        (f'{_module}.numeric', '_frombuffer'): Name('numpy._frombuffer', _array),
    }

#: Names of tensors too.
NAMES: Mapping[tuple[str, str], Any] = {
    **VALUES,
    **{('torch._utils', name.text.rpartition('.')[2]): name for name in TENSORS},
    ('torch._utils', '_rebuild_parameter'): Name('torch._utils._rebuild_parameter', _parameter),
    ('torch._tensor', '_rebuild_from_type_v2'): Name('torch._tensor._rebuild_from_type_v2', _from_type),
    ('torch', 'Tensor'): TENSOR,
    ('torch.nn.parameter', 'Parameter'): PARAMETER,
    **{('torch', name): StorageType(f'torch.{name}', dtype) for name, dtype in STORAGE_DTYPES.items()},
    ('torch.storage', 'UntypedStorage'): StorageType('torch.storage.UntypedStorage', None),
    **{('torch', str(dtype).partition('.')[2]): dtype for dtype in {*STORAGE_DTYPES.values()}},
}
