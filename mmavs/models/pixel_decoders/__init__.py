"""Pixel decoders: from a backbone's pyramid to the maps a transformer decoder reads."""
from .ms_deform_attn import MSDeformAttnPixelDecoder

__all__ = ['MSDeformAttnPixelDecoder']
