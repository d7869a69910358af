"""Storages of tensors, and tensors inside them."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .pickle_reader import MAX_SIZE, DamagedPickleError

# Tensors of a file may share storages (tied weights), and containers their items (one object under many names), but all
# of them together may not hold more than this many times what the file has bytes: a file of a few bytes with a million
# views would take hours.
MAX_SHARING = 32


@dataclass
class Budget:
    """Bytes that the tensors of a file may still have.

    Attributes:
        num_bytes: Their number.
    """
    num_bytes: int

    def take(self, num_bytes: int) -> None:
        """Take some of them; a DamagedPickleError if there are not enough."""
        self.num_bytes -= num_bytes
        if self.num_bytes < 0:
            raise DamagedPickleError(f'its tensors are more than {MAX_SHARING} times as large as the file')


@dataclass
class Storage:
    """Memory of tensors.

    Attributes:
        memory: Its bytes.
        dtype: Type of its numbers.
        budget: Bytes that tensors of the file may have.
    """
    memory: torch.UntypedStorage
    dtype: torch.dtype
    budget: Budget

    def view(self, dtype: torch.dtype) -> Storage:
        """Return the same memory with another type of numbers."""
        return Storage(self.memory, dtype, self.budget)


def make_tensor(storage: Storage, offset: Any, size: Any, stride: Any) -> Tensor:
    """Make a tensor in a storage.

    Raises:
        DamagedPickleError: It is not inside the storage, or has more elements than it.
    """
    numbers = (offset, *size, *stride)
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride) or len(size) > 64:
        raise DamagedPickleError('a tensor without size and stride')
    if not all(type(x) is int and 0 <= x < MAX_SIZE for x in numbers):
        raise DamagedPickleError(f'a tensor of size {size}, stride {stride} and offset {offset}'[:200])
    available = storage.memory.nbytes() // storage.dtype.itemsize
    count, last = 1, offset
    for length, step in zip(size, stride):
        count *= length
        last += (length - 1) * step
    if count > available or count and last >= available or offset > available:
        raise DamagedPickleError(f'a tensor of size {size}, stride {stride} and offset {offset} in a storage of '
                                 f'{available} elements'[:200])
    storage.budget.take(count * storage.dtype.itemsize)
    tensor = torch.empty(0, dtype=storage.dtype, device=storage.memory.device)
    tensor.set_(storage.memory, offset, size, stride)
    check_bool(tensor)
    return tensor


def check_bool(tensor: Tensor) -> None:
    """Raise a DamagedPickleError if a tensor of bool has a byte other than 0 and 1, which PyTorch does not expect."""
    if tensor.dtype == torch.bool and tensor.numel() and not tensor.is_meta and tensor.view(torch.uint8).max() > 1:
        raise DamagedPickleError('a tensor of bool with other values')
