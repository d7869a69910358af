"""Rules for the learning rate and weight decay of each parameter."""
from .independent_rules import IndependentRulesConstructor

__all__ = ['IndependentRulesConstructor']
