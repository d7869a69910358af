"""Make the audio of a source from a recording: repeated, at another pitch and tempo, in a room."""
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d
from scipy.signal import fftconvolve, resample_poly
from torchaudio.functional import phase_vocoder

from mmavs.audio.io import read_waveform
from mmavs.audio.log_mel import SAMPLE_RATE

from .composition import cut_pauses
from .sounds import gate

#: Ranges of the random changes of a recording, within which a listener still names the class.
SEMITONES, TEMPO = (-1.5, 1.5), (0.85, 1.18)
#: Seconds between two repetitions, longest pause that is kept in a recording, and reverberation time (60 dB).
GAP, LONGEST_PAUSE, REVERBERATION_TIME = (0.05, 0.3), 0.3, (0.08, 0.6)
#: Level of the reverberation relative to the direct audio, in dB; its first reflections' delay in seconds.
WET_LEVEL, PREDELAY = (-20, -7), (0.002, 0.015)
# A second in which a source sounds is at most this far below its mean level, in dB, if one of the draws of the
# repetitions allows it: a mask would otherwise state that a pause sounds.
_LOWEST_SECOND, _DRAWS = -8, 8
# Exponent of the leveling: 0 keeps the dynamics of a recording, 1 makes each 0.2 s equally loud.
_LEVELING = 0.6
_FFT = 512


@lru_cache(maxsize=256)
def load_recording(path: Path) -> np.ndarray:
    """Read a recording, cut its pauses, and level it: (L,) float32 of RMS 1. Not to be written to: it is cached.

    Raises:
        ValueError: The recording is silent.
    """
    track = cut_pauses(read_waveform(path, SAMPLE_RATE), LONGEST_PAUSE)
    envelope = np.sqrt(uniform_filter1d(track**2, SAMPLE_RATE // 5, mode='nearest').clip(0))
    if not envelope.max(initial=0) > 1e-4:
        raise ValueError(f'{path}: the recording is silent')
    track = track / np.maximum(envelope, 0.02 * envelope.max())**_LEVELING
    track = (track / np.sqrt(np.mean(track**2))).astype(np.float32)
    track.setflags(write=False)
    return track


def change_tempo(track: np.ndarray, tempo: float) -> np.ndarray:
    """Play a track ``tempo`` times as fast at the same pitch, by a phase vocoder."""
    if len(track) < 4 * _FFT:
        return track
    window, hop = torch.hann_window(_FFT), _FFT // 4
    spectrum = torch.stft(torch.from_numpy(np.array(track)), _FFT, hop, window=window, return_complex=True)
    advance = torch.linspace(0, torch.pi * hop, _FFT // 2 + 1)[:, None]
    stretched = phase_vocoder(spectrum, tempo, advance)
    return torch.istft(stretched, _FFT, hop, window=window, length=round(len(track) / tempo)).numpy()


def change_pitch(track: np.ndarray, semitones: float) -> np.ndarray:
    """Play a track faster or slower, which raises or lowers all frequencies, as of a smaller or larger animal."""
    speed = Fraction(2**(semitones / 12)).limit_denominator(40)
    return resample_poly(track, speed.denominator, speed.numerator).astype(np.float32)


def room_response(rng: np.random.Generator) -> np.ndarray:
    """Synthetic impulse response of a room: the direct audio, then decaying noise that gets darker; (L,) float32."""
    seconds = rng.uniform(*REVERBERATION_TIME)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(time)) * 10**(-3 * time / seconds)
    tail = 0.5 * (tail + uniform_filter1d(tail, 4))
    tail *= 10**(rng.uniform(*WET_LEVEL) / 20) / np.sqrt((tail**2).sum())
    response = np.concatenate([np.zeros(round(rng.uniform(*PREDELAY) * SAMPLE_RATE)), tail])
    response[0] += 1
    return response.astype(np.float32)


def play(path: Path, sounding: np.ndarray, response: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Repeat a recording with random pitch, tempo, pauses and loudness while a source sounds.

    Args:
        path: The recording.
        sounding: (T,) bool, one flag per second. Outside these seconds there is nothing, also no reverberation, because
            the masks state that nothing sounds there.
        response: Impulse response of the room.
        rng: Random stream.

    Returns:
        (T * 16000,) float32 of RMS 1 in the seconds in which it sounds.
    """
    track = change_pitch(load_recording(path), rng.uniform(*SEMITONES))
    track = change_tempo(track, rng.uniform(*TEMPO))
    fade = np.minimum(1, np.minimum(np.arange(len(track)), np.arange(len(track))[::-1]) / 80).astype(np.float32)
    track = track * fade
    best, best_energy = None, -1.0
    for _ in range(_DRAWS):
        signal = _repeat(track, len(sounding) * SAMPLE_RATE, rng)
        energies = (signal.reshape(-1, SAMPLE_RATE)**2).sum(1)[sounding]
        lowest = energies.min() / max(energies.mean(), 1e-12)
        if lowest > best_energy:
            best, best_energy = signal, lowest
        if lowest > 10**(_LOWEST_SECOND / 10):
            break
    signal = fftconvolve(best, response)[:len(best)] * gate(sounding, 0.02)
    level = np.sqrt((signal**2).sum() / (np.count_nonzero(sounding) * SAMPLE_RATE))
    return (signal / max(level, 1e-6)).astype(np.float32)


def _repeat(track: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Repeat a track with random pauses and loudness: (length,) float32."""
    signal = np.zeros(length + len(track), np.float32)
    # A long recording may have begun before the clip.
    start = -int(rng.uniform(0, max(0, len(track) - SAMPLE_RATE / 2)))
    while start < length:
        first = max(0, start)
        signal[first:start + len(track)] += np.float32(10**(rng.uniform(-2, 2) / 20)) * track[first - start:]
        start += len(track) + int(rng.uniform(*GAP) * SAMPLE_RATE)
    return signal[:length]


def background_noise(rng: np.random.Generator, seconds: int) -> np.ndarray:
    """Noise whose level falls with frequency (white, pink, brown or between) and swells slowly, of RMS 1.

    Returns:
        (seconds * 16000,) float32.
    """
    length = seconds * SAMPLE_RATE
    spectrum = np.fft.rfft(rng.standard_normal(length).astype(np.float32))
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 40)
    noise = np.fft.irfft(spectrum * frequency**-rng.uniform(0, 1), length)
    swell = 1 + rng.uniform(0, 0.6) * np.sin(2 * np.pi * (rng.uniform(0.1, 0.5) * np.arange(length) / SAMPLE_RATE
                                                         + rng.random()))
    noise *= swell
    return (noise / np.sqrt(np.mean(noise**2))).astype(np.float32)
