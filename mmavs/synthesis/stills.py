"""Drawn pictures with a sound for each object that sounds, in the style of VPO: one frame, 3 s of sound."""
import numpy as np

from .clip import ObjectSound, SyntheticClip
from .rendering import render_frames
from .scenes import CATEGORIES, SOUND_POOL, Scene, place_objects, sound_instance
from .sounds import synthesize_sound

SECONDS = 3


def make_still(rng: np.random.Generator, subset: str, split: str, category: str, name: str, seed: int,
               size: int) -> SyntheticClip:
    """Draw objects of which some sound.

    Args:
        rng: Stream of the clip.
        subset: 'vpo-ss': one object sounds beside silent ones of other categories. 'vpo-ms': one or more of two
            to four objects of different categories sound. 'vpo-msmi': like 'vpo-ms', but two objects are of one
            category, of which one or both sound; only their positions tell them apart.
        split: Decides the pools of object and sound instances.
        category: Of the first object, which sounds.
        name: Name of the clip.
        seed: Seed of the data set; fixes the instance pools.
        size: Side of the picture in pixels.
    """
    others = [CATEGORIES[i] for i in rng.permutation(len(CATEGORIES)) if CATEGORIES[i] != category]
    visible = [category, *others[:int(rng.integers(1, 4))]]
    if subset == 'vpo-msmi':
        visible = [category, *visible[:3]]
    sounding = [True] + [subset != 'vpo-ss' and bool(rng.random() < 0.4) for _ in visible[1:]]
    order = rng.permutation(len(visible))
    visible, sounding = [visible[i] for i in order], [sounding[i] for i in order]

    scene = Scene(split, place_objects(rng, split, 1, visible), [])
    frames, owners = render_frames(scene, seed, rng, size)
    classes = np.array([0] + [1 + CATEGORIES.index(name) if sounds else 0 for name, sounds in zip(visible, sounding)])
    sounds, instances = [], []
    for item, sounds_now in zip(scene.objects, sounding, strict=True):
        if sounds_now:
            instances.append(int(rng.integers(SOUND_POOL[split])))
            signal = synthesize_sound(item.category, SECONDS, sound_instance(seed, split, item.category, instances[-1]),
                                      rng)
            level = 10**(rng.uniform(-25, -21) / 20)
            noise = 10**(rng.uniform(-75, -52) / 20) * rng.standard_normal(len(signal))
            position = round(float(item.centres[0, 0]), 4)
            sounds.append(ObjectSound(item.category, (level * signal + noise).astype(np.float32), position))
    keep_below_full_scale(sounds)
    description = dict(
        objects=[dict(category=item.category, instance=item.instance, sounding=int(flag))
                 for item, flag in zip(scene.objects, sounding)],
        sounds=[dict(category=sound.category, instance=instance, position=sound.position)
                for sound, instance in zip(sounds, instances)])
    heard = [sound.category for sound in sounds]
    return SyntheticClip(name, split, frames, classes[owners].astype(np.uint8), sum(sound.waveform for sound in sounds),
                         heard, description, sounds, heard=heard, visible=visible)


def keep_below_full_scale(sounds: list[ObjectSound]) -> None:
    """Scale the sounds of a clip alike, in place, so that neither they nor their sum leave [-1, 1]."""
    mix = sum(sound.waveform for sound in sounds)
    peak = max(np.abs(waveform).max() for waveform in (mix, *(sound.waveform for sound in sounds)))
    for sound in sounds:
        sound.waveform /= np.float32(max(1, peak / 0.98))
