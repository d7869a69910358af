"""The sampling rate of mmavs, and resampling of waveforms; without PyTorch, which processes that decode do not need."""
from fractions import Fraction
from functools import lru_cache
from math import ceil, gcd

import numpy as np

#: Samples per second of all waveforms of mmavs.
SAMPLE_RATE = 16000
# The filter 'kaiser_best' of resampy >= 0.3, which the audio of the benchmarks was prepared with: zero crossings on
# each side, roll-off frequency as a fraction of the Nyquist frequency, shape of the Kaiser window.
KAISER_ZEROS, KAISER_ROLLOFF, KAISER_BETA = 50, 0.9173473712608761, 12.984585247040012
# Rates of real audio reduce to small numbers: 44100 to 16000 Hz is 160 / 441. Beyond this, as for 44101 Hz, the filter
# of all phases takes up to gigabytes, and is interpolated between this many phases.
MAX_FACTOR = NUM_PHASES = 2048
# Values of filters and samples that are multiplied at a time.
BLOCK = 2**20


def resample(waveform: np.ndarray, orig_rate: int, rate: int) -> np.ndarray:
    """Change the sampling rate as resampy >= 0.3 does with ``kaiser_best``.

    The filter is evaluated exactly; resampy interpolates a table. The results agree to about 1e-4. For odd rates, such
    as 44101 Hz, the filter is interpolated between 2048 phases, to about 1e-7.

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
    if max(up, down) > MAX_FACTOR:
        return _resample_interpolated(np.asarray(waveform, dtype=np.float32), up, down)
    from scipy.signal import resample_poly  # takes long to import, and most audio has the rate of the models

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


def _resample_interpolated(waveform: np.ndarray, up: int, down: int) -> np.ndarray:
    """Resample by up / down with filters between the phases of :func:`_phase_filters`, in blocks."""
    filters = _phase_filters(down / up)
    taps = filters.shape[1]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(waveform, taps // 2), taps)
    length = len(waveform) * up // down
    resampled = np.empty(length, np.float32)
    for start in range(0, length, BLOCK // taps):
        positions = np.arange(start, min(length, start + BLOCK // taps), dtype=np.int64) * down
        # The sample before each result, the phase between that and the next, and the rest between two phases.
        before, phase = positions // up, positions % up * (NUM_PHASES / up)
        index = phase.astype(np.int64)
        rest = (phase - index).astype(np.float32)[:, None]
        weights = filters[index] * (1 - rest) + filters[index + 1] * rest
        resampled[start:start + len(positions)] = np.einsum('ij,ij->i', windows[before + 1], weights)
    return resampled


@lru_cache(maxsize=4)
def _phase_filters(step: float) -> np.ndarray:
    """Filters for results at each of the phases 0 to 1 between two samples, (phases + 1, taps) float32.

    Args:
        step: Samples of the waveform for each result.
    """
    scale = max(1., step)
    half = ceil(KAISER_ZEROS * scale)
    distances = np.arange(-half + 1, half + 1)  # of the samples from the one before the result
    phases = np.arange(NUM_PHASES + 1)[:, None] / NUM_PHASES
    return np.stack([_kaiser_lowpass((distances - phase) / scale) / scale for phase in phases]).astype(np.float32)


@lru_cache(maxsize=8)
def _kaiser_filter(up: int, down: int) -> np.ndarray:
    """Low-pass filter for resampling by up / down, at ``up`` times the original rate."""
    half = KAISER_ZEROS * max(up, down)
    lowpass = _kaiser_lowpass(np.arange(-half, half + 1) / max(up, down))
    # resample_poly multiplies by up.
    return lowpass * min(1, up / down) / up


def _kaiser_lowpass(time: np.ndarray) -> np.ndarray:
    """Value of the filter at a time in samples of the lower of the two rates."""
    window = np.i0(KAISER_BETA * np.sqrt(np.maximum(0, 1 - (time / KAISER_ZEROS)**2))) / np.i0(KAISER_BETA)
    inside = np.abs(time) <= KAISER_ZEROS
    return KAISER_ROLLOFF * np.sinc(KAISER_ROLLOFF * time) * window * inside
