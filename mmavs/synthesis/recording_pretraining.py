"""Pretrain a small audio backbone on the recordings of cut-outs."""
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmavs.audio.log_mel import SAMPLE_RATE

from .audio_pretraining import PretrainingScores, pretrain_on
from .cutout_scenes import NOISE_LEVEL, OFF_SCREEN_LEVEL, SOURCE_LEVEL
from .cutouts import CutOut, CutOuts
from .recordings import background_noise, play, room_response
from .sounds import below_full_scale

#: Probabilities of no, one or two classes in a second, and of off-screen audio of no class.
SOURCE_COUNT_PROBS, OFF_SCREEN_SHARE = (0.1, 0.5, 0.4), 0.25
#: Variants of the recording of an instance, and of off-screen audio, and their length in seconds.
VARIANTS, OFF_SCREEN_VARIANTS, SECONDS = 8, 1, 5
_STREAM = 6


class RecordedSeconds:
    """Seconds of audio that are mixed of recordings, with the classes in them.

    Pitch, tempo and room of a recording are varied once, because that takes longer than a training step; the second,
    the level, the mixture and the noise are drawn for each example.

    Args:
        cutouts: The recordings.
        hold_out: See :meth:`CutOuts.of_split`.
        seed: Seed of the variants.
        split: Split of the instances, 'train' or 'test'.

    Attributes:
        classes: Names of the classes of this split, in the order of the labels.
    """

    def __init__(self, cutouts: CutOuts, hold_out: int | None = None, seed: int = 0, split: str = 'train') -> None:
        rng, instances = np.random.default_rng([seed, _STREAM]), cutouts.of_split(split, hold_out)
        self.classes = list(instances)
        self.tracks = [[_vary(item, rng) for item in items for _ in range(VARIANTS)] for items in instances.values()]
        self.off_screen = [_vary(item, rng) for item in cutouts.off_screen for _ in range(OFF_SCREEN_VARIANTS)]

    def __call__(self, rng: np.random.Generator, number: int) -> tuple[Tensor, Tensor]:
        """Sample seconds (number, 16000) in [-1, 1] and labels (number, classes), 0 or 1."""
        waveforms = np.empty((number, SAMPLE_RATE), np.float32)
        present = np.zeros((number, len(self.tracks)), np.float32)
        for i, flags in enumerate(present):
            waveform = np.float32(10**(rng.uniform(*NOISE_LEVEL) / 20)) * background_noise(rng, 1)
            for index in rng.permutation(len(self.tracks))[:rng.choice(len(SOURCE_COUNT_PROBS), p=SOURCE_COUNT_PROBS)]:
                waveform += _second(rng, self.tracks[index], SOURCE_LEVEL)
                flags[index] = 1
            if self.off_screen and rng.random() < OFF_SCREEN_SHARE:
                waveform += _second(rng, self.off_screen, OFF_SCREEN_LEVEL if flags.any() else SOURCE_LEVEL)
            waveforms[i] = below_full_scale(waveform)
        return torch.from_numpy(waveforms), torch.from_numpy(present)


def pretrain_on_recordings(config: dict, out: str | Path, cutouts: CutOuts, hold_out: int | None = None,
                           steps: int = 500, batch_size: int = 32, seed: int = 0) -> PretrainingScores:
    """Train a VGGish to name the classes in seconds of recordings, and save its weights.

    See :func:`mmavs.synthesis.audio_pretraining.pretrain_audio_backbone` for arguments and result, and
    :class:`RecordedSeconds`. With ``hold_out``, the recordings of the test split are scored too.

    Raises:
        ValueError: See :meth:`CutOuts.check_hold_out`.
    """
    held_out = None
    if hold_out is not None:
        cutouts.check_hold_out(hold_out)
        test = RecordedSeconds(cutouts, hold_out, seed, 'test')
        held_out = test, [list(cutouts.categories).index(name) for name in test.classes]
    return pretrain_on(config, out, RecordedSeconds(cutouts, hold_out, seed), len(cutouts.categories),
                       dict(source='recordings', classes=cutouts.categories, hold_out=hold_out), steps, batch_size,
                       seed, held_out=held_out)


def _vary(item: CutOut, rng: np.random.Generator) -> np.ndarray:
    return play(item.audio, np.ones(SECONDS, bool), room_response(rng), rng)


def _second(rng: np.random.Generator, tracks: list[np.ndarray], levels: tuple[float, float]) -> np.ndarray:
    """A random second of one of the tracks, at a level in dBFS."""
    track = tracks[rng.integers(len(tracks))]
    start = rng.integers(len(track) - SAMPLE_RATE)
    return np.float32(10**(rng.uniform(*levels) / 20)) * track[start:start + SAMPLE_RATE]
