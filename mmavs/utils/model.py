"""Models inside the wrappers of distributed training."""
from mmengine.model import is_model_wrapper
from torch import nn

#: Attribute of a wrapper that shards: the model without values, on the device 'meta'.
UNSHARDED = 'unsharded'
# Part that FullyShardedDataParallel adds to names.
SHARD = '_fsdp_wrapped_module.'


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return the model inside a wrapper such as MMDistributedDataParallel, or the model itself if it has none."""
    return model.module if is_model_wrapper(model) else model


def unsharded_model(model: nn.Module) -> nn.Module:
    """Return a model with the names and shapes of an unsharded one: without values if the model is sharded."""
    return getattr(model, UNSHARDED, None) or unwrap_model(model)


def is_sharded(model: nn.Module) -> bool:
    """Whether each process keeps only a share of the parameters."""
    return getattr(model, UNSHARDED, None) is not None


def original_name(name: str) -> str:
    """Name of a parameter or module without the parts that sharding adds."""
    return name.replace(SHARD, '')
