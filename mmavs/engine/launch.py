"""Start a run in one process or several, with or without a GPU."""
import atexit
import gc
import logging
import os
import socket
import sys
from collections.abc import Iterator
from functools import partial
from urllib.error import URLError

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmavs.checkpoint.fetching import DownloadError
from mmavs.utils.files import errors_with_name
from mmavs.utils.parent_process import end_with_parent
from mmavs.utils.terminal import concerns_user


def build_runner(config: Config, launcher: str = 'none') -> Runner:
    """Build the runner of a config, in this process or in each process that a launcher has started.

    If the launcher is killed, its processes end (:func:`mmavs.utils.parent_process.end_with_parent`). Those that a user
    has started by hand, with the environment of torchrun, have no launcher.

    Without a GPU, processes communicate through gloo and training is in float32, even if the config asks for mixed
    precision.

    Args:
        config: Config of :func:`mmavs.utils.config.load_config`, changed in place.
        launcher: 'none', 'pytorch' (torchrun), 'slurm' or 'mpi'; the last two need a GPU.

    Raises:
        DownloadError: A part of the model downloads its weights when it is built, and there is no network.
    """
    config.launcher = launcher
    if launcher in ('slurm', 'mpi') or launcher == 'pytorch' and 'TORCHELASTIC_RUN_ID' in os.environ:
        end_with_parent()
    if not torch.cuda.is_available():
        _prepare_for_cpu(config)
    try:
        with errors_with_name(config.get('work_dir') or '.'):  # the logs and the config
            runner = RUNNERS.build(config) if 'runner_type' in config else Runner.from_cfg(config)
    except Exception as error:
        reason = _network_error(error)
        if reason is None:
            raise
        raise DownloadError(_timm_advice(config, reason)) from error
    runner.logger.addFilter(concerns_user)
    _raise_log_errors(runner.logger)
    if launcher != 'none':
        atexit.register(_leave_process_group)
    return runner


def _raise_log_errors(logger: logging.Logger) -> None:
    """Let a log that cannot be written raise its error; Python would print a traceback for every line of it."""

    def raise_error(record: logging.LogRecord, handler: logging.FileHandler) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            type(handler).handleError(handler, record)
            return
        with errors_with_name(handler.baseFilename):
            raise error

    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = partial(raise_error, handler=handler)


def _network_error(error: BaseException | None) -> str | None:
    """Return the message of a failed connection among the causes of an error, None without one."""
    reason = None
    while error is not None:
        if isinstance(error, URLError | ConnectionError | TimeoutError | socket.gaierror):
            reason = str(error)
        error = error.__cause__ or error.__context__
    return reason


def _timm_advice(config: Config, reason: str) -> str:
    """Message for a model of timm, which downloads its weights when it is built."""
    for key, node in _timm_backbones(config.to_dict().get('model', {}), 'model'):
        return (f'{key}: cannot download the weights of {node.get("model_name")} ({reason}): put the file anywhere and '
                f'set {key}.pretrained_cfg_overlay.file=FILE, or set {key}.pretrained=False for random weights')
    return f'model: cannot download weights ({reason})'


def _timm_backbones(node: dict, path: str) -> Iterator[tuple[str, dict]]:
    if str(node.get('type')).endswith('TIMMBackbone') and node.get('pretrained', True):
        yield path, node
    for key, child in node.items():
        if isinstance(child, dict):
            yield from _timm_backbones(child, f'{path}.{key}')


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
