"""Audio of classes that no procedural clip has, for the audio condition 'absent-class'."""
from pathlib import Path

import numpy as np

from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.utils.files import atomic_write

from .layouts import encode_audio

SECONDS = 5
# RMS, in the middle of the range of the clips' sources.
LEVEL = 10**(-23 / 20)


def _rain(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rain: noise of slowly changing level, with drops."""
    swell = 1 + 0.5 * np.sin(2 * np.pi * (rng.uniform(0.2, 0.5) * t + rng.random()))
    drops = (rng.random(len(t)) < rng.uniform(0.001, 0.003)) * rng.uniform(4, 12, len(t))
    return rng.standard_normal(len(t)) * swell + drops


def _whistle(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Whistle: a pure high tone with vibrato."""
    pitch, vibrato = rng.uniform(1500, 1900), rng.uniform(5, 7)
    return np.sin(2 * np.pi * pitch * t + pitch * 0.02 / vibrato * np.sin(2 * np.pi * vibrato * t))


def _organ(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Organ: three steady tones, each with its octaves."""
    root = rng.uniform(180, 300)
    tones = np.outer((1, 5 / 4, 3 / 2), (1, 2, 4)).ravel() * root
    return np.sin(2 * np.pi * tones[:, None] * t + rng.uniform(0, 6.28, (len(tones), 1))).sum(0)


TIMBRES = dict(rain=_rain, whistle=_whistle, organ=_organ)


def synthesize_absent_audio(directory: str | Path, count: int, seed: int = 0) -> Path:
    """Write ``count`` files of 5 s, ``{directory}/{class}/{number}.wav``, of rain, a whistle and an organ in turn."""
    t = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    for number in range(count):
        name, make = list(TIMBRES.items())[number % len(TIMBRES)]
        signal = make(t, np.random.default_rng([seed, number]))
        signal *= LEVEL / np.sqrt(np.mean(signal**2))
        waveform = (signal / max(1, np.abs(signal).max())).astype(np.float32)
        with atomic_write(Path(directory, name, f'{number:03d}.wav')) as partial:
            partial.write_bytes(encode_audio(waveform))
    return Path(directory)
