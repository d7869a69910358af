"""Sounds of classes that no drawn clip has: what a model must not take for one of its own."""
from pathlib import Path

import numpy as np

from mmavs.audio.log_mel import SAMPLE_RATE

from .layouts import write_sound

SECONDS = 5
LEVEL = 10**(-23 / 20)  # in the middle of those of the clips


def _rain(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise that swells and fades, with drops."""
    swell = 1 + 0.5 * np.sin(2 * np.pi * (rng.uniform(0.2, 0.5) * t + rng.random()))
    drops = (rng.random(len(t)) < rng.uniform(0.001, 0.003)) * rng.uniform(4, 12, len(t))
    return rng.standard_normal(len(t)) * swell + drops


def _whistle(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A pure high tone with vibrato."""
    pitch, vibrato = rng.uniform(1500, 1900), rng.uniform(5, 7)
    return np.sin(2 * np.pi * pitch * t + pitch * 0.02 / vibrato * np.sin(2 * np.pi * vibrato * t))


def _organ(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An organ: three steady tones, each with its octaves."""
    root = rng.uniform(180, 300)
    tones = np.outer((1, 5 / 4, 3 / 2), (1, 2, 4)).ravel() * root
    return np.sin(2 * np.pi * tones[:, None] * t + rng.uniform(0, 6.28, (len(tones), 1))).sum(0)


TIMBRES = dict(rain=_rain, whistle=_whistle, organ=_organ)


def synthesize_absent_audio(folder: str | Path, count: int, seed: int = 0) -> Path:
    """Write ``count`` sounds of 5 s into ``folder/{class}/{number}.wav``, of rain, whistles and organs by turns."""
    t = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    for number in range(count):
        name, make = list(TIMBRES.items())[number % len(TIMBRES)]
        signal = make(t, np.random.default_rng([seed, number]))
        signal *= LEVEL / np.sqrt(np.mean(signal**2))
        write_sound(Path(folder, name, f'{number:03d}.wav'), (signal / max(1, np.abs(signal).max())).astype(np.float32))
    return Path(folder)
