"""Procedural clips in the style of VPO: one frame, and 3 s of audio for each sounding object."""
import numpy as np

from .clip import ObjectAudio, SyntheticClip
from .rendering import render_frames
from .scenes import CATEGORIES, SOUND_POOL, Scene, place_objects, sound_instance
from .sounds import synthesize_sound

SECONDS = 3


def make_still(rng: np.random.Generator, subset: str, split: str, category: str, name: str, seed: int,
               size: int) -> SyntheticClip:
    """Make a clip of one frame, in which some of the objects sound.

    Args:
        rng: Random stream of the clip.
        subset: 'vpo-ss': one object sounds beside silent ones of other categories. 'vpo-ms': one or more of two
            to four objects of different categories sound. 'vpo-msmi': like 'vpo-ms', but two objects are of one
            category, of which one or both sound; only their positions differ.
        split: Selects the pools of object and sound instances.
        category: Category of the first object, which sounds.
        name: Name of the clip.
        seed: Seed of the dataset; fixes the instance pools.
        size: Side of the frame in pixels.
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
    classes = np.array([0] + [1 + CATEGORIES.index(name) if flag else 0 for name, flag in zip(visible, sounding)])
    object_audio, instances = [], []
    for item, flag in zip(scene.objects, sounding, strict=True):
        if flag:
            instances.append(int(rng.integers(SOUND_POOL[split])))
            signal = synthesize_sound(item.category, SECONDS, sound_instance(seed, split, item.category, instances[-1]),
                                      rng)
            level = 10**(rng.uniform(-25, -21) / 20)
            noise = 10**(rng.uniform(-75, -52) / 20) * rng.standard_normal(len(signal))
            position = round(float(item.centers[0, 0]), 4)
            waveform = (level * signal + noise).astype(np.float32)
            object_audio.append(ObjectAudio(item.category, waveform, position))
    keep_below_full_scale(object_audio)
    description = dict(
        objects=[dict(category=item.category, instance=item.instance, sounding=int(flag))
                 for item, flag in zip(scene.objects, sounding)],
        sounds=[dict(category=audio.category, instance=instance, position=audio.position)
                for audio, instance in zip(object_audio, instances)])
    targets = [audio.category for audio in object_audio]
    return SyntheticClip(name, split, frames, classes[owners].astype(np.uint8),
                         sum(audio.waveform for audio in object_audio), targets, description, object_audio,
                         sounding=targets, visible=visible)


def keep_below_full_scale(object_audio: list[ObjectAudio]) -> None:
    """Scale the audio of all objects by one factor, in place, to keep each waveform and their sum within [-1, 1]."""
    waveforms = [audio.waveform for audio in object_audio]
    peak = max(np.abs(waveform).max() for waveform in (sum(waveforms), *waveforms))
    for waveform in waveforms:
        waveform /= np.float32(max(1, peak / 0.98))
