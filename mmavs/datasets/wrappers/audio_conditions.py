"""Replace the audio of clips by that of an audio condition: silence, noise, other clips, absent classes, mixtures."""
import hashlib
from collections.abc import Sequence
from functools import cache
from math import isfinite, nan
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mmavs.audio.io import AUDIO_SUFFIXES
from mmavs.datasets.clip_dataset import ClipDataset, loading_transforms
from mmavs.datasets.file_listing import AUDIO_KEYS
from mmavs.datasets.transforms.audio import read_center
from mmavs.datasets.transforms.loading import read_mask
from mmavs.structures import UNLABELLED

# Condition -> unit of its level, and whether the level is required or optional; None: it has no level.
LEVELS = {
    'silence': None,
    'noise': ('dBFS', 'optional'),
    'off-screen': None,
    'absent-class': None,
    'mixture': ('dB SNR', 'required'),
}


class AudioCondition(NamedTuple):
    """An audio condition other than the original audio; see :class:`mmavs.datasets.ReplaceAudio`.

    Attributes:
        name: 'silence', 'noise', 'off-screen', 'absent-class' or 'mixture'.
        level: dBFS of noise (None: that of the original audio), or the signal-to-noise ratio of a mixture in dB.
    """
    name: str
    level: float | None = None

    @classmethod
    def parse(cls, text: str) -> 'AudioCondition':
        """Read 'silence', 'noise', 'noise:-20', 'off-screen', 'absent-class' or 'mixture:0'."""
        name, colon, level = text.partition(':')
        if name not in LEVELS:
            raise ValueError(f"{text!r} is not an audio condition, expected one of {', '.join(LEVELS)}, some with a "
                             'level: noise:-20')
        if LEVELS[name] is None:
            if colon:
                raise ValueError(f'{text!r}: {name} has no level')
            return cls(name)
        unit, need = LEVELS[name]
        if not colon:
            if need == 'required':
                raise ValueError(f"{text!r}: {name} needs a level in {unit}, '{name}:0' for example")
            return cls(name)
        try:
            number = float(level)
        except ValueError:
            number = nan
        if not isfinite(number):
            raise ValueError(f'{text!r}: the level {level!r} is not a number (of {unit})')
        return cls(name, number)

    @property
    def is_negative(self) -> bool:
        """Whether the target is empty: no visible object sounds. A mixture still contains the original audio."""
        return self.name != 'mixture'

    @property
    def needs_other_clip(self) -> bool:
        """Whether the audio comes from another clip of the split."""
        return self.name in ('off-screen', 'mixture')

    @property
    def needs_source(self) -> bool:
        """Whether the audio comes from another clip or from a file."""
        return self.needs_other_clip or self.name == 'absent-class'

    @property
    def level_text(self) -> str:
        """The level with its unit, for manifests."""
        if self.name == 'noise' and self.level is None:
            return 'original RMS'
        return '' if self.level is None else f'{self.level:g} {LEVELS[self.name][0]}'


class AudioReplacer:
    """Choose and replace the audio of packed clips.

    The audio enters at the place where the pipeline has packed the original: as a waveform of the same rate and length.
    It therefore passes the same front-end of the model.

    Args:
        dataset: The listed dataset of the clips; its pipeline loads waveforms.
        conditions: The audio conditions in use.
        absent_audio: For 'absent-class', directory of audio files of classes that no clip of the dataset has.

    Raises:
        FileNotFoundError: ``absent_audio`` holds no audio file.
        ValueError: The pipeline does not load waveforms, or 'absent-class' has no directory.
    """

    def __init__(self,
                 dataset: ClipDataset,
                 conditions: Sequence[AudioCondition],
                 absent_audio: str | None = None) -> None:
        self.dataset = dataset
        self.loader = _waveform_loader(dataset)
        self._clips = [dataset.get_data_info(i) for i in range(len(dataset))]
        self._order = sorted(range(len(self._clips)), key=lambda i: self._clips[i]['clip_id'])
        self._num_frames = [sum(clip['valid']) for clip in self._clips]
        self._sounding: list[frozenset[str] | None] = []
        if any(condition.needs_other_clip for condition in conditions):
            self._sounding = [sounding_classes(clip, dataset.metainfo['classes']) for clip in self._clips]
        self._files: list[Path] = []
        if any(condition.name == 'absent-class' for condition in conditions):
            self._files = list_absent_audio(absent_audio)

    def clip_id(self, index: int) -> str:
        """Id of a clip."""
        return self._clips[index]['clip_id']

    def seed(self, index: int) -> int:
        """Seed of all random draws for a clip in a test: a hash of its subset and id."""
        name = f"{self._clips[index]['subset']}/{self._clips[index]['clip_id']}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], 'little')

    def knows_classes(self, index: int) -> bool:
        """Whether the sounding classes of a clip are known, which allows to choose audio of other classes."""
        return self._sounding[index] is not None

    def draw_source(self, condition: AudioCondition, index: int,
                    rng: np.random.RandomState) -> int | Path | None:
        """Choose where the audio of a clip comes from.

        Candidates are all files for 'absent-class', and for the conditions that need another clip those with as many
        frames, in the order of their ids. If the sounding classes of the clip are known, none of the other clip's
        classes may be sounding or visible in it.

        Args:
            condition: One of the conditions in use.
            index: Index of the clip.
            rng: Random numbers; none is drawn if there is no candidate.

        Returns:
            Index of another clip, or a file; None if the condition needs no source or there is no candidate.
        """
        candidates: Sequence[int | Path] = ()
        if condition.name == 'absent-class':
            candidates = self._files
        elif condition.needs_other_clip:
            candidates = self._other_clips(index)
        return candidates[rng.randint(len(candidates))] if candidates else None

    def _other_clips(self, index: int) -> list[int]:
        others = [i for i in self._order if i != index and self._num_frames[i] == self._num_frames[index]]
        if not self.knows_classes(index):
            return others
        present = self._sounding[index].union(self._clips[index]['visible'])
        return [i for i in others if self._sounding[i] and self._sounding[i].isdisjoint(present)]

    def source_name(self, source: int | Path | None) -> str:
        """Id of the clip or name of the file that audio comes from; '' for generated audio."""
        if source is None:
            return ''
        return str(source) if isinstance(source, Path) else self.clip_id(source)

    def replace(self, inputs: dict, condition: AudioCondition, index: int, source: int | Path | None,
                rng: np.random.RandomState) -> dict:
        """Replace the audio of a packed clip.

        Args:
            inputs: With ``waveform`` (L,) or (2, L) and, if the pipeline marks the end, ``num_samples``.
            condition: The audio condition.
            index: Index of the clip.
            source: Result of :meth:`draw_source`.
            rng: Random numbers of noise.

        Returns:
            A new dict; the waveform keeps its shape and type and is silent after the end of the original audio.
        """
        original = inputs['waveform'].numpy()
        length = end = inputs.get('num_samples', original.shape[-1])
        waveform = np.zeros_like(original)
        if condition.name == 'noise':
            rms = _rms(original[..., :end]) if condition.level is None else 10**(condition.level / 20)
            # Clipped to the range of 16-bit samples, as of recordings.
            waveform[..., :end] = (rms * rng.standard_normal(original[..., :end].shape)).clip(-1, 1 - 2**-15)
        elif condition.name == 'absent-class':
            file = read_center(source, end)
            waveform[..., :end] = file if original.ndim == 1 else file / 2
        elif condition.needs_other_clip:
            # As many frames, hence as many seconds, as the clip itself.
            clip = dict(self._clips[source], frame_paths=self._clips[index]['frame_paths'])
            loaded = self.loader.transform(clip)
            end = min(end, loaded.get('num_samples', original.shape[-1]))
            waveform[..., :end] = loaded['waveform'][..., :end]
        if condition.name == 'mixture':
            waveform, end = mix_at_snr(original, waveform, condition.level), length
        replaced = dict(inputs, waveform=torch.from_numpy(waveform))
        if 'num_samples' in inputs:
            replaced['num_samples'] = end
        return replaced


def mix_at_snr(signal: np.ndarray, other: np.ndarray, snr: float) -> np.ndarray:
    """Add other audio to a signal, scaled to a signal-to-noise ratio of ``snr`` dB (RMS over the whole length).

    A mix that would leave [-1, 1], or the range of a signal that leaves it itself, is attenuated as a whole. If either
    of the two is silent, the ratio is undefined and the signal is returned unchanged.

    Args:
        signal: (..., L) float32.
        other: Of the same shape.
        snr: Signal-to-noise ratio in dB.
    """
    signal_rms, other_rms = _rms(signal), _rms(other)
    if not signal_rms or not other_rms:
        return signal.copy()
    mix = signal + np.float32(signal_rms / other_rms * 10**(-snr / 20)) * other
    return mix * np.float32(min(1, max(1, np.abs(signal).max()) / np.abs(mix).max()))


def sounding_classes(clip: dict, classes: Sequence[str]) -> frozenset[str] | None:
    """Collect the sounding classes of a clip from the list of clips (``sounding``) and from masks of classes.

    Args:
        clip: A dict of :class:`ClipDataset`.
        classes: Names of the classes in the masks, background first.

    Returns:
        Names, or None if neither source has them (MS3 without a column of sounding classes).
    """
    in_masks = None
    if clip['mask_encoding'] not in ('binary', 'nonzero'):  # these do not tell the classes
        paths = tuple(path for path in clip['mask_paths'] if path is not None)
        in_masks = _classes_in_masks(paths, clip['mask_encoding'], clip['num_classes'],
                                     tuple(clip.get('category_ids', ())))
    if in_masks is None and not clip['sounding']:
        return None
    return frozenset(clip['sounding']).union(classes[index] for index in in_masks or ())


@cache
def _classes_in_masks(paths: tuple[str, ...], encoding: str, num_classes: int, category_ids: tuple[int, ...]) -> tuple:
    """Classes in masks without the background. Cached, because a test reads one dataset for several conditions."""
    present = np.zeros(UNLABELLED + 1, int)
    for path in paths:
        # The pipeline decides if colors of no class and unlabelled pixels are an error.
        mask = read_mask(path, encoding, num_classes, 'background', category_ids, allow_unlabelled=True)
        present += np.bincount(mask.ravel(), minlength=UNLABELLED + 1)
    return tuple(np.flatnonzero(present[1:UNLABELLED]) + 1)


def _rms(waveform: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))


def _waveform_loader(dataset: ClipDataset):
    """The transform of the pipeline that loads the waveform."""
    loaders = [step for step in loading_transforms(dataset.pipeline.transforms) if step.path_key in AUDIO_KEYS]
    if not loaders or any(loader.path_key == 'log_mel_path' for loader in loaders):
        found = 'log-mel examples' if loaders else 'no audio'
        raise ValueError(f'{dataset.ann_file}: the pipeline loads {found}, but audio is replaced as a waveform that '
                         "passes the model's own front-end, to not reveal it by its preprocessing: use "
                         "LoadAudio(source='waveform')")
    return loaders[0]


def list_absent_audio(directory: str | None) -> list[Path]:
    """Audio files for the condition 'absent-class', sorted; raises the errors of :class:`AudioReplacer`."""
    if directory is None:
        raise ValueError("the condition 'absent-class' needs absent_audio, a directory of audio files of classes that "
                         'the dataset does not have')
    files = sorted(path for path in Path(directory).rglob('*')
                   if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith('.'))
    if not files:
        raise FileNotFoundError(f"{directory}: no audio file ({', '.join(AUDIO_SUFFIXES)}) in this directory, expected "
                                'audio of classes that the dataset does not have')
    return files
