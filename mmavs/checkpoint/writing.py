"""Write weights with their meta information, as a file of ``torch.save`` or of safetensors."""
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmavs.utils.json_files import to_json
from mmavs.utils.optional_packages import optional_import

from .reading import SAFETENSORS_META

SAFETENSORS = '.safetensors'


def write_weights(path: str | Path, weights: Mapping[str, Tensor], meta: Mapping[str, Any], suffix: str) -> None:
    """Write a checkpoint that holds weights and meta information only; the same content makes the same bytes.

    Args:
        path: The file.
        weights: State dict. Tensors that share memory are written separately, views without the rest of their storage.
        meta: Meta information of plain values with texts as keys. A safetensors file holds it as JSON, in which tuples
            are lists.
        suffix: Suffix that the file will have; ``.safetensors`` selects that format, others that of ``torch.save``.

    Raises:
        ImportError: The package safetensors is not installed.
    """
    weights = {key: x.detach().cpu().contiguous().clone() for key, x in weights.items()}
    with open(path, 'wb') as file:
        if suffix == SAFETENSORS:
            save = optional_import('safetensors.torch', 'writing a safetensors file').save
            # A single entry: the package writes several in random order.
            file.write(save(weights, {SAFETENSORS_META: to_json(dict(meta), indent=None)}))
        else:
            torch.save(dict(state_dict=weights, meta=dict(meta)), file)
