"""Resampling of waveforms."""
from fractions import Fraction
from functools import lru_cache
from math import ceil, gcd

import numpy as np
from scipy.signal import resample_poly

# The filter 'kaiser_best' of resampy >= 0.3, which the audio of the benchmarks was prepared with: zero crossings on
# each side, roll-off frequency as a fraction of the Nyquist frequency, shape of the Kaiser window.
KAISER_ZEROS, KAISER_ROLLOFF, KAISER_BETA = 50, 0.9173473712608761, 12.984585247040012


def resample(waveform: np.ndarray, orig_rate: int, rate: int) -> np.ndarray:
    """Change the sampling rate as resampy >= 0.3 does with ``kaiser_best``.

    The filter is evaluated exactly; resampy interpolates a table. The results agree to about 1e-4.

    Args:
        waveform: Samples of shape (L,).
        orig_rate: Samples per second of ``waveform``; any positive integer.
        rate: Samples per second of the result.

    Returns:
        Samples of shape (floor(L * rate / orig_rate),), float32.
    """
    if orig_rate <= 0 or rate <= 0:
        raise ValueError(f'sampling rates must be positive, found {orig_rate} and {rate}')
    if orig_rate == rate:
        return np.asarray(waveform, dtype=np.float32)
    divisor = gcd(orig_rate, rate)
    up, down = rate // divisor, orig_rate // divisor
    resampled = resample_poly(np.asarray(waveform, dtype=np.float32), up, down, window=_kaiser_filter(up, down))
    return resampled[:len(waveform) * up // down].astype(np.float32, copy=False)


def resampled_section(start: int, stop: int, orig_rate: int, rate: int) -> tuple[int, int, int]:
    """Find the part of a waveform that some of its resampled samples depend on.

    ``resample(waveform[begin:end], orig_rate, rate)[skip:skip + stop - start]`` equals
    ``resample(waveform, orig_rate, rate)[start:stop]``.

    Args:
        start: First resampled sample.
        stop: End of the resampled samples, exclusive.
        orig_rate: Samples per second of the waveform.
        rate: Samples per second of the result.

    Returns:
        begin, end and skip; ``end`` may exceed the waveform.
    """
    if orig_rate == rate:
        return start, stop, 0
    step = Fraction(orig_rate, rate)
    reach = KAISER_ZEROS * max(1, step)  # of the filter, in samples of the waveform
    # Resampled samples coincide with original ones at multiples of the reduced rates.
    periods = max(0, (start * step - reach) // step.numerator)
    return periods * step.numerator, ceil((stop - 1) * step + reach) + 1, start - periods * step.denominator


@lru_cache(maxsize=8)
def _kaiser_filter(up: int, down: int) -> np.ndarray:
    """Low-pass filter for resampling by up / down, at ``up`` times the original rate."""
    # Time in samples of the lower of the two rates.
    half = KAISER_ZEROS * max(up, down)
    time = np.arange(-half, half + 1) / max(up, down)
    window = np.i0(KAISER_BETA * np.sqrt(1 - (time / KAISER_ZEROS)**2)) / np.i0(KAISER_BETA)
    lowpass = KAISER_ROLLOFF * np.sinc(KAISER_ROLLOFF * time) * window
    # resample_poly multiplies by up.
    return lowpass * min(1, up / down) / up
