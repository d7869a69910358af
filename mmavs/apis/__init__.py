"""What a Python user imports."""
from .conversion import convert_checkpoint
from .inference import inference_clip
from .model import init_model

__all__ = ['convert_checkpoint', 'inference_clip', 'init_model']
