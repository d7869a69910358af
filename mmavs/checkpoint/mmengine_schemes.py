"""Replace MMEngine's checkpoint loaders by the safe reader.

Importing this module, as ``mmavs.registry`` does, directs ``load_from``, ``resume`` and
``init_cfg=dict(type='Pretrained')`` of files, URLs and every other scheme to :mod:`mmavs.checkpoint.reading`. The
loaders of MMEngine fall back to unrestricted unpickling, its resumed runs execute a config that the checkpoint stores
as text, and files with another layout than ``dict(state_dict=...)`` load nothing, without an error.
"""
from collections.abc import Callable
from typing import Any, BinaryIO

import mmengine.runner.checkpoint
import torch
from mmengine.runner import CheckpointLoader

from .fetching import download
from .reading import normalize_checkpoint, read_checkpoint, read_stream


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: str | torch.device | Callable | None = None) -> Any:
    """Read a file by :func:`read_checkpoint` into the layout of MMEngine; replaces MMEngine's loader of files."""
    return normalize_checkpoint(read_checkpoint(filename, map_location), filename)


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_http(filename: str,
                   map_location: str | torch.device | Callable | None = None,
                   model_dir: str | None = None,
                   progress: bool = True) -> Any:
    """:func:`download` a file and read it by :func:`read_checkpoint`; replaces MMEngine's loader of URLs."""
    return load_from_local(str(download(filename, model_dir, progress)), map_location)


def load_file_or_buffer(file: str | BinaryIO,
                        map_location: str | torch.device | Callable | None = None,
                        weights_only: bool | None = None) -> Any:
    """Read a file or a buffer safely; replaces the function that MMEngine's other schemes (petrel, s3, pavi) call.

    ``weights_only`` is ignored: reading is always restricted.
    """
    if isinstance(file, str):
        return load_from_local(file, map_location)
    return normalize_checkpoint(read_stream(file, 'the buffer', map_location), 'the buffer')


# The schemes torchvision://, open-mmlab:// and mmcls:// call the first by this name, all others the second.
mmengine.runner.checkpoint.load_from_http = load_from_http
mmengine.runner.checkpoint._safe_torch_load = load_file_or_buffer
