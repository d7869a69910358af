"""Pixel decoders, which turn the pyramid of a backbone into the maps of a transformer decoder."""
from .ms_deform_attn import MSDeformAttnPixelDecoder

__all__ = ['MSDeformAttnPixelDecoder']
