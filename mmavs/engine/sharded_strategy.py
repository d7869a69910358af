"""Strategy that shards a training over processes: parameters, gradients and the state of the optimizer."""
from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence

import torch
from mmengine._strategy import FSDPStrategy
from mmengine.dist import all_reduce, is_main_process
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.distributed.fsdp import (
    FullOptimStateDictConfig,
    FullStateDictConfig,
    FullyShardedDataParallel,
    StateDictType,
)
from torch.distributed.fsdp.wrap import ModuleWrapPolicy

from mmavs.registry import STRATEGIES
from mmavs.utils.files import atomic_write
from mmavs.utils.model import UNSHARDED, original_name


@STRATEGIES.register_module()
class ShardedStrategy(FSDPStrategy):
    """MMEngine's ``FSDPStrategy`` with checkpoints that are those of a training in one process.

    Each process keeps its share of the parameters, gradients and momenta. The parameters of a block are gathered when
    it runs, the others of the model during the whole step. Weights in checkpoints have their full shapes, and momenta
    the numbers of the optimizer of an unsharded model, so that either training resumes the checkpoints of the other.
    Files appear under their names when they are complete.

    MMEngine's strategy calls a function of PyTorch 2.0 whose arguments have changed their order since; a training
    could not be resumed.

    Args:
        blocks: Names of classes, whose modules are sharded one by one, for example ``['SwinBlock']``. Their parameters
            must not be used outside of their ``forward``.
        kwargs: Of ``mmengine._strategy.FSDPStrategy``, except ``state_dict_cfg``.
    """

    def __init__(self, blocks: Sequence[str], **kwargs: object) -> None:
        # On a CPU, a copy there would be the storage of the gathered parameters, which is freed.
        options = dict(rank0_only=True, offload_to_cpu=torch.cuda.is_available())
        state_dict_cfg = dict(
            state_dict_type=StateDictType.FULL_STATE_DICT,
            state_dict_config=FullStateDictConfig(**options),
            optim_state_dict_config=FullOptimStateDictConfig(**options))
        super().__init__(state_dict_cfg=state_dict_cfg, **kwargs)
        self.blocks = tuple(blocks)

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        """Shard the model.

        Raises:
            ValueError: The model has no module of one of the classes.
        """
        if is_model_wrapper(model):
            return model
        found = {type(module).__name__: type(module) for module in model.modules()}
        for name in self.blocks:
            if name not in found:
                raise ValueError(f'strategy.blocks names {name!r}, but the model has no module of this class, expected '
                                 f'some of {", ".join(sorted(found))}')
        device = torch.device(f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else 'cpu')
        unsharded = copy.deepcopy(model).to('meta')
        # FSDP shards no parameters without dimensions (temperatures of losses): each process has them, with the mean of
        # their gradients.
        scalars = [parameter for parameter in model.parameters() if parameter.ndim == 0]
        for parameter in scalars:
            parameter.data = parameter.data.to(device)
            if parameter.requires_grad:
                parameter.register_hook(_mean_over_processes)
        self.model_wrapper = dict(
            type='MMFullyShardedDataParallel',
            auto_wrap_policy=ModuleWrapPolicy({found[name] for name in self.blocks}),
            device_id=device,
            ignored_states=scalars) | dict(self.model_wrapper or {})
        wrapped = super()._wrap_model(model)
        # Not as a module of the wrapper: names and shapes only, which checkpoints are compared with.
        object.__setattr__(wrapped, UNSHARDED, unsharded)
        return wrapped

    def save_checkpoint(self, filename: str, **kwargs: object) -> None:
        """Save a checkpoint atomically; all processes call it, the first one writes."""
        if not is_main_process():
            super().save_checkpoint(filename, **kwargs)
            return
        with atomic_write(filename, sync=True) as partial:
            super().save_checkpoint(str(partial), **kwargs)

    def optim_state_dict(self) -> dict:
        """State of the optimizer as that of an unsharded model in the first process, nothing in the others."""
        state = FullyShardedDataParallel.optim_state_dict(self.model, self.optim_wrapper.optimizer)
        if not state:
            return {}
        names = self._parameter_names()
        numbers = {name: number for number, name in enumerate(names)}
        state = _renamed(state, lambda name: numbers[original_name(name)])
        return dict(state, **self._further_state(self.optim_wrapper.state_dict()))

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Load the state of the optimizer of an unsharded model."""
        names, optimizer = self._parameter_names(), self.optim_wrapper.optimizer
        named = _renamed(state_dict, lambda number: names[number])
        sharded = FullyShardedDataParallel.optim_state_dict_to_load(self.model, optimizer, named)
        self.optim_wrapper.load_state_dict(dict(sharded, **self._further_state(state_dict)))

    def _parameter_names(self) -> list[str]:
        """Names of the parameters in the order of the optimizer, which gives them numbers."""
        names = {id(parameter): original_name(name) for name, parameter in self.model.named_parameters()}
        return [names[id(x)] for group in self.optim_wrapper.optimizer.param_groups for x in group['params']]

    def _further_state(self, state: dict) -> dict:
        """State that the wrapper adds to that of the optimizer, for example the scale of mixed precision."""
        return {key: value for key, value in state.items() if key not in ('state', 'param_groups')}


def _mean_over_processes(gradient: Tensor) -> Tensor:
    """Mean of a gradient over all processes, in place of that of one."""
    gradient = gradient.clone()
    all_reduce(gradient, 'mean')
    return gradient


def _renamed(state: dict, rename: Callable) -> dict:
    """State of an optimizer whose parameters have other keys."""
    return dict(
        state={rename(key): value for key, value in state['state'].items()},
        param_groups=[dict(group, params=list(map(rename, group['params']))) for group in state['param_groups']])
