"""Models inside the wrappers of distributed training."""
from mmengine.model import is_model_wrapper
from torch import nn


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return the model inside a wrapper such as MMDistributedDataParallel, or the model itself if it has none."""
    return model.module if is_model_wrapper(model) else model
