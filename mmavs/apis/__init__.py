"""Public functions: build and list models, segment clips and videos, convert and export checkpoints."""
from mmavs.utils.model_list import list_models

from .conversion import convert_checkpoint, export_checkpoint
from .inference import inference_clip
from .inferencer import AVSInferencer
from .model import get_model, init_model
from .weights import published_weights

__all__ = [
    'AVSInferencer', 'convert_checkpoint', 'export_checkpoint', 'get_model', 'inference_clip', 'init_model',
    'list_models', 'published_weights'
]
