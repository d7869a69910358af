"""Check that the content of a file is plain."""
import argparse
from collections import Counter, OrderedDict
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from .pickle_reader import DamagedPickleError, Name
from .storages import MAX_SHARING

LEAVES = (str, bytes, bytearray, int, float, bool, type(None), torch.Tensor, torch.Size, torch.dtype, torch.device,
          HistoryBuffer)
MAX_DEPTH = 100


def check_plain(content: Any, size: int) -> None:
    """Raise a DamagedPickleError unless the content is of plain values, tensors, arrays and containers of these.

    Args:
        content: The content of a file.
        size: Bytes of the file: more values than a multiple of that, which shared containers can make, are an error.
    """
    sizes: dict[int, int] = {}
    open_containers: set[int] = set()
    # Containers are visited twice: to visit their items, and to add up the sizes of these.
    stack = [(content, 0, False)]
    while stack:
        value, depth, is_done = stack.pop()
        key = id(value)
        if isinstance(value, LEAVES) or isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
            continue
        if type(value) not in (dict, OrderedDict, Counter, list, tuple, set, frozenset, argparse.Namespace):
            name = value.text if isinstance(value, Name) else type(value).__name__
            raise DamagedPickleError(f'a {name} in place of a value')
        items = _items(value)
        if is_done:
            open_containers.discard(key)
            sizes[key] = 1 + sum(sizes.get(id(item), 1) for item in items)
            if sizes[key] > MAX_SHARING * size:
                raise DamagedPickleError('its containers share each other too often')
        elif key in open_containers:
            raise DamagedPickleError('a container that holds itself')
        elif key not in sizes:
            if depth > MAX_DEPTH:
                raise DamagedPickleError(f'containers within containers, deeper than {MAX_DEPTH}')
            open_containers.add(key)
            stack.append((value, depth, True))
            stack += [(item, depth + 1, False) for item in items]


def _items(value: Any) -> list:
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    return list(value.values()) if isinstance(value, dict) else list(value)
