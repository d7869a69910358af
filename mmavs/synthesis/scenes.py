"""Sample procedural scenes: visible objects, their motion, and sources with the seconds in which they sound."""
from dataclasses import asdict, dataclass

import numpy as np

from .objects import OBJECTS

CATEGORIES = tuple(OBJECTS)
SPLITS = ('train', 'val', 'test')
#: Instances per category and split. The pools of two splits share no instance: the parameters of an instance come from
#: the random stream (seed, kind, split, category, index).
OBJECT_POOL = dict(train=200, val=40, test=60)
SOUND_POOL = dict(train=200, val=40, test=60)
#: Probability that a segment belongs to the large twin, the small twin, the other object or silence.
TWIN_PROBABILITIES = (0.38, 0.38, 0.1, 0.14)
SILENCE = 3
#: Pitch of the large twin, the small twin and the other object. Within a category pitches differ by up to 1.6 times.
TWIN_PITCHES = (0.6, 1.0, 1.0)
_OBJECT_STREAM, _SOUND_STREAM, _SCENE_STREAM = 1, 2, 3


@dataclass
class SceneObject:
    """A visible object; positions in units of the frame's side, angles in degrees."""

    category: str
    instance: int
    diameter: float
    centers: np.ndarray  # (T, 2) x, y
    angles: np.ndarray  # (T,)
    scales: np.ndarray  # (T,) relative to diameter


@dataclass
class SoundSource:
    """A sound source; ``sounding`` holds one flag per second, ``level`` is the RMS in dBFS.

    ``pitch`` multiplies all its frequencies and rates. ``emitter`` is the number of the object that emits it; None for
    the only object of its category, or if no object does.
    """

    category: str
    instance: int
    level: float
    sounding: np.ndarray  # (T,) bool
    visible: bool
    pitch: float = 1.0
    emitter: int | None = None

    def comes_from(self, number: int, item: SceneObject) -> bool:
        """Whether object ``number`` of the scene emits it."""
        return self.category == item.category if self.emitter is None else self.emitter == number


@dataclass
class Scene:
    """Objects in drawing order (last = front) and sound sources of a clip."""

    split: str
    objects: list[SceneObject]
    sources: list[SoundSource]


def object_instance(seed: int, split: str, category: str, index: int) -> np.random.Generator:
    """Random stream of the parameters of an object instance."""
    return _instance_stream(seed, _OBJECT_STREAM, split, category, index)


def sound_instance(seed: int, split: str, category: str, index: int) -> np.random.Generator:
    """Random stream of the parameters of a sound instance."""
    return _instance_stream(seed, _SOUND_STREAM, split, category, index)


def _instance_stream(seed: int, stream: int, split: str, category: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, stream, SPLITS.index(split), CATEGORIES.index(category), index])


def scene_stream(seed: int, subset_index: int, split: str, index: int) -> np.random.Generator:
    """Random stream of one clip; independent of the number of clips."""
    return np.random.default_rng([seed, _SCENE_STREAM, subset_index, SPLITS.index(split), index])


def sample_scene(rng: np.random.Generator, split: str, num_frames: int, single_source: bool = False,
                 category: str | None = None) -> Scene:
    """Sample a scene.

    Args:
        rng: Random stream of the clip.
        split: Selects the pools of object and sound instances.
        num_frames: T; one frame per second of audio.
        single_source: One category sounds, from the first second on, among silent ones. Otherwise one or two of the
            visible categories sound, others start and stop, and some sources are off screen.
        category: The category that sounds first.
    """
    order = [CATEGORIES[i] for i in rng.permutation(len(CATEGORIES))]
    if category is not None:
        order.remove(category)
        order.insert(0, category)
    num_visible = int(rng.choice([2, 3, 4], p=[0.5, 0.4, 0.1] if single_source else [0.25, 0.5, 0.25]))
    visible, absent = order[:num_visible], order[num_visible:]
    if single_source:
        timeline = {visible[0]: _interrupted(rng, num_frames)}
    else:
        timeline = switching_timeline(rng, num_frames, visible, absent)
    sources = [
        SoundSource(name, int(rng.integers(SOUND_POOL[split])), float(rng.uniform(-25, -21)), flags, name in visible)
        for name, flags in timeline.items() if flags.any()
    ]
    objects = place_objects(rng, split, num_frames, [visible[i] for i in rng.permutation(num_visible)])
    return Scene(split, objects, sources)


def sample_twins(rng: np.random.Generator, split: str, num_frames: int, category: str) -> Scene:
    """Sample a scene whose sounding object changes every second or two and is identified by size and pitch only.

    The same object is visible twice, once large and once small, beside one of another category. Both emit the same
    sound at different pitch: that of the large one is lower than that of any small one.

    Args:
        rng: Random stream of the clip.
        split: Selects the pools of object and sound instances.
        num_frames: T; one frame per second of audio.
        category: Category of the twins.
    """
    other = str(rng.choice([name for name in CATEGORIES if name != category]))
    large = rng.uniform(0.36, 0.44)
    diameters = np.array([large, large * rng.uniform(0.5, 0.58), rng.uniform(0.2, 0.35)])
    objects = place_objects(rng, split, num_frames, [category, category, other], diameters)
    objects[1].instance = objects[0].instance
    flags = np.zeros((3, num_frames), bool)
    second, speaker = 0, SILENCE
    while second < num_frames:
        probabilities = np.where(np.arange(4) == speaker, 0, TWIN_PROBABILITIES)
        speaker = int(rng.choice(4, p=probabilities / probabilities.sum()))
        duration = int(rng.integers(1, 3))
        if speaker != SILENCE:
            flags[speaker, second:second + duration] = True
        second += duration
    instances = [int(rng.integers(SOUND_POOL[split]))] * 2 + [int(rng.integers(SOUND_POOL[split]))]
    sources = [
        SoundSource(item.category, instance, float(rng.uniform(-25, -21)), sounding, True, pitch, number)
        for number, (item, instance, sounding, pitch) in enumerate(zip(objects, instances, flags, TWIN_PITCHES))
        if sounding.any()
    ]
    order = rng.permutation(3)
    for source in sources:
        source.emitter = int(np.flatnonzero(order == source.emitter)[0])
    return Scene(split, [objects[i] for i in order], sources)


def _interrupted(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """Flags of a source that sounds throughout, except for a pause of one second in one clip of five."""
    flags = np.ones(num_frames, bool)
    if rng.random() < 0.2:
        flags[rng.integers(1, num_frames)] = False
    return flags


def switching_timeline(rng: np.random.Generator, num_frames: int, visible: list, absent: list) -> dict:
    """Flags (T,) per category of a clip cut into one to three segments (per 5 s), each with its own set of sources.

    Args:
        rng: Random stream of the clip.
        num_frames: T; one flag per second.
        visible: Visible categories; the first one sounds in the first segment.
        absent: Categories that are not visible, some of which sound off screen.
    """
    segments = int(rng.choice([1, 2, 3], p=[0.1, 0.5, 0.4])) * max(1, num_frames // 5)
    cuts = np.sort(rng.permutation(np.arange(1, num_frames))[:segments - 1])
    timeline = {name: np.zeros(num_frames, bool) for name in [*visible, *absent]}
    chosen = None
    for start, stop in zip([0, *cuts], [*cuts, num_frames], strict=True):
        previous, first = chosen, chosen is None
        while chosen == previous:
            others = rng.permutation(visible[1:] if first else visible).tolist()
            count = 2 if len(visible) > 2 and rng.random() < 0.3 else 1
            chosen = {visible[0], *others[:count - 1]} if first else set(others[:count])
            if not first and rng.random() < 0.1:  # In some segments no visible object sounds.
                chosen = set()
        num_off_screen = 1 if rng.random() < (0.2 if chosen else 0.5) else 0
        for name in [*chosen, *rng.permutation(absent)[:num_off_screen]]:
            timeline[name][start:stop] = True
    return timeline


def place_objects(rng: np.random.Generator, split: str, num_frames: int, categories: list,
                  diameters: np.ndarray | None = None) -> list[SceneObject]:
    """Give objects sizes and smooth paths inside the frame; of many draws, keep the one with the least overlap."""
    n, draws = len(categories), 40
    if diameters is None:
        diameters = rng.uniform(0.25, 0.49 if n < 4 else 0.4, n)
    radii = (diameters / 2)[:, None, None]
    time = np.linspace(-0.5, 0.5, num_frames)[:, None]
    middle = radii + (1 - 2 * radii) * rng.uniform(0, 1, (draws, n, 1, 2))
    velocity = rng.uniform(-0.25, 0.25, (draws, n, 1, 2))
    bend = rng.uniform(-0.12, 0.12, (draws, n, 1, 2))
    paths = middle + velocity * time + bend * (np.cos(np.pi * time) - 0.5)
    paths = np.clip(paths, 0.9 * radii, 1 - 0.9 * radii)  # (draws, n, T, 2)
    distance = np.linalg.norm(paths[:, :, None] - paths[:, None], axis=-1)  # (draws, n, n, T)
    # In some scenes objects may partly cover each other.
    wanted = (radii + radii[:, 0]) * rng.choice([0.7, 0.95], p=[0.4, 0.6])
    lacking = np.clip(wanted - distance, 0, None).max(-1).sum((1, 2))
    paths = paths[np.argmin(lacking)]
    objects = []
    for name, diameter, path in zip(categories, diameters, paths, strict=True):
        rotation, tilt = OBJECTS[name].rotation, rng.uniform(-25, 25)
        grow = rng.uniform(-0.08, 0.08)
        objects.append(
            SceneObject(name, int(rng.integers(OBJECT_POOL[split])), float(diameter), path,
                        rng.uniform(-rotation, rotation) + tilt * time[:, 0], 1 + 2 * grow * time[:, 0]))
    return objects


def describe_scene(scene: Scene) -> dict:
    """Describe a scene for the manifest: instances, and the seconds in which each source sounds."""
    sounds = [dict(asdict(source), sounding=source.sounding.astype(int).tolist(), level=round(source.level, 2))
              for source in scene.sources]
    return dict(objects=[dict(category=o.category, instance=o.instance) for o in scene.objects], sounds=sounds)
