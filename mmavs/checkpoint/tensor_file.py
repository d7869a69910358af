"""Read the tensor or array of a file."""
import io
import pickle
from pathlib import Path

import numpy as np
import torch

from .pickle_reader import RefusedGlobalError
from .reading import read_content


def load_tensor(path: str | Path) -> torch.Tensor:
    """Read the tensor (or numpy array) that a pickle file holds.

    Reads plain pickles of tensors, parameters and arrays, such as the ``audio_log_mel/*.pkl`` of AVSBench, and files
    of ``torch.save``, old and new, with the vocabulary of :mod:`mmavs.checkpoint.vocabulary`. Tensors saved from a GPU
    are moved to the CPU, and none requires a gradient.

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
        content = read_content(io.BytesIO(data), len(data))
    except RefusedGlobalError as error:
        raise pickle.UnpicklingError(
            f'{path}: refused, the pickle asks for {error}, which no tensor needs and which could run code. Nothing '
            'was executed. Get the file from its original source, or save the tensor anew') from None
    except Exception as error:
        reason = f'{type(error).__name__}: {error}'.splitlines()[0]
        raise ValueError(f'{path}: not a readable pickle of a tensor, it is truncated or damaged ({reason})') from error
    if isinstance(content, np.ndarray) and content.dtype.kind in 'biuf':
        content = torch.from_numpy(content)
    if not isinstance(content, torch.Tensor):
        raise ValueError(f'{path}: holds a {type(content).__name__}, expected one tensor or array')
    if content.is_complex():
        raise ValueError(f'{path}: holds {content.numel()} complex numbers, expected real ones')
    return content
