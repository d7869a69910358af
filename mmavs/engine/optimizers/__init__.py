"""Optimizers with rules for the learning rate and weight decay of each parameter, and their schedules."""
from .param_rules import ParamRulesOptimWrapperConstructor
from .two_stage_warmup import TwoStageWarmupPolyLR

__all__ = ['ParamRulesOptimWrapperConstructor', 'TwoStageWarmupPolyLR']
