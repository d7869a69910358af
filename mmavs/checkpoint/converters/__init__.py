"""Conversion of published checkpoints to the names of mmavs and back; every key is used, or dropped with a reason.

Each module of this package registers the converter and the traits of one method or backbone. A new one is a new file.
"""
from importlib import import_module
from pkgutil import iter_modules

from .registry import CONVERTERS, TRAITS, Converter, OptionalPart, Traits, export_weights, register
from .rules import Conversion, Drop, Rename, apply_rules

for _module in iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')

__all__ = [
    'CONVERTERS', 'TRAITS', 'Conversion', 'Converter', 'Drop', 'OptionalPart', 'Rename', 'Traits', 'apply_rules',
    'export_weights', 'register'
]
