"""RAVS (CVPR 2025): names of its classifier; no weights of the authors are published that could be converted."""
from .registry import Traits, register

register('ravs', traits=Traits(classifier=r'decode_head\.(mask|uncertainty)_head\.(weight|bias)$'))
