"""Hook that stops a training whose losses, gradients or weights are not finite."""
import math

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmavs.checkpoint.reading import check_finite
from mmavs.registry import HOOKS
from mmavs.utils.errors import DivergedError
from mmavs.utils.model import is_sharded, original_name, unwrap_model

# Names in a message.
MAX_NAMES = 3


@HOOKS.register_module()
class FiniteTrainingHook(Hook):
    """Stop at the first loss term or gradient that is NaN or infinite, before a checkpoint is written.

    The error names the iteration, the terms and the parameters. Weights are compared whenever a checkpoint is to be
    written, so that no checkpoint holds NaN.

    A loss term costs no transfer of its own from the GPU: all terms are copied at once, and the logger, which needs
    them in each iteration, gets the copies. The gradient norm is the one that clips; without clipping it is computed
    and copied with the losses. Clipping to a range of values makes infinite gradients finite; NaN is found.

    Mixed precision in float16 skips steps whose gradients overflow, and lowers its scale: the first steps of a
    training, and some later. Such steps do not stop the training, unless too many follow each other.

    Args:
        max_skipped_steps: Consecutive steps that the gradient scaler of ``AmpOptimWrapper`` may skip.
        skip_losses: Whether the scaler may also skip steps whose loss is not finite. By default they stop the
            training.
    """

    # After MeanLossHook has averaged the terms over all processes, before MMEngine's RuntimeInfoHook logs them.
    priority = 5

    def __init__(self, max_skipped_steps: int = 20, skip_losses: bool = False) -> None:
        if max_skipped_steps < 0:
            raise ValueError(f'FiniteTrainingHook: max_skipped_steps is {max_skipped_steps}, expected at least 0')
        self.max_skipped_steps = max_skipped_steps
        self.skip_losses = skip_losses
        self._names: dict[int, str] = {}
        self._bad_gradients: list[str] = []
        self._norm: Tensor | None = None
        self._stepped = False
        self._skipped = 0
        self._sharded = False

    def before_train(self, runner: Runner) -> None:
        """Follow the gradients and the steps of the optimizer."""
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper):  # several optimizers: losses and weights only
            return
        self._names = {id(x): original_name(name) for name, x in unwrap_model(runner.model).named_parameters()}
        self._sharded = is_sharded(runner.model)
        clips_norm = wrapper.clip_grad_kwargs and wrapper.grad_name == 'grad_norm'
        if clips_norm:
            wrapper.clip_func = self._clip_grad_norm
        else:
            wrapper.optimizer.register_step_pre_hook(self._measure_norm)
        wrapper.optimizer.register_step_post_hook(self._note_step)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Raise a DivergedError that names terms and parameters."""
        terms = dict(outputs or {})
        norm, self._norm = self._norm, None
        gradients, self._bad_gradients = self._bad_gradients, []
        stepped, self._stepped = self._stepped, False
        if norm is not None:
            terms['gradient norm'] = norm
        if not terms:
            return
        values = torch.stack([torch.as_tensor(x).detach().float() for x in terms.values()]).cpu()
        if outputs:
            outputs.update(zip(outputs, values))
        bad = {name: value for name, value in zip(terms, values.tolist()) if not math.isfinite(value)}
        if 'gradient norm' in bad:
            gradients = _names_of_bad(unwrap_model(runner.model))  # the step has spread them to the weights
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        if scaler is not None and not stepped and (not bad or self.skip_losses):
            # With accumulated gradients only some iterations are meant to make a step.
            self._skipped += runner.optim_wrapper.should_update()
            if self._skipped <= self.max_skipped_steps:
                return
            raise DivergedError(f'{_place(runner)}: the gradient scaler has skipped {self._skipped} steps, one after '
                                f'the other, {_describe(bad, gradients)}{_advice(runner)}')
        if not bad and not gradients:
            self._skipped = 0
            return
        raise DivergedError(f'{_place(runner)}: {_describe(bad, gradients)}{_advice(runner)}')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Raise a ValueError if a weight is not finite."""
        check_finite(checkpoint['state_dict'], f'{_place(runner)}, no checkpoint written')

    def _clip_grad_norm(self, parameters: list[nn.Parameter], **options) -> Tensor:
        """Clip like :func:`torch.nn.utils.clip_grad_norm_`; note the parameters before all become NaN."""
        norm = self._total_norm(parameters, options.get('norm_type', 2.0))
        if norm is None:  # clipped in one call by PyTorch before 2.6
            norm = torch.nn.utils.clip_grad_norm_(parameters, **options)
            self._bad_gradients = [] if norm.isfinite() else self._find_bad(parameters)
            return norm
        if not norm.isfinite():
            self._bad_gradients = self._find_bad(parameters)
        torch.nn.utils.clip_grads_with_norm_(parameters, options['max_norm'], norm, options.get('foreach'))
        return norm

    def _measure_norm(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        parameters = [x for group in optimizer.param_groups for x in group['params'] if x.grad is not None]
        self._norm = self._total_norm(parameters) if parameters else None

    def _total_norm(self, parameters: list[nn.Parameter], norm_type: float = 2.0) -> Tensor | None:
        """Norm of all gradients; of those of all processes if each has a share of them."""
        if not self._sharded:
            return _total_norm(parameters, norm_type)
        shards, whole = ([x for x in parameters if bool(x.ndim) is sharded] for sharded in (True, False))
        norm = _total_norm(shards, norm_type)
        if norm is None:
            return None
        if math.isinf(norm_type):
            all_reduce(norm, 'max')
        else:
            norm = norm**norm_type
            all_reduce(norm)
            norm = norm**(1 / norm_type)
        # Scalars are not sharded: each process has them.
        return torch.linalg.vector_norm(torch.stack([norm, _total_norm(whole, norm_type)]), norm_type)

    def _note_step(self, *_) -> None:
        self._stepped = True

    def _find_bad(self, parameters: list[nn.Parameter]) -> list[str]:
        return [self._names.get(id(x), 'a parameter') for x in parameters if not x.grad.isfinite().all()]


def _total_norm(parameters: list[nn.Parameter], norm_type: float = 2.0) -> Tensor | None:
    """Norm of all gradients, on their device; None in PyTorch before 2.6, which lacks the function."""
    measure = getattr(torch.nn.utils, 'get_total_norm', None)
    return measure([x.grad for x in parameters], norm_type) if measure else None


def _names_of_bad(model: nn.Module) -> list[str]:
    return [name for name, x in model.named_parameters() if not x.isfinite().all()]


def _place(runner: Runner) -> str:
    return f'iteration {runner.iter + 1}'


def _describe(terms: dict[str, float], gradients: list[str]) -> str:
    parts = [', '.join(f'{name} is {value}' for name, value in terms.items())] if terms else []
    if gradients:
        more = f' and {len(gradients) - MAX_NAMES} more' if len(gradients) > MAX_NAMES else ''
        parts.append(f'gradients are NaN or infinite: {", ".join(gradients[:MAX_NAMES])}{more}')
    return '; '.join(parts) or 'because gradients overflow'


def _advice(runner: Runner) -> str:
    last = runner.message_hub.runtime_info.get('last_ckpt')
    kept = f'the last checkpoint, {last}, is from before' if last else 'no checkpoint was written'
    return (f'. The training has diverged and stops; {kept}. Lower the learning rate, clip gradients '
            '(optim_wrapper.clip_grad), or train without mixed precision')
