"""Synthesize the audio of objects: one family of timbres per category, without pauses within a second."""
from fractions import Fraction
from math import ceil

import numpy as np
from scipy.signal import resample_poly

from mmavs.audio.log_mel import SAMPLE_RATE


def _repeat(grain: np.ndarray, rate: float, length: int, rng: np.random.Generator) -> np.ndarray:
    """Repeat a grain ``rate`` times a second with a random phase and slightly uneven strength."""
    out = np.zeros(length + len(grain) + SAMPLE_RATE, np.float32)
    starts = np.arange(rng.uniform(-1, 0), length / SAMPLE_RATE * rate) * (SAMPLE_RATE / rate)
    for start, strength in zip(starts.astype(int) + SAMPLE_RATE, rng.uniform(0.75, 1, len(starts)), strict=True):
        out[start:start + len(grain)] += np.float32(strength) * grain
    return out[SAMPLE_RATE:SAMPLE_RATE + length]


def _time(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE


def _filter(signal: np.ndarray, gain) -> np.ndarray:
    """Apply a gain over frequency (Hz -> factor) in the Fourier domain."""
    frequency = np.fft.rfftfreq(len(signal), 1 / SAMPLE_RATE)
    return np.fft.irfft(np.fft.rfft(signal) * gain(frequency), len(signal)).astype(np.float32)


def _phase(frequency: np.ndarray) -> np.ndarray:
    """Phase in cycles of an instantaneous frequency in Hz."""
    return np.cumsum(frequency, dtype=np.float64) / SAMPLE_RATE


def _bell(length: int, instance: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
    """Struck bell: decaying inharmonic partials, four to six strikes a second."""
    pitch, rate, decay = instance.uniform(520, 820), instance.uniform(4, 6), instance.uniform(0.2, 0.35)
    ratios = np.array([1, 2, 2.76, 4.07, 5.4]) * instance.uniform(0.99, 1.01, 5)
    strengths = np.array([0.7, 0.8, 1, 0.7, 0.4]) * instance.uniform(0.7, 1.2, 5)
    t = _time(0.7)
    partials = strengths[:, None] * np.sin(2 * np.pi * pitch * ratios[:, None] * t)
    grain = (partials * np.exp(-t / decay * np.sqrt(ratios)[:, None])).sum(0)
    return _repeat(grain.astype(np.float32), rate, length, rng)


def _drum(length: int, instance: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
    """Drum: low thumps whose pitch drops."""
    low, drop = instance.uniform(100, 150), instance.uniform(120, 220)
    rate, decay = instance.uniform(4, 6), instance.uniform(0.07, 0.12)
    t = _time(0.4)
    grain = np.sin(2 * np.pi * _phase(low + drop * np.exp(-t / 0.03))) * np.exp(-t / decay)
    grain += 0.12 * rng.standard_normal(len(t)) * np.exp(-t / 0.008)
    return _repeat(grain.astype(np.float32), rate, length, rng)


def _cymbal(length: int, instance: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
    """Cymbal: bursts of high noise."""
    edge, rate, decay = instance.uniform(4200, 5200), instance.uniform(5, 8), instance.uniform(0.05, 0.1)
    noise = rng.standard_normal(SAMPLE_RATE // 2).astype(np.float32)
    noise = _filter(noise, lambda f: 1 / (1 + np.exp(-(f - edge) / 250)))
    return _repeat(noise * np.exp(-_time(0.5) / decay), rate, length, rng)


def _bird(length: int, instance: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
    """Bird: short rising chirps."""
    low, rise = instance.uniform(2100, 2700), instance.uniform(900, 1500)
    rate, duration = instance.uniform(6, 9), instance.uniform(0.07, 0.1)
    t = _time(duration)
    grain = np.sin(2 * np.pi * _phase(low + rise * t / duration)) * np.sin(np.pi * t / duration)**2
    return _repeat(grain.astype(np.float32), rate, length, rng)


def _gear(length: int, instance: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
    """Machine: a sawtooth drone with vibrato, darkened by a low-pass."""
    pitch, vibrato = instance.uniform(75, 120), instance.uniform(4, 7)
    depth, edge = instance.uniform(0.015, 0.04), instance.uniform(400, 650)
    t = _time(length / SAMPLE_RATE)
    phase = _phase(pitch * (1 + depth * np.sin(2 * np.pi * (vibrato * t + rng.random()))))
    saw = (2 * ((phase + rng.random()) % 1) - 1).astype(np.float32)
    return _filter(saw, lambda f: 1 / (1 + (f / edge)**4))


def _horn(length: int, instance: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
    """Horn: a bright tone that glides up and down."""
    pitch, width, rate = instance.uniform(560, 760), instance.uniform(0.2, 0.35), instance.uniform(1.3, 2.4)
    t = _time(length / SAMPLE_RATE)
    phase = 2 * np.pi * (_phase(pitch * (1 + width * np.sin(2 * np.pi * (rate * t + rng.random())))) % 1)
    return (np.sin(phase) + 0.45 * np.sin(2 * phase) + 0.25 * np.sin(3 * phase)).astype(np.float32)


def _clock(length: int, instance: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
    """Clock: a fast train of dry, broad-band clicks."""
    ring, rate, decay = instance.uniform(1400, 2200), instance.uniform(9, 14), instance.uniform(0.002, 0.004)
    t = _time(0.03)
    grain = np.sin(2 * np.pi * ring * t) * np.exp(-t / decay)
    grain += 0.8 * rng.standard_normal(len(t)) * np.exp(-t / 0.002)
    return _repeat(grain.astype(np.float32), rate, length, rng)


def _hive(length: int, instance: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
    """Swarm: a buzz of many harmonics around a formant, with a fast tremolo."""
    pitch, formant = instance.uniform(190, 250), instance.uniform(1500, 2000)
    tremolo, spread = instance.uniform(18, 28), instance.uniform(500, 800)
    t = _time(length / SAMPLE_RATE)
    phase = _phase(pitch * (1 + 0.01 * np.sin(2 * np.pi * (5 * t + rng.random())))) + rng.random()
    saw = (2 * (phase % 1) - 1).astype(np.float32)
    buzz = _filter(saw, lambda f: (f / 300) * (0.08 + np.exp(-((f - formant) / spread)**2)) / (1 + (f / 3200)**8))
    return buzz * (1 + 0.6 * np.sin(2 * np.pi * tremolo * t)).astype(np.float32)


#: Category name -> timbre. The keys are those of ``OBJECTS``.
SOUNDS = dict(bell=_bell, drum=_drum, cymbal=_cymbal, bird=_bird, gear=_gear, horn=_horn, clock=_clock, hive=_hive)


def synthesize_sound(category: str, seconds: int, instance: np.random.Generator, rng: np.random.Generator,
                     pitch: float = 1.0) -> np.ndarray:
    """Synthesize a sound source without pauses.

    Args:
        category: A key of ``SOUNDS``.
        seconds: Duration.
        instance: Random stream of the instance's parameters (pitch, rate, ...).
        rng: Random stream of the parameters that vary between clips (phase, noise).
        pitch: Factor on all frequencies and rates, as for a tape at another speed.

    Returns:
        (seconds * 16000,) float32 of RMS 1.
    """
    length = seconds * SAMPLE_RATE
    if pitch == 1:
        signal = SOUNDS[category](length, instance, rng)
    else:
        speed = Fraction(pitch).limit_denominator(20)
        signal = SOUNDS[category](ceil(length * speed), instance, rng)
        signal = resample_poly(signal, speed.denominator, speed.numerator)[:length].astype(np.float32)
    return signal / np.sqrt(np.mean(signal**2, dtype=np.float64)).astype(np.float32)


def below_full_scale(mix: np.ndarray) -> np.ndarray:
    """Scale a mix of any length down if it exceeds the range [-1, 1]; float32."""
    return (mix / max(1, np.abs(mix).max() / 0.98)).astype(np.float32)


def gate(sounding: np.ndarray, fade: float = 0.01) -> np.ndarray:
    """Envelope that opens and closes at whole seconds.

    Args:
        sounding: (T,) bool, one flag per second.
        fade: Length of the fades in seconds; they lie inside the sounding seconds.

    Returns:
        (T * 16000,) float32 in [0, 1].
    """
    envelope = np.repeat(np.asarray(sounding, np.float32), SAMPLE_RATE)
    ramp = np.linspace(0, 1, round(fade * SAMPLE_RATE), dtype=np.float32)
    padded = np.concatenate([[False], sounding, [False]]).astype(int)
    for second in np.flatnonzero(np.diff(padded) == 1):
        envelope[second * SAMPLE_RATE:second * SAMPLE_RATE + len(ramp)] = ramp
    for second in np.flatnonzero(np.diff(padded) == -1):
        envelope[second * SAMPLE_RATE - len(ramp):second * SAMPLE_RATE] = ramp[::-1]
    return envelope
