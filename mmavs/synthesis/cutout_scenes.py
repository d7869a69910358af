"""Clips of cut-outs: one to four objects in front of a background; masks contain only those that sound."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .backdrops import KINDS, Backdrop, crop_photo, render_backdrop
from .clip import SyntheticClip
from .cutout_rendering import place_cutouts, render_cutouts
from .cutouts import CutOut, CutOuts
from .recordings import background_noise, play, room_response
from .scenes import SPLITS, SoundSource, switching_timeline
from .sounds import below_full_scale

#: Probabilities of one to four objects, and that one of several is silent because it has no recording.
OBJECT_COUNT_PROBS, SILENT_SHARE = (0.15, 0.35, 0.3, 0.2), 0.35
#: Probability of a photo as the background, where there are photos.
PHOTO_SHARE = 0.6
#: Probability of off-screen audio of no class, beside the off-screen classes of the timeline.
OFF_SCREEN_SHARE = 0.15
#: Levels (RMS, dBFS) of sources, off-screen audio of no class, and noise.
SOURCE_LEVEL, OFF_SCREEN_LEVEL, NOISE_LEVEL = (-26, -18), (-32, -24), (-70, -38)
# Probabilities of the KINDS of procedural backgrounds where an object of this place comes first.
_KINDS_OF = dict(ground=(0.45, 0.05, 0.2, 0.3), held=(0.15, 0, 0.75, 0.1), air=(0.5, 0.25, 0.05, 0.2),
                 water=(0.1, 0.8, 0.05, 0.05))
_CUTOUT_STREAM = 5
# Pixels by which the camera moves at most, as a fraction of the frame.
_PAN = 0.05


@dataclass(frozen=True)
class CutOutSource:
    """The material of clips: cut-outs, and photos by split (empty: procedural backgrounds only)."""

    cutouts: CutOuts
    photos: dict[str, list[Path]]
    hold_out: int | None = None


def make_cutout_clip(source: CutOutSource, split: str, index: int, seed: int, size: int,
                     num_frames: int = 5) -> SyntheticClip:
    """Make clip ``index`` of a split; it depends on no other clip.

    Args:
        source: Cut-outs and photos.
        split: 'train', 'val' or 'test'.
        index: Number of the clip in its split. The first category, which sounds first, is each one in turn.
        seed: Seed of the dataset.
        size: Side of the frames in pixels.
        num_frames: T; one frame per second of audio.
    """
    rng = np.random.default_rng([seed, _CUTOUT_STREAM, SPLITS.index(split), index])
    pool = source.cutouts.of_split(split, source.hold_out)
    objects, absent = _choose_objects(rng, source, pool, list(pool)[index % len(pool)])
    backdrop = _choose_backdrop(rng, source.photos.get(split, []), objects[0].place, size)
    order = rng.permutation(len(objects))
    placed = place_cutouts(rng, [objects[i] for i in order], backdrop.horizon, num_frames, size)
    frames, owners = render_cutouts(rng, placed, backdrop, num_frames, size)

    visible = [item.category for item in objects if item.category]
    timeline = switching_timeline(rng, num_frames, visible, absent)
    instances = {item.category: item for item in objects}
    sources, recordings = [], []
    for name, sounding in timeline.items():
        if sounding.any():
            instance = instances.get(name) or pool[name][rng.integers(len(pool[name]))]
            recordings.append(instance)
            sources.append(SoundSource(name, pool[name].index(instance), float(rng.uniform(*SOURCE_LEVEL)), sounding,
                                       name in instances))
    waveform, ambient = _mix_audio(rng, sources, recordings, source.cutouts.off_screen, num_frames)

    flags = {item.category: item.sounding for item in sources}
    indices = {name: 1 + i for i, name in enumerate(source.cutouts.categories)}
    classes = np.zeros((num_frames, len(placed) + 1), np.uint8)
    for number, item in enumerate(placed, 1):
        sounding = flags.get(item.cutout.category)
        if sounding is not None:
            classes[:, number] = sounding * indices[item.cutout.category]
    masks = np.take_along_axis(classes, owners.reshape(num_frames, -1), 1).reshape(owners.shape)
    description = dict(
        background=backdrop.source or backdrop.kind,
        objects=[dict(category=item.cutout.category, instance=item.cutout.name) for item in placed],
        sounds=[dict(category=item.category, instance=recording.name, level=round(item.level, 2),
                     sounding=item.sounding.astype(int).tolist(), visible=item.visible)
                for item, recording in zip(sources, recordings, strict=True)],
        off_screen=ambient)
    return SyntheticClip(f'{split}_{index:05d}', split, frames, masks, waveform,
                         [item.category for item in sources if item.visible], description,
                         sounding=list(flags), visible=visible)


def _choose_objects(rng: np.random.Generator, source: CutOutSource, pool: dict[str, tuple[CutOut, ...]],
                    first: str) -> tuple[list[CutOut], list[str]]:
    """Choose the objects of a clip, the one that sounds first in front, and list the categories that are absent."""
    count = 1 + int(rng.choice(len(OBJECT_COUNT_PROBS), p=OBJECT_COUNT_PROBS))
    silent = []
    if count > 1 and source.cutouts.silent and rng.random() < SILENT_SHARE:
        silent = [source.cutouts.silent[rng.integers(len(source.cutouts.silent))]]
    others = [name for name in pool if name != first]
    others = [others[i] for i in rng.permutation(len(others))]
    num_others = min(count - 1 - len(silent), len(others))
    chosen, absent = [first, *others[:num_others]], others[num_others:]
    return [pool[name][rng.integers(len(pool[name]))] for name in chosen] + silent, absent


def _choose_backdrop(rng: np.random.Generator, photos: list[Path], place: str, size: int) -> Backdrop:
    """A photo or a procedural background, larger than the frame by the pan of the camera."""
    side = size + 2 * round(_PAN * size)
    if photos and rng.random() < PHOTO_SHARE:
        return crop_photo(rng, side, photos[rng.integers(len(photos))])
    return render_backdrop(rng, side, KINDS[rng.choice(len(KINDS), p=_KINDS_OF[place])])


def _mix_audio(rng: np.random.Generator, sources: list[SoundSource], recordings: list[CutOut],
               off_screen: tuple[CutOut, ...], seconds: int) -> tuple[np.ndarray, str]:
    """Mix the sources in one room, with noise; return also the name of off-screen audio of no class, '' for none."""
    mix = np.float32(10**(rng.uniform(*NOISE_LEVEL) / 20)) * background_noise(rng, seconds)
    response = room_response(rng)
    for item, recording in zip(sources, recordings, strict=True):
        mix += np.float32(10**(item.level / 20)) * play(recording.audio, item.sounding, response, rng)
    ambient = ''
    if off_screen and rng.random() < OFF_SCREEN_SHARE:
        recording = off_screen[rng.integers(len(off_screen))]
        ambient, everywhere = recording.name, np.ones(seconds, bool)
        mix += np.float32(10**(rng.uniform(*OFF_SCREEN_LEVEL) / 20)) * play(recording.audio, everywhere, response, rng)
    return below_full_scale(mix), ambient
