"""Check the state of a training in a checkpoint before the runner takes it: MMEngine and PyTorch take anything."""
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import HistoryBuffer
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor, nn
from torch.optim import Optimizer

from mmavs.checkpoint.compatibility import check_state_dict
from mmavs.utils.model import is_sharded

# NumPy takes no larger seed.
MAX_SEED = 2**32 - 1
# Larger integers are no numbers of a training, and no float may be made of the largest.
MAX_NUMBER = 2**63
ADVICE = ('the file was changed or damaged; resume another checkpoint, or start a new training from its weights: '
          '--cfg-options load_from=FILE, without --resume')


class StateError(ValueError):
    """A value in the state of a training that cannot be used."""

    def __init__(self, name: str, key: str, found: Any, expected: str) -> None:
        super().__init__(f'{name}: {key} is {_describe(found)}, expected {expected}: {ADVICE}')


class ResumedStateHook(Hook):
    """Compare the checkpoint that a training is resumed from with the optimizer, schedulers and EMA of the training.

    Raises:
        ValueError: Names the file and the key, before anything of the checkpoint is taken.
    """

    # After the weights have been compared with the model, which names a wrong number of classes.
    priority = 'ABOVE_NORMAL'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the checkpoint if it is resumed."""
        if not runner._resume:
            return
        name = str(runner._load_from or f'the latest checkpoint of {runner.work_dir}')
        check_training_state(checkpoint, name, runner.cfg)
        check_end(checkpoint['meta'], name, runner)
        # Sharded parameters have other shapes; PyTorch compares the names.
        if isinstance(runner.optim_wrapper, OptimWrapper) and not is_sharded(runner.model):
            check_optimizer(checkpoint['optimizer'], name, runner.optim_wrapper, checkpoint['meta']['iter'])
        if runner.param_schedulers is not None:
            check_form(checkpoint['param_schedulers'], _scheduler_states(runner.param_schedulers), name,
                       'param_schedulers')
        check_average(checkpoint, name, runner)


def check_training_state(checkpoint: Any, name: str, config: Config) -> None:
    """Raise a ValueError unless a checkpoint holds what a training needs to continue, besides the weights.

    Args:
        checkpoint: Content of the file.
        name: File name, for the message.
        config: Config of the training; without ``param_scheduler``, none is needed.
    """
    checkpoint = checkpoint if isinstance(checkpoint, Mapping) else {}
    meta = checkpoint.get('meta')
    has_counts = isinstance(meta, Mapping) and None not in (meta.get('iter'), meta.get('epoch'))
    needed = dict(optimizer='the state of the optimizer', message_hub='the history of the training')
    if config.get('param_scheduler'):
        needed['param_schedulers'] = 'the state of the learning-rate schedule'
    missing = [] if has_counts else ['the iteration (meta)']
    missing += [text for key, text in needed.items() if _is_absent(checkpoint.get(key))]
    if missing:
        raise ValueError(f'{name}: cannot be resumed, it lacks {", ".join(missing)}; best checkpoints and published '
                         'ones hold weights only. Resume an iter_*.pth or epoch_*.pth, or start a new training from '
                         'these weights: --cfg-options load_from=FILE, without --resume')
    _check_meta(meta, name)
    _check_message_hub(checkpoint['message_hub'], name)


def _is_absent(value: Any) -> bool:
    return value is None or isinstance(value, Sequence | Mapping) and not value


def _check_meta(meta: Mapping, name: str) -> None:
    for key in ('iter', 'epoch'):
        if type(meta[key]) is not int or not 0 <= meta[key] < MAX_NUMBER:
            raise StateError(name, f'meta.{key}', meta[key], 'a whole number of at least 0')
    seed = meta.get('seed')
    if seed is not None and (type(seed) is not int or not 0 <= seed <= MAX_SEED):
        raise StateError(name, 'meta.seed', seed, f'None or a whole number from 0 to {MAX_SEED}')
    if not isinstance(meta.get('dataset_meta', {}), Mapping | None):
        raise StateError(name, 'meta.dataset_meta', meta['dataset_meta'], 'a dict')


def _check_message_hub(hub: Any, name: str) -> None:
    """Raise a ValueError unless these are scalars, information and the keys to resume as MMEngine's MessageHub has."""
    if not isinstance(hub, Mapping):
        raise StateError(name, 'message_hub', hub, 'a dict')
    for part in ('log_scalars', 'runtime_info', 'resumed_keys'):
        if not isinstance(hub.get(part), Mapping):
            raise StateError(name, f'message_hub.{part}', hub.get(part), 'a dict')
        for key in hub[part]:
            if not isinstance(key, str) or not key.isprintable():
                raise StateError(name, f'a key of message_hub.{part}', key, 'a printable text')
    for key, history in hub['log_scalars'].items():
        if not isinstance(history, HistoryBuffer) or not len(history.data[0]):
            raise StateError(name, f'message_hub.log_scalars.{key}', history, 'a HistoryBuffer with values')
    for key, is_resumed in hub['resumed_keys'].items():
        if not isinstance(is_resumed, bool):
            raise StateError(name, f'message_hub.resumed_keys.{key}', is_resumed, 'True or False')
    # Paths that messages quote.
    for key in ('best_ckpt', 'last_ckpt'):
        path = hub['runtime_info'].get(key, '')
        if path is not None and not (isinstance(path, str) and path.isprintable()):
            raise StateError(name, f'message_hub.runtime_info.{key}', path, 'a path')


def check_end(meta: Mapping, name: str, runner: Runner) -> None:
    """Raise a ValueError if a checkpoint is from beyond the end of the training, which would end without a step."""
    loop = runner.train_loop
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    key, end = ('epoch', loop.max_epochs) if by_epoch else ('iter', loop.max_iters)
    if meta[key] > end:
        raise ValueError(f'{name}: meta.{key} is {meta[key]}, but the training ends after {end} (train_cfg.max_{key}s):'
                         f' set train_cfg.max_{key}s to more, or resume an earlier checkpoint')


def check_optimizer(state: Any, name: str, wrapper: OptimWrapper, iteration: int) -> None:
    """Raise a ValueError unless a state belongs to an optimizer: groups, their options, and a state of each parameter.

    Args:
        state: ``optimizer`` of a checkpoint.
        name: File name, for the message.
        wrapper: The optimizer of the training with its wrapper.
        iteration: Iterations that the checkpoint was trained.
    """
    optimizer, expected = wrapper.optimizer, wrapper.state_dict()
    if not isinstance(state, Mapping):
        raise StateError(name, 'optimizer', state, 'a dict')
    for key in ('loss_scaler', 'base_param_settings'):
        if key in state and key in expected:
            check_form(state[key], expected[key], name, f'optimizer.{key}')
    groups, own_groups = state.get('param_groups'), optimizer.param_groups
    if not isinstance(groups, list | tuple) or len(groups) != len(own_groups):
        raise StateError(name, 'optimizer.param_groups', groups, f'a list of {len(own_groups)} groups, as the config '
                         'makes')
    states, parameters = state.get('state'), {}
    if not isinstance(states, Mapping):
        raise StateError(name, 'optimizer.state', states, 'a dict')
    for i, (group, own) in enumerate(zip(groups, own_groups)):
        key = f'optimizer.param_groups.{i}'
        if not isinstance(group, Mapping):
            raise StateError(name, key, group, 'a dict')
        # Later versions of PyTorch add switches, which have defaults.
        options = {option: x for option, x in own.items()
                   if option != 'params' and (option in group or not isinstance(x, bool | None))}
        check_form({option: group[option] for option in options if option in group}, options, name, key)
        ids, number = group.get('params'), len(own['params'])
        if not isinstance(ids, list | tuple) or len(ids) != number or not all(type(x) is int for x in ids):
            raise StateError(name, f'{key}.params', ids, f'the numbers of {number} parameters')
        parameters.update(zip(ids, own['params']))
    if len(parameters) != sum(len(own['params']) for own in own_groups):
        raise StateError(name, 'optimizer.param_groups', groups, 'each parameter once')
    needed = _state_after_step(optimizer)
    # Steps are only made after accumulation, and a loss scaler skips some.
    if needed and not states and iteration >= wrapper._accumulative_counts and 'loss_scaler' not in expected:
        raise StateError(name, 'optimizer.state', states, f'the state of parameters after {iteration} iterations')
    for index, values in states.items():
        key = f'optimizer.state.{index!r}'
        if index not in parameters:
            raise StateError(name, f'a key of {key.rpartition(".")[0]}', index, 'a number of optimizer.param_groups')
        if not isinstance(values, Mapping) or needed - set(values):
            raise StateError(name, key, values, f'a dict with {", ".join(sorted(needed))}')
        for part in sorted(needed):
            _check_moment(values[part], parameters[index], name, f'{key}.{part}')


def _state_after_step(optimizer: Optimizer) -> set[str]:
    """Names of the values that an optimizer keeps for a parameter after a step."""
    group = optimizer.param_groups[0]
    weight = nn.Parameter(torch.zeros_like(group['params'][0].detach()).flatten()[:1].reshape(1, 1))
    weight.grad = torch.zeros_like(weight)
    probe = type(optimizer)([dict(params=[weight], **{key: group[key] for key in optimizer.defaults if key in group})])
    probe.step()
    return {key for key, x in probe.state[weight].items() if x is not None}


def _check_moment(value: Any, parameter: Tensor, name: str, key: str) -> None:
    """Raise a ValueError unless a value belongs to a parameter: one number, or one for each weight."""
    if isinstance(value, Tensor):
        if value.numel() != 1 and value.shape != parameter.shape:
            raise StateError(name, key, value, f'a tensor of shape {tuple(parameter.shape)}, as its parameter has')
        if value.is_complex() or not value.isfinite().all():
            raise StateError(name, key, value, 'finite real numbers')
    elif not _is_number(value):
        raise StateError(name, key, value, 'a tensor or a finite number')


def _scheduler_states(schedulers: Any) -> Any:
    if isinstance(schedulers, Mapping):
        return {key: _scheduler_states(x) for key, x in schedulers.items()}
    return [scheduler.state_dict() for scheduler in schedulers]


def check_average(checkpoint: Mapping, name: str, runner: Runner) -> None:
    """Raise a ValueError unless a checkpoint holds averaged weights if, and only if, the training averages them."""
    hook = next((hook for hook in runner.hooks if isinstance(hook, EMAHook)), None)
    if hook is None and 'ema_state_dict' in checkpoint:
        raise ValueError(f'{name}: holds averaged weights, which the training does not continue: add '
                         "dict(type='EMAHook') with the options of its training to custom_hooks, or start a new "
                         'training from the averages: --cfg-options load_from=FILE, without --resume')
    if hook is None:
        return
    averaged = checkpoint.get('ema_state_dict')
    if averaged is None:
        raise ValueError(f'{name}: cannot be resumed with EMAHook, it lacks the averaged weights (ema_state_dict): '
                         'remove EMAHook from custom_hooks, or start a new training from its weights: '
                         '--cfg-options load_from=FILE, without --resume')
    if not isinstance(averaged, Mapping):
        raise StateError(name, 'ema_state_dict', averaged, 'a dict of tensors')
    for key, x in averaged.items():
        if not isinstance(key, str) or not key.isprintable() or not isinstance(x, Tensor):
            raise StateError(name, f'ema_state_dict[{key!r:.80}]', x, 'a tensor with a printable name')
    check_state_dict(hook.ema_model, averaged, f'{name}, ema_state_dict')


def check_form(found: Any, expected: Any, name: str, key: str) -> None:
    """Raise a ValueError unless a value has the form of the one that the training has at its start.

    Dicts have the same keys, lists the same length. Numbers and tensors are finite and, where those of the training
    are, not negative. Texts and switches are the same.

    Args:
        found: Value of the checkpoint.
        expected: Value of the training.
        name: File name, for the message.
        key: Dotted key of the value, for the message.
    """
    if isinstance(expected, Counter):  # milestones
        if not isinstance(found, Mapping) or not all(type(x) is int for item in found.items() for x in item):
            raise StateError(name, key, found, 'a dict of whole numbers')
    elif isinstance(expected, Mapping):
        if not isinstance(found, Mapping):
            raise StateError(name, key, found, 'a dict')
        for child in found.keys() - expected.keys():
            raise StateError(name, f'a key of {key}', child, f'one of {", ".join(map(str, expected))}')
        for child, value in expected.items():
            if child not in found:
                raise ValueError(f'{name}: {key} has no {child}: {ADVICE}')
            check_form(found[child], value, name, f'{key}.{child}')
    elif isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(expected):
            raise StateError(name, key, found, f'a list of length {len(expected)}')
        for i, (child, value) in enumerate(zip(found, expected)):
            check_form(child, value, name, f'{key}.{i}')
    elif isinstance(expected, Tensor):
        if not isinstance(found, Tensor) or found.shape != expected.shape or not found.isfinite().all():
            raise StateError(name, key, found, f'a finite tensor of shape {tuple(expected.shape)}')
    elif isinstance(expected, Real) and not isinstance(expected, bool):
        # Some start infinite, the best value of a metric for example.
        if not _is_number(found) and not (isinstance(found, float) and found == expected):
            raise StateError(name, key, found, 'a finite number')
        if found < 0 <= expected:
            raise StateError(name, key, found, 'a number of at least 0')
    elif type(found) is not type(expected) or found != expected:
        raise StateError(name, key, found, f'{_describe(expected)}, as in the config')


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and abs(value) < MAX_NUMBER and math.isfinite(value)


def _describe(value: Any) -> str:
    """Value as a message shows it: short, and without control characters."""
    if isinstance(value, Tensor):
        return f'a {value.dtype} tensor of shape {tuple(value.shape)}' + (
            '' if value.is_complex() or value.isfinite().all() else ' with NaN or infinite values')
    if isinstance(value, Mapping | list | tuple) and value:
        return f'a {type(value).__name__} of length {len(value)}'
    if isinstance(value, HistoryBuffer):
        return 'an empty HistoryBuffer'
    if isinstance(value, int) and abs(value) > 10**30:  # Python refuses to print integers of thousands of digits
        return 'an integer of more than 30 digits'
    return f'{value!r:.80}'
