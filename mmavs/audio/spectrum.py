"""Windows of a waveform, and the Fourier transform of real signals, so that ONNX can express them."""
import math

import torch
from torch import Tensor

from mmavs.utils.exporting import is_for_onnx


def sliding_windows(waveform: Tensor, length: int, hop: int) -> Tensor:
    """Complete windows of a waveform, (..., 1 + (L - length) // hop, length) from (..., L)."""
    if not is_for_onnx():
        return waveform.unfold(-1, length, hop)
    begins = torch.arange(0, waveform.shape[-1] - length + 1, hop, device=waveform.device)
    return waveform[..., begins[:, None] + torch.arange(length, device=waveform.device)]


def magnitude_spectrum(x: Tensor, size: int) -> Tensor:
    """Magnitudes of ``torch.fft.rfft(x, size)``, (..., size // 2 + 1) float32."""
    if is_for_onnx():
        return power_spectrum(x, size).sqrt()
    return torch.fft.rfft(x, size).abs()


def power_spectrum(x: Tensor, size: int) -> Tensor:
    """Squared magnitudes of ``torch.fft.rfft(x, size)``, (..., size // 2 + 1) float32.

    In an export to ONNX they are computed by products with matrices, because it has no FFT of real signals that all
    runtimes support. They are in float64, because those in float32 would lose the digits of quiet bands.

    Args:
        x: (..., length) float32, ``length`` at most ``size``.
        size: Length to which x is padded with zeros.
    """
    if not is_for_onnx():
        spectrum = torch.fft.rfft(x, size)
        return spectrum.real.square() + spectrum.imag.square()
    angle = torch.arange(x.shape[-1])[:, None] * torch.arange(size // 2 + 1) % size * (2 * math.pi / size)
    x, angle = x.double(), angle.to(x.device, torch.float64)
    return ((x @ angle.cos()).square() + (x @ angle.sin()).square()).float()
