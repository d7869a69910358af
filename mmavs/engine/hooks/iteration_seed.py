"""Hook that seeds every training step, to make resumed runs reproducible."""
import random
from contextlib import ExitStack

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from torch.utils._python_dispatch import TorchDispatchMode

from mmavs.registry import HOOKS
from mmavs.utils.randomness import derive_seed

aten = torch.ops.aten


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seed every training step from the seed of the run, the iteration and the rank.

    The random numbers of a step (drop path, Gumbel noise, points of the mask loss) then do not depend on earlier steps,
    and a resumed run takes the same steps as an uninterrupted one. :class:`mmavs.datasets.SeededInfiniteSampler` does
    the same for the clips and their augmentation.

    Args:
        same_for_all_samples: Draw random numbers for one sample and use them for every sample of the global batch.
            Steps then do not depend on the number of processes either. This is for comparing such runs; it weakens
            the regularization.
    """

    # After hooks that may draw random numbers themselves.
    priority = 'LOWEST'

    def __init__(self, same_for_all_samples: bool = False) -> None:
        self.same_for_all_samples = same_for_all_samples
        self._stack = ExitStack()

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Seed Python, NumPy and PyTorch on all devices."""
        if self.same_for_all_samples:
            seed = derive_seed(runner.seed, runner.iter)
            self._stack.enter_context(SameNoiseForAllSamples(seed))
        else:
            seed = derive_seed(runner.seed, runner.iter, get_rank())
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Leave the mode of ``same_for_all_samples``."""
        self._stack.close()


class SameNoiseForAllSamples(TorchDispatchMode):
    """Mode in which random tensors depend on ``seed`` and their shape without the first axis, and repeat along it.

    Covers uniform, normal, exponential and Bernoulli draws of tensors whose first axis runs over samples.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (aten.rand.default, aten.randn.default) and len(args[0]) > 1:
            size = tuple(args[0])
            kwargs = kwargs | dict(generator=self._generator(size[1:], kwargs.get('device')))
            overload = func.overloadpacket.generator
            return overload((1, *size[1:]), **kwargs).expand(size).clone()
        if func in (aten.rand_like.default, aten.randn_like.default) and args[0].ndim > 1:
            x = args[0]
            generator = self._generator(x.shape[1:], x.device)
            draw = aten.rand.generator if func is aten.rand_like.default else aten.randn.generator
            sample = draw((1, *x.shape[1:]), generator=generator, dtype=x.dtype, device=x.device)
            return sample.expand_as(x).clone()
        if func in (aten.uniform_.default, aten.exponential_.default, aten.normal_.default,
                    aten.bernoulli_.float) and args[0].ndim > 1:
            x, *rest = args
            kwargs = kwargs | dict(generator=self._generator(x.shape[1:], x.device))
            return x.copy_(func(torch.empty_like(x[:1]), *rest, **kwargs).expand_as(x))
        return func(*args, **kwargs)

    def _generator(self, shape: tuple[int, ...], device: torch.device | None) -> torch.Generator:
        return torch.Generator(device or 'cpu').manual_seed(derive_seed(self.seed, *shape))
