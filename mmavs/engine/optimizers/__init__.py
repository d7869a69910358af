"""Optimizers with rules for the learning rate and weight decay of each parameter."""
from .param_rules import ParamRulesOptimWrapperConstructor

__all__ = ['ParamRulesOptimWrapperConstructor']
