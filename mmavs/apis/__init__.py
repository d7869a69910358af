"""Public functions: build and list models, segment clips and videos, convert and publish checkpoints."""
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
