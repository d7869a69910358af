"""Stands in for ``mmcv._ext``: deformable attention, compiled alone, and the names of all other ops.

``mmcv.ops`` checks at its import that the extension has a function for each op. Those that were not compiled fail when
they are called.
"""
from collections.abc import Callable

from mmcv_deformable_ext import *  # noqa: F403


def __getattr__(name: str) -> Callable:
    if name.startswith('__'):
        raise AttributeError(name)

    def missing(*args, **kwargs) -> None:
        raise NotImplementedError(f'mmcv was compiled without {name}: the GPU check needs deformable attention only')

    return missing
