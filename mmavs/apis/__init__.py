"""Public functions: build and list models, segment clips and videos, convert and export checkpoints."""
from .conversion import convert_checkpoint, export_checkpoint
from .exported_model import ExportedSegmentor
from .inference import inference_clip
from .inferencer import AVSInferencer
from .model import get_model, init_model
from .model_export import export_model
from .model_list import list_models

__all__ = [
    'AVSInferencer', 'ExportedSegmentor', 'convert_checkpoint', 'export_checkpoint', 'export_model', 'get_model',
    'inference_clip', 'init_model', 'list_models'
]
