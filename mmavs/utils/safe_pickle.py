"""Read tensors from untrusted pickles without executing anything in them."""
import collections
import io
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._utils

try:
    from numpy._core import multiarray, numeric
except ImportError:  # numpy 1
    from numpy.core import multiarray, numeric

# The first bytes of the two containers that torch.save writes: a zip archive; a pickle of its magic number.
TORCH_SAVE_PREFIXES = (b'PK\x03\x04', b'\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19')


def load_tensor(path: str | Path) -> torch.Tensor:
    """Read the tensor (or numpy array) that a pickle file holds.

    Reads plain pickles of tensors, parameters and arrays, such as the ``audio_log_mel/*.pkl`` of AVSBench, and files
    of ``torch.save``, old and new. The file may only call the functions that rebuild tensors and arrays. Tensors saved
    from a GPU are moved to the CPU, and none requires a gradient.

    Args:
        path: The file.

    Returns:
        The tensor, on the CPU.

    Raises:
        FileNotFoundError: The file does not exist.
        pickle.UnpicklingError: The file asks for a global that is not needed to rebuild a tensor; it is not executed.
        ValueError: The file is truncated or damaged, or holds something other than a tensor or an array.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file, expected a pickled tensor')
    data = path.read_bytes()
    try:
        content = _load_torch_save(data) if data.startswith(TORCH_SAVE_PREFIXES) else unpickle_tensors(data)
    except RefusedGlobalError as error:
        raise pickle.UnpicklingError(
            f'{path}: refused, the pickle asks for {error}, which no tensor needs and which could run code. Nothing '
            'was executed. Get the file from its original source, or save the tensor anew') from None
    except Exception as error:
        reason = f'{type(error).__name__}: {error}'.splitlines()[0]
        raise ValueError(f'{path}: not a readable pickle of a tensor, it is truncated or damaged ({reason})') from error
    if isinstance(content, np.ndarray) and content.dtype != object:
        content = torch.from_numpy(np.ascontiguousarray(content))
    if not isinstance(content, torch.Tensor):
        raise ValueError(f'{path}: holds a {type(content).__name__}, expected one tensor or array')
    return content.detach().cpu()


class RefusedGlobalError(Exception):
    """A pickle asks for a class or function that is not on the list; the message is its name."""


def _load_torch_save(data: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='TypedStorage is deprecated')
        try:
            return torch.load(io.BytesIO(data), map_location='cpu', weights_only=True)
        except pickle.UnpicklingError as error:
            refused = re.search(r'(?:GLOBAL|global) `?([\w.]+)', str(error))
            if refused:
                raise RefusedGlobalError(refused[1]) from None
            raise


def unpickle_tensors(data: bytes) -> Any:
    """Read a plain pickle of tensors, arrays and built-in containers; :class:`RefusedGlobalError` names others."""
    return _TensorUnpickler(io.BytesIO(data)).load()


def _encode_latin1(text: str, encoding: str) -> bytes:
    """Stand in for ``_codecs.encode``, of which arrays in old pickle protocols need latin1 only."""
    if encoding != 'latin1':
        raise ValueError(f'encoding {encoding!r} in an array, expected latin1')
    return text.encode('latin1')


_ALLOWED_GLOBALS = {
    ('torch._utils', '_rebuild_tensor_v2'): torch._utils._rebuild_tensor_v2,
    ('torch._utils', '_rebuild_parameter'): torch._utils._rebuild_parameter,
    # PyTorch's own function of this name unpickles without restriction.
    ('torch.storage', '_load_from_bytes'): _load_torch_save,
    ('torch', 'Size'): torch.Size,
    ('collections', 'OrderedDict'): collections.OrderedDict,
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    ('_codecs', 'encode'): _encode_latin1,
}
for _module in ('numpy.core', 'numpy._core'):
    _ALLOWED_GLOBALS[f'{_module}.multiarray', '_reconstruct'] = multiarray._reconstruct
    _ALLOWED_GLOBALS[f'{_module}.numeric', '_frombuffer'] = numeric._frombuffer


class _TensorUnpickler(pickle.Unpickler):

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED_GLOBALS[module, name]
        except KeyError:
            raise RefusedGlobalError(f'{module}.{name}') from None
