"""Random numbers that depend on a seed only, not on the process or on earlier random numbers."""
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(*keys: int) -> int:
    """Derive a seed in [0, 2**32) from non-negative integers; other keys, or another order, give an unrelated seed."""
    return int(np.random.SeedSequence(keys).generate_state(1)[0])


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Seed Python, NumPy and PyTorch (CPU) within the block and restore their states after it; None does nothing."""
    if seed is None:
        yield
        return
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
