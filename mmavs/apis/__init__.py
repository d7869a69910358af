"""Public functions: build and list models, segment clips and videos, make mask priors, convert checkpoints."""
from .conversion import convert_checkpoint, export_checkpoint
from .inference import inference_clip
from .inferencer import AVSInferencer
from .mask_priors import MaskPriorGenerator
from .model import get_model, init_model
from .model_list import list_models

__all__ = [
    'AVSInferencer', 'MaskPriorGenerator', 'convert_checkpoint', 'export_checkpoint', 'get_model', 'inference_clip',
    'init_model', 'list_models'
]
