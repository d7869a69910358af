"""Public functions: build and list models, segment clips and videos, convert and publish checkpoints.

A name is imported at its first use, because most need PyTorch and the packages of OpenMMLab, which take seconds.
"""
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmavs.checkpoint.publication import publish_checkpoint
    from mmavs.utils.model_list import list_models

    from .conversion import convert_checkpoint, export_checkpoint
    from .exported_model import ExportedSegmentor
    from .inference import inference_clip
    from .inferencer import AVSInferencer
    from .mask_priors import MaskPriorGenerator
    from .model import get_model, init_model
    from .model_export import export_model
    from .weights import published_weights

__all__ = [
    'AVSInferencer', 'ExportedSegmentor', 'MaskPriorGenerator', 'convert_checkpoint', 'export_checkpoint',
    'export_model', 'get_model', 'inference_clip', 'init_model', 'list_models', 'publish_checkpoint',
    'published_weights'
]
# Name -> its module.
_MODULES = {
    'AVSInferencer': 'mmavs.apis.inferencer',
    'ExportedSegmentor': 'mmavs.apis.exported_model',
    'MaskPriorGenerator': 'mmavs.apis.mask_priors',
    'convert_checkpoint': 'mmavs.apis.conversion',
    'export_checkpoint': 'mmavs.apis.conversion',
    'export_model': 'mmavs.apis.model_export',
    'get_model': 'mmavs.apis.model',
    'inference_clip': 'mmavs.apis.inference',
    'init_model': 'mmavs.apis.model',
    'list_models': 'mmavs.utils.model_list',
    'publish_checkpoint': 'mmavs.checkpoint.publication',
    'published_weights': 'mmavs.apis.weights',
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use; Python then finds it in the module."""
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """List the public names, also those that are not imported yet."""
    return sorted({*globals(), *__all__})
