"""Learning-rate schedule with one warm-up for new modules and a later one for the pretrained backbone (EoMT, EASE)."""
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import INF, _ParamScheduler

from mmavs.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class TwoStageWarmupPolyLR(LRSchedulerMixin, _ParamScheduler):
    """Warm up the new modules, then the backbone; each then decays polynomially to 0.

    With s steps of S, the factor of new modules is ``s / w`` for the first w steps, then
    ``(1 - (s - w) / (S - w))^power``. That of the delayed groups is 0 for w steps, grows linearly over v steps, then is
    ``(1 - (s - w - v) / (S - w - v))^power``.

    Args:
        optimizer: The optimizer or its wrapper.
        warmup: Steps w.
        delayed_warmup: Steps v.
        delayed: Name of the delayed groups, one of ``named_groups`` of :class:`ParamRulesOptimWrapperConstructor`.
        power: Exponent of the decay.
        begin: First step.
        end: Step after the last one; as for ``PolyLR``, one after the end of the training for a last value above 0.
        last_step: Index of the last step, to resume without a state dict.
        by_epoch: Must be False, steps are iterations.
        verbose: Whether to print every value.

    Raises:
        ValueError: Steps are epochs, warm-ups take the whole schedule, or no group has the name.
    """

    def __init__(self,
                 optimizer: object,
                 warmup: int,
                 delayed_warmup: int,
                 delayed: str = 'backbone.',
                 power: float = 0.9,
                 begin: int = 0,
                 end: int = INF,
                 last_step: int = -1,
                 by_epoch: bool = False,
                 verbose: bool = False) -> None:
        if by_epoch:
            raise ValueError('TwoStageWarmupPolyLR: by_epoch is True, expected False: its steps are iterations')
        total = end - begin - 1
        if min(warmup, delayed_warmup) < 0 or warmup + delayed_warmup >= total:
            raise ValueError(f'TwoStageWarmupPolyLR: warmup={warmup} and delayed_warmup={delayed_warmup} take '
                             f'{warmup + delayed_warmup} of {total} steps (end - begin - 1), expected fewer')
        if not any(group.get('name') == delayed for group in optimizer.param_groups):
            raise ValueError(f'TwoStageWarmupPolyLR: no group of parameters is named {delayed!r}: set '
                             f'optim_wrapper.paramwise_cfg.named_groups=[{delayed!r}]')
        self.warmup, self.delayed_warmup, self.delayed = warmup, delayed_warmup, delayed
        self.total, self.power = total, power
        super().__init__(optimizer, begin, end, last_step, by_epoch, verbose)

    def _get_value(self) -> list[float]:
        return [value * self.factor(self.last_step, group.get('name') == self.delayed)
                for value, group in zip(self.base_values, self.optimizer.param_groups)]

    def factor(self, step: int, delayed: bool) -> float:
        """Factor on the learning rate of a group at a step from 0 on."""
        start, length = (self.warmup, self.delayed_warmup) if delayed else (0, self.warmup)
        if step < start:
            return 0.
        if step < start + length:
            return (step - start) / length
        return max(0., 1 - (step - start - length) / (self.total - start - length))**self.power
