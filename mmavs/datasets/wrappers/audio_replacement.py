"""Sounds that do not belong to a clip: silence, noise, other clips, classes that no clip has, and mixtures."""
import hashlib
from collections.abc import Sequence
from functools import cache
from math import isfinite, nan
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mmavs.audio.io import read_waveform
from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.datasets.clip_dataset import ClipDataset, loading_transforms
from mmavs.datasets.file_listing import SOUND_KEYS
from mmavs.datasets.transforms.audio import central_or_repeated
from mmavs.datasets.transforms.loading import UNLABELLED, read_mask

# Kind -> what its level means, and whether it has to, may or cannot be stated.
LEVELS = {
    'silence': None,
    'noise': ('dBFS', 'optional'),
    'off-screen': None,
    'absent-class': None,
    'mixture': ('dB SNR', 'required'),
}
SOUND_FILES = ('.wav', '.flac', '.ogg', '.mp3')


class AudioCondition(NamedTuple):
    """A kind of wrong sound; see :class:`mmavs.datasets.ReplaceAudio`.

    Attributes:
        name: 'silence', 'noise', 'off-screen', 'absent-class' or 'mixture'.
        level: dBFS of noise (None: that of the clip's own sound), or the signal-to-noise ratio of a mixture in dB.
    """
    name: str
    level: float | None = None

    @classmethod
    def parse(cls, text: str) -> 'AudioCondition':
        """Read 'silence', 'noise', 'noise:-20', 'off-screen', 'absent-class' or 'mixture:0'."""
        name, colon, level = text.partition(':')
        known = ', '.join(LEVELS)
        if name not in LEVELS:
            raise ValueError(f'{text!r} is no kind of sound, expected one of {known}, some with a level: noise:-20')
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
            raise ValueError(f'{text!r}: the level {level!r} is no number (of {unit})')
        return cls(name, number)

    @property
    def is_negative(self) -> bool:
        """Whether nothing in the picture sounds; in a mixture the clip's own sound still does."""
        return self.name != 'mixture'

    @property
    def needs_other_clip(self) -> bool:
        """Whether the sound comes from another clip of the split."""
        return self.name in ('off-screen', 'mixture')

    @property
    def level_text(self) -> str:
        """The level with its unit, for people and manifests."""
        if self.name == 'noise' and self.level is None:
            return 'own RMS'
        return '' if self.level is None else f'{self.level:g} {LEVELS[self.name][0]}'


class AudioReplacer:
    """Replace the sounds of packed clips.

    The sounds enter where the pipeline has packed the clip's own one: as waveforms of the same rate and length. What
    follows, the front-end of the model, is the same for right and wrong sounds.

    Args:
        dataset: The listed data set of the clips; its pipeline loads waveforms.
        kinds: The kinds that will be asked for.
        absent_audio: For 'absent-class', folder of sound files of classes that no clip of the data set has.

    Raises:
        FileNotFoundError: ``absent_audio`` holds no sound file.
        ValueError: The pipeline does not load waveforms, or 'absent-class' has no folder.
    """

    def __init__(self, dataset: ClipDataset, kinds: Sequence[AudioCondition], absent_audio: str | None = None) -> None:
        self.dataset = dataset
        self.loader = _waveform_loader(dataset)
        self._clips = [dataset.get_data_info(i) for i in range(len(dataset))]
        self._order = sorted(range(len(self._clips)), key=lambda i: self._clips[i]['clip_id'])
        self._num_frames = [sum(clip['valid']) for clip in self._clips]
        self._heard: list[frozenset[str] | None] = []
        if any(kind.needs_other_clip for kind in kinds):
            self._heard = [heard_classes(clip, dataset.metainfo['classes']) for clip in self._clips]
        self._files: list[Path] = []
        if any(kind.name == 'absent-class' for kind in kinds):
            self._files = _sound_files(absent_audio)

    def clip_id(self, index: int) -> str:
        """Id of a clip."""
        return self._clips[index]['clip_id']

    def seed(self, index: int) -> int:
        """Seed of all that is drawn for a clip in a test: a hash of its subset and id."""
        name = f"{self._clips[index]['subset']}/{self._clips[index]['clip_id']}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], 'little')

    def knows_labels(self, index: int) -> bool:
        """Whether it is known what is heard in a clip, so that a sound of other classes can be chosen for it."""
        return self._heard[index] is not None

    def sources(self, kind: AudioCondition, index: int) -> Sequence[int | Path]:
        """What a clip's sound of a kind may be drawn from: indices of other clips, or files; none where none is needed.

        Clips are those with as many frames, in the order of their ids; where it is known what is heard in the clip,
        those of which none of the classes is heard or seen in it, else all others.
        """
        if kind.name == 'absent-class':
            return self._files
        if not kind.needs_other_clip:
            return ()
        own = self._heard[index]
        others = [i for i in self._order if i != index and self._num_frames[i] == self._num_frames[index]]
        if own is None:
            return others
        present = own.union(self._clips[index]['visible'])
        return [i for i in others if self._heard[i] and self._heard[i].isdisjoint(present)]

    def source_name(self, source: int | Path | None) -> str:
        """The clip or file that a sound comes from, '' where it is made."""
        return '' if source is None else str(source) if isinstance(source, Path) else self.clip_id(source)

    def replace(self, inputs: dict, kind: AudioCondition, index: int, source: int | Path | None,
                rng: np.random.RandomState) -> dict:
        """The inputs of a packed clip with a wrong sound.

        Args:
            inputs: With ``waveform`` (L,) or (2, L) and, where the pipeline marks the end, ``num_samples``.
            kind: Which.
            index: Of the clip.
            source: One of :meth:`sources`, None for silence and noise.
            rng: What noise is drawn from.

        Returns:
            A new dict; the waveform has the shape and type that it had and is silent where the clip's sound has ended.
        """
        own = inputs['waveform'].numpy()
        length = end = inputs.get('num_samples', own.shape[-1])
        sound = np.zeros_like(own)
        if kind.name == 'noise':
            rms = _rms(own[..., :end]) if kind.level is None else 10**(kind.level / 20)
            # Within what 16 bit can store, as recordings are.
            sound[..., :end] = (rms * rng.standard_normal(own[..., :end].shape)).clip(-1, 1 - 2**-15)
        elif kind.name == 'absent-class':
            file = central_or_repeated(read_waveform(source, SAMPLE_RATE), end)
            sound[..., :end] = file if own.ndim == 1 else file / 2
        elif kind.needs_other_clip:
            # As many frames, hence as many seconds, as the clip itself.
            clip = dict(self._clips[source], frame_paths=self._clips[index]['frame_paths'])
            loaded = self.loader.transform(clip)
            end = min(end, loaded.get('num_samples', own.shape[-1]))
            sound[..., :end] = loaded['waveform'][..., :end]
        if kind.name == 'mixture':
            sound, end = mix_at_snr(own, sound, kind.level), length
        changed = dict(inputs, waveform=torch.from_numpy(sound))
        if 'num_samples' in inputs:
            changed['num_samples'] = end
        return changed


def mix_at_snr(signal: np.ndarray, other: np.ndarray, snr: float) -> np.ndarray:
    """Add another sound to a signal, scaled so that the signal is ``snr`` dB above it (RMS over the whole length).

    A mix that would leave [-1, 1], or the range of a signal that does so itself, is made quieter as a whole. Where
    either of the two is silent the ratio means nothing, and the signal is returned as it is.

    Args:
        signal: (..., L) float32.
        other: Of the same shape.
        snr: Signal-to-noise ratio in dB.
    """
    own, noise = _rms(signal), _rms(other)
    if not own or not noise:
        return signal.copy()
    mix = signal + np.float32(own / noise * 10**(-snr / 20)) * other
    return mix * np.float32(min(1, max(1, np.abs(signal).max()) / np.abs(mix).max()))


def heard_classes(clip: dict, classes: Sequence[str]) -> frozenset[str] | None:
    """What is heard in a clip: what the list of clips says (``heard``), and the classes in its masks if they tell them.

    Args:
        clip: A dict of :class:`ClipDataset`.
        classes: Names of the classes in the masks, background first.

    Returns:
        Names, or None where neither is known (MS3 without a column that says so).
    """
    masks = _classes_in_masks(
        tuple(path for path in clip['mask_paths'] if path is not None), clip['mask_encoding'], clip['num_classes'],
        tuple(clip.get('category_ids', ()))) if clip['mask_encoding'] != 'binary' else None
    if masks is None and not clip['heard']:
        return None
    return frozenset(clip['heard']).union(classes[index] for index in masks or ())


@cache
def _classes_in_masks(paths: tuple[str, ...], encoding: str, num_classes: int, category_ids: tuple[int, ...]) -> tuple:
    """Classes but the background in masks; cached, since a test reads one data set for several kinds of sounds."""
    present = np.zeros(UNLABELLED + 1, int)
    for path in paths:
        # Colours of no class are a matter of the pipeline.
        mask = read_mask(path, encoding, num_classes, 'background', category_ids)
        present += np.bincount(mask.ravel(), minlength=UNLABELLED + 1)
    return tuple(np.flatnonzero(present[1:UNLABELLED]) + 1)


def _rms(waveform: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))


def _waveform_loader(dataset: ClipDataset):
    """The transform of the pipeline that loads the waveform."""
    loaders = [step for step in loading_transforms(dataset.pipeline.transforms) if step.path_key in SOUND_KEYS]
    if not loaders or any(loader.path_key == 'log_mel_path' for loader in loaders):
        found = 'log-mel examples' if loaders else 'no sound'
        raise ValueError(f'{dataset.ann_file}: the pipeline loads {found}; wrong sounds are made of waveforms and go '
                         "through the model's own front-end, so that nothing but the sound gives them away: use "
                         "LoadAudio(source='waveform')")
    return loaders[0]


def _sound_files(folder: str | None) -> list[Path]:
    if folder is None:
        raise ValueError("the kind 'absent-class' needs absent_audio, a folder of sounds of classes that the data set "
                         'does not have')
    files = sorted(path for path in Path(folder).rglob('*') if path.suffix.lower() in SOUND_FILES)
    if not files:
        raise FileNotFoundError(f"{folder}: no sound file ({', '.join(SOUND_FILES)}) in this folder, expected sounds "
                                'of classes that the data set does not have')
    return files
