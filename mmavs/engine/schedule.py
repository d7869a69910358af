"""Compare the learning-rate schedule of a config with the length of its training."""
from collections.abc import Iterator

from mmengine.config import Config


def check_length(config: Config) -> None:
    """Raise a ValueError unless a training takes at least one iteration or epoch."""
    loop = config.get('train_cfg') or {}
    for key in ('max_iters', 'max_epochs', 'val_interval'):
        value = loop.get(key, 1)
        if not isinstance(value, int | float) or isinstance(value, bool) or value != value // 1 or value < 1:
            raise ValueError(f'train_cfg.{key} is {value!r}, expected a whole number of at least 1')


def schedule_problems(config: Config) -> Iterator[str]:
    """Yield a message for each part of the schedule that the training does not reach, with the keys to change.

    The length of a training and the ends of its schedulers are stated separately; a training that is shortened by one
    key alone may consist of the warm-up only.

    Args:
        config: Config with ``train_cfg`` and ``param_scheduler``.
    """
    loop = config.get('train_cfg') or {}
    by_epoch = 'max_epochs' in loop
    unit, key = ('epochs', 'max_epochs') if by_epoch else ('iterations', 'max_iters')
    length = loop.get(key)
    if not length:
        return
    schedulers = config.get('param_scheduler') or []
    for i, scheduler in enumerate([schedulers] if isinstance(schedulers, dict) else schedulers):
        name = f'param_scheduler.{i} ({scheduler.get("type")})'
        counts_epochs = scheduler.get('by_epoch', True)
        if counts_epochs and not by_epoch:
            yield f'{name} counts epochs, but the training counts iterations, so it never steps: set by_epoch=False'
        if counts_epochs != by_epoch or scheduler.get('convert_to_iter_based'):
            continue
        begin, end = scheduler.get('begin') or 0, scheduler.get('end')
        if begin >= length:
            yield (f'{name} begins after {begin} {unit}, but the training ends after {length} (train_cfg.{key}): it '
                   f'has no effect; set param_scheduler.{i}.begin')
        # The last value of PolyLR is that of end - 1, therefore schedules end one step after the training.
        elif end is not None and end > length + 1:
            yield (f'{name} ends after {end} {unit}, but the training after {length} (train_cfg.{key}): it is cut off; '
                   f'set param_scheduler.{i}.end')
    if loop.get('val_begin', 1) > length:
        yield (f'train_cfg.val_begin is {loop["val_begin"]}, but the training ends after {length} {unit} '
               f'(train_cfg.{key}): it is not validated')
