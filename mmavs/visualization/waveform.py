"""Waveforms as drawings and videos need them."""
import numpy as np
from torch import Tensor

from mmavs.audio.io import float_samples


def to_mono(waveform: np.ndarray | Tensor) -> np.ndarray:
    """Convert a waveform to one channel of floats.

    Args:
        waveform: (L,), (L, channels) or (channels, L); floats in [-1, 1], or integers, which are divided by their
            full scale. Channels are averaged.

    Returns:
        (L,) float32.

    Raises:
        ValueError: The waveform has another shape.
    """
    samples = waveform.detach().cpu().numpy() if isinstance(waveform, Tensor) else np.asarray(waveform)
    samples = float_samples(samples)
    if samples.ndim == 2 and min(samples.shape) > 0:
        samples = samples.mean(int(np.argmin(samples.shape)))
    if samples.ndim != 1:
        raise ValueError(f'the waveform has shape {samples.shape}, expected (L,), (L, channels) or (channels, L)')
    return samples


def fit_length(waveform: np.ndarray, length: int) -> np.ndarray:
    """Cut a waveform (L,) to a number of samples, or pad it with silence."""
    return np.pad(waveform[:length], (0, max(0, length - len(waveform))))


def check_rate(rate: float | None) -> int:
    """Return the samples per second as an int.

    Raises:
        ValueError: The rate is missing, or not a positive whole number.
    """
    if rate is None:
        raise ValueError('the sampling rate of the waveform is missing: pass its samples per second (16000 for the '
                         'waveforms of the pipelines)')
    if not 0 < rate < float('inf') or int(rate) != rate:
        raise ValueError(f'the sampling rate is {rate!r}, expected a positive whole number of samples per second')
    return int(rate)
