"""Formats of exported models, by which commands tell such a file from a config; without PyTorch."""
from pathlib import Path

#: Format -> suffix of its files.
SUFFIXES = {'onnx': '.onnx', 'torchscript': '.pt'}


def is_exported_model(model: object) -> bool:
    """Whether ``model`` is the name of an exported model, by its suffix."""
    return isinstance(model, str | Path) and Path(model).suffix in SUFFIXES.values()
