"""Check the files that timm reads for its models: its own reader is PyTorch's."""
from collections.abc import Iterator, Mapping
from typing import Any

from .reading import extract_state_dict, read_checkpoint


def check_timm_files(model: Mapping[str, Any]) -> None:
    """Read the weights that the backbones of timm in a config take from files, as every checkpoint is read.

    Args:
        model: The config of a model.

    Raises:
        FileNotFoundError, pickle.UnpicklingError, ValueError: As for :func:`mmavs.checkpoint.reading.read_checkpoint`
            and :func:`mmavs.checkpoint.reading.extract_state_dict`; a missing file is named with its key.
    """
    for key, node in timm_backbones(model, 'model'):
        files = {'checkpoint_path': node.get('checkpoint_path')}
        if node.get('pretrained'):
            files['pretrained_cfg_overlay.file'] = (node.get('pretrained_cfg_overlay') or {}).get('file')
        for option, file in files.items():
            if file:
                try:
                    extract_state_dict(read_checkpoint(file), str(file))
                except FileNotFoundError as error:
                    raise FileNotFoundError(f'{key}.{option}: {error}') from error


def timm_backbones(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield dotted name and config of every backbone of timm in the config of a model."""
    if str(node.get('type')).endswith('TIMMBackbone'):
        yield path, node
    for key, child in node.items():
        if isinstance(child, Mapping):
            yield from timm_backbones(child, f'{path}.{key}')
