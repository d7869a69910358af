"""Publish a checkpoint: its weights alone, in a file whose name ends in the beginning of its SHA-256."""
import filecmp
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmavs.utils.files import PARTIAL, errors_with_name, stream_sha256
from mmavs.utils.json_files import to_json
from mmavs.version import __version__

from .reading import check_dtypes, check_finite, normalize_checkpoint, read_checkpoint
from .training_settings import TRAINED_FOR
from .writing import SAFETENSORS, write_weights

# Meta information that is published: class names and colors, input size and config, origin of a converted file, and
# what a test report states about the training. The text of the whole config, with paths of its machine, is left out.
META_KEYS = ('dataset_meta', TRAINED_FOR, 'source', 'source_file', 'experiment_name', 'seed', 'epoch', 'iter',
             'mmengine_version', 'mmavs_version')
SUFFIXES = (SAFETENSORS, '.pth')
# Digits of the SHA-256 in the name, the convention of OpenMMLab and torchvision.
NUM_DIGITS = 8
# EMAHook keeps the averages in a wrapper.
AVERAGED_PREFIX = 'module.'


@dataclass(frozen=True)
class Publication:
    """A published checkpoint.

    Attributes:
        path: The file.
        sha256: SHA-256 of the file.
        num_tensors: Number of its tensors.
        averaged: Whether it holds the average of EMAHook; None for a training without.
        meta: Its meta information.
        existed: Whether the same file was there before.
    """
    path: Path
    sha256: str
    num_tensors: int
    averaged: bool | None
    meta: dict[str, Any]
    existed: bool


def publish_checkpoint(src: str | Path, dst: str | Path, averaged: bool = True) -> Publication:
    """Write the weights of a checkpoint, without the state of its training, to a file for others.

    The file is read again and compared before it gets its name.

    Args:
        src: A checkpoint of a training, a converted one, or a bare state dict.
        dst: Name of the file, to which ``-`` and the first 8 digits of its SHA-256 are added: ``vct.safetensors``
            becomes ``vct-0f1e2d3c.safetensors``. The suffix ``.pth`` selects the format of ``torch.save``; without a
            suffix it is safetensors.
        averaged: Of a training with EMAHook, publish the average, which was validated; False: the weights of the
            optimizer. Other checkpoints have one kind of weights only.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ImportError: The package safetensors is not installed.
        ValueError: The checkpoint cannot be read, has weights that are NaN, infinite or complex, or no average to
            leave out; or another file has the name.
    """
    dst = Path(dst).expanduser()
    suffix = dst.suffix if dst.suffix in SUFFIXES else SAFETENSORS
    checkpoint = normalize_checkpoint(read_checkpoint(src), str(src))
    weights, has_average = checkpoint['state_dict'], 'ema_state_dict' in checkpoint
    if not averaged:
        weights = _optimizer_weights(checkpoint, str(src))
    meta = dict(mmavs_version=__version__) | _plain_meta(checkpoint.get('meta', {}), str(src))
    dst.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, because its name depends on the content.
    with tempfile.TemporaryDirectory(prefix=f'{dst.name}.', suffix=PARTIAL, dir=dst.parent) as directory:
        partial = Path(directory, f'checkpoint{suffix}')
        with errors_with_name(dst):
            write_weights(partial, weights, meta, suffix)
        _check_equal(partial, weights)
        with partial.open('rb') as file:
            sha256 = stream_sha256(file)
        path = dst.with_name(f'{dst.name.removesuffix(suffix)}-{sha256[:NUM_DIGITS]}{suffix}')
        existed = path.exists()
        if existed and not (path.is_file() and filecmp.cmp(path, partial, shallow=False)):
            raise ValueError(f'{path}: is there already and is another file; remove it, or choose another name')
        os.replace(partial, path)
    return Publication(path, sha256, len(weights), averaged if has_average else None, meta, existed)


def _plain_meta(meta: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Take what is published, as JSON has it: equal in both formats."""
    try:
        return json.loads(to_json({key: meta[key] for key in META_KEYS if key in meta}))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: its 'meta' holds more than texts, numbers and lists ({error}): save its weights "
                         'alone, dict(state_dict=...), and publish that') from error


def _optimizer_weights(checkpoint: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """Weights of a training with EMAHook before averaging: parts that are not averaged are those of the state dict."""
    weights, kept = checkpoint['state_dict'], checkpoint.get('ema_state_dict')
    if not isinstance(kept, Mapping):
        raise ValueError(f'{name}: has no ema_state_dict, its training did not average weights (EMAHook): publish it '
                         'without --no-ema')
    raw = {key.removeprefix(AVERAGED_PREFIX): x for key, x in kept.items()
           if isinstance(key, str) and key.startswith(AVERAGED_PREFIX)}
    wrong = [key for key, x in raw.items()
             if key not in weights or not isinstance(x, Tensor) or x.shape != weights[key].shape]
    if wrong or not raw:
        raise ValueError(f'{name}: ema_state_dict does not belong to its state_dict'
                         f'{f" ({wrong[0]})" if wrong else ""}, expected a checkpoint of EMAHook')
    check_dtypes(raw, name)
    check_finite(raw, name)
    return {**weights, **raw}


def _check_equal(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Raise a ValueError unless the file, read as every reader of mmavs does, holds these weights to the bit."""
    found = normalize_checkpoint(read_checkpoint(path), path.name)['state_dict']
    for key, x in weights.items():
        if key not in found or found[key].dtype != x.dtype or not torch.equal(found[key], x):
            raise ValueError(f'{path}: {key} differs after it was written, and the file was not kept: the disk or the '
                             'memory is damaged, or the name is one that the format does not keep')
