"""Count the parameters and FLOPs of a model from shapes alone."""
from copy import deepcopy
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from mmavs.checkpoint.training_settings import training_settings
from mmavs.registry import MODELS

from .random_clips import random_clips


def named_parts(model: nn.Module) -> dict[str, torch.nn.Module]:
    """Return the branches of a model, and the parts of its head, by name."""
    parts = {}
    for name, child in model.named_children():
        if name == 'decode_head':
            parts.update({f'{name}.{part}': module for part, module in child.named_children()})
        elif name != 'data_preprocessor':
            parts[name] = child
    return parts


def count_parameters(model: torch.nn.Module) -> int:
    """Count the numbers in all parameters, trained or not."""
    return sum(parameter.numel() for parameter in model.parameters())


def build_outline(config: dict) -> BaseModel:
    """Build a model without memory for its weights (device ``meta``): it has all shapes and computes nothing.

    It serves :func:`count_parameters` and :func:`count_flops`; a model of any size takes a second or two.

    Args:
        config: ``model`` of a config.
    """
    config = deepcopy(config)
    drop_pretrained(config)

    def without_memory(module: nn.Module, name: str, parameter: nn.Parameter) -> nn.Parameter:
        return nn.Parameter(parameter.to('meta'), parameter.requires_grad)

    # Only parameters: under torch.device('meta'), constructors that compute numbers with tensors would fail.
    hook = register_module_parameter_registration_hook(without_memory)
    try:
        model = MODELS.build(config)
    finally:
        hook.remove()
    return model.to('meta')


@torch.no_grad()
def count_flops(model: BaseModel, clips: dict) -> dict[str, int]:
    """Count the FLOPs of a prediction: matrix products, convolutions and attention, 2 for each multiply-add.

    Args:
        model: The model, or its outline.
        clips: Input of its data preprocessor.

    Returns:
        FLOPs by the name of the module, ``'backbone'`` for example; ``''`` is the whole model.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval().requires_grad_(False)  # the counter fails on views of parameters that require a gradient
    # PyTorch's counter knows the fused attention of GPUs, not that of CPUs.
    cpu_attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__:
                     sdpa_flop_count(q, k, v)}
    with FlopCounterMode(display=False, custom_mapping=cpu_attention) as counter:
        model(**model.data_preprocessor(clips), mode='predict')
    for parameter in trained:
        parameter.requires_grad_()
    root = type(model).__name__
    flops = {
        name.removeprefix(root).removeprefix('.'): sum(counts.values())
        for name, counts in counter.get_flop_counts().items() if name.startswith(root)
    }
    # Lists of modules are not called themselves.
    for name, module in reversed(list(model.named_modules())):
        children = [f'{name}.{child}'.removeprefix('.') for child, _ in module.named_children()]
        flops.setdefault(name, sum(flops[child] for child in children))
    return flops


@dataclass
class Complexity:
    """Parameters of a model and FLOPs of a prediction.

    Attributes:
        size: (H, W) of the frames.
        frames: Number of frames.
        parameters: Parameters by the name of the module; ``''`` is the whole model.
        flops: FLOPs by the name of the module.
        parts: The names of the branches and of the parts of the head.
    """
    size: tuple[int, int]
    frames: int
    parameters: dict[str, int]
    flops: dict[str, int]
    parts: list[str]

    def without(self, *branches: str) -> tuple[int, int]:
        """Return the parameters and FLOPs of the model without some branches."""
        return tuple(counts[''] - sum(counts.get(branch, 0) for branch in branches)
                     for counts in (self.parameters, self.flops))


def model_complexity(config: Config, num_frames: int = 5, size: tuple[int, int] | None = None) -> Complexity:
    """Count the parameters and FLOPs of the model of a config from shapes alone.

    Args:
        config: The config.
        num_frames: Frames of the clip.
        size: (H, W) of the frames; None for that of :func:`frame_size`.
    """
    model = build_outline(config.model)
    size = tuple(size or frame_size(config))
    flops = count_flops(model, random_clips(model, size, num_frames=num_frames))
    parameters = {name: count_parameters(module) for name, module in model.named_modules()}
    return Complexity(size, num_frames, parameters, flops, list(named_parts(model)))


def frame_size(config: Config) -> tuple[int, int]:
    """Return (H, W) of the frames that a config tests on.

    Raises:
        ValueError: Neither the head nor the test pipeline states it.
    """
    size = config.model.decode_head.get('input_size') or training_settings(config, 'test')['input_size']
    if size is None:
        raise ValueError(f"{config.filename}: neither decode_head.input_size nor the test pipeline states the size of "
                         'the frames: give it by --size')
    return tuple(size)


def drop_pretrained(node: object) -> None:
    """Remove pretrained weights from a config, in place. Speed does not depend on them."""
    if isinstance(node, dict):
        if isinstance(node.get('init_cfg'), dict) and node['init_cfg'].get('type') == 'Pretrained':
            node['init_cfg'] = None
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ():
        drop_pretrained(child)
