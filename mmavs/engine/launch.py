"""Start a run in one process or several, with or without a GPU."""
import atexit
import gc
import logging

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmavs.utils.terminal import concerns_user


def build_runner(config: Config, launcher: str = 'none') -> Runner:
    """Build the runner of a config, in this process or in each process that a launcher has started.

    Without a GPU, processes communicate through gloo and training is in float32, even if the config asks for mixed
    precision.

    Args:
        config: Config of :func:`mmavs.utils.config.load_config`, changed in place.
        launcher: 'none', 'pytorch' (torchrun), 'slurm' or 'mpi'; the last two need a GPU.
    """
    config.launcher = launcher
    if not torch.cuda.is_available():
        _prepare_for_cpu(config)
    runner = RUNNERS.build(config) if 'runner_type' in config else Runner.from_cfg(config)
    runner.logger.addFilter(concerns_user)
    if launcher != 'none':
        atexit.register(_leave_process_group)
    return runner


def _leave_process_group() -> None:
    """End the threads of gloo: one that frees the tensors of a finished broadcast at exit aborts the interpreter."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    # Garbage of the model's wrapper still holds the group.
    gc.collect()


def _prepare_for_cpu(config: Config) -> None:
    if config.get('optim_wrapper', {}).get('type') == 'AmpOptimWrapper':
        print_log('mixed precision needs a GPU, training is in float32', 'current', logging.WARNING)
        config.optim_wrapper.type = 'OptimWrapper'
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            config.optim_wrapper.pop(key, None)
    if config.launcher == 'none':
        return
    if config.launcher != 'pytorch':
        raise ValueError(f'the launcher {config.launcher!r} needs a GPU; on CPUs start the processes with torchrun, '
                         'as tools/dist_train.sh does')
    # MMEngine's launcher and model wrapper would pick a GPU.
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    wrapper = dict(type='MMDistributedDataParallel', broadcast_buffers=False) | config.get('model_wrapper_cfg', {})
    config.model_wrapper_cfg = wrapper | dict(device_ids=None)
