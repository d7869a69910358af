"""Procedural scenes: who is visible, who sounds when, how everything moves; and their pictures, masks and sound."""
from dataclasses import asdict, dataclass

import cv2
import numpy as np

from .clip import SyntheticClip
from .objects import OBJECTS, OVERSAMPLING, draw_object
from .sounds import SAMPLE_RATE, gate, synthesize_sound

CATEGORIES = tuple(OBJECTS)
SPLITS = ('train', 'val', 'test')
#: Instances per category that a split draws from. The pools of two splits share no instance: an instance's parameters
#: come from the random stream (seed, kind, split, category, index).
OBJECT_POOL = dict(train=200, val=40, test=60)
SOUND_POOL = dict(train=200, val=40, test=60)
_OBJECT_STREAM, _SOUND_STREAM, _SCENE_STREAM = 1, 2, 3


@dataclass
class SceneObject:
    """A visible object; positions in units of the picture's side, angles in degrees, depth = drawing order."""

    category: str
    instance: int
    diameter: float
    centres: np.ndarray  # (T, 2) x, y
    angles: np.ndarray  # (T,)
    scales: np.ndarray  # (T,) relative to diameter


@dataclass
class SceneSound:
    """A sound source; ``sounding`` holds one flag per second, ``level`` is the RMS in dBFS."""

    category: str
    instance: int
    level: float
    sounding: np.ndarray  # (T,) bool
    visible: bool


@dataclass
class Scene:
    """Objects in drawing order (last = front) and sound sources of a clip."""

    split: str
    objects: list[SceneObject]
    sounds: list[SceneSound]


def _instance(seed: int, stream: int, split: str, category: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, stream, SPLITS.index(split), CATEGORIES.index(category), index])


def scene_stream(seed: int, subset_index: int, split: str, index: int) -> np.random.Generator:
    """Random stream of one clip; independent of how many clips are made."""
    return np.random.default_rng([seed, _SCENE_STREAM, subset_index, SPLITS.index(split), index])


def sample_scene(rng: np.random.Generator, split: str, num_frames: int, single_source: bool = False,
                 category: str | None = None) -> Scene:
    """Sample a scene.

    Args:
        rng (np.random.Generator): stream of the clip.
        split (str): decides the pools of object and sound instances.
        num_frames (int): T; one frame per second of sound.
        single_source (bool): one category sounds, from the first second on, among silent ones. Otherwise one or
            two of the visible categories sound, others join and leave, some sounds come from off screen.
        category (str, optional): the category that sounds first.
    """
    order = list(rng.permutation(CATEGORIES))
    if category is not None:
        order.remove(category)
        order.insert(0, category)
    num_visible = int(rng.choice([2, 3, 4], p=[0.5, 0.4, 0.1] if single_source else [0.25, 0.5, 0.25]))
    visible, absent = order[:num_visible], order[num_visible:]
    timeline = {}
    if single_source:
        timeline[visible[0]] = _interrupted(rng, num_frames)
    else:
        timeline = _changing(rng, num_frames, visible, absent)
    sounds = [
        SceneSound(str(name), int(rng.integers(SOUND_POOL[split])), float(rng.uniform(-27, -21)), flags, name in visible)
        for name, flags in timeline.items() if flags.any()
    ]
    return Scene(split, _place(rng, split, num_frames, [visible[i] for i in rng.permutation(num_visible)]), sounds)


def _interrupted(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """Flags of a source that sounds throughout, but for a pause of one second in one clip of five."""
    flags = np.ones(num_frames, bool)
    if rng.random() < 0.2:
        flags[rng.integers(1, num_frames)] = False
    return flags


def _changing(rng: np.random.Generator, num_frames: int, visible: list, absent: list) -> dict:
    """Flags per category of a clip cut into one to three spells (per 5 s), each with its own set of sources."""
    spells = int(rng.choice([1, 2, 3], p=[0.1, 0.5, 0.4])) * max(1, num_frames // 5)
    cuts = np.sort(rng.permutation(np.arange(1, num_frames))[:spells - 1])
    timeline = {name: np.zeros(num_frames, bool) for name in [*visible, *absent]}
    previous: set | None = None
    for start, stop in zip([0, *cuts], [*cuts, num_frames], strict=True):
        while True:
            two = len(visible) > 2 and rng.random() < 0.25
            chosen = set(rng.permutation(visible)[:1 + two])
            if previous is None and visible[0] not in chosen:
                continue
            # Now and then nothing visible sounds.
            if previous is not None and rng.random() < 0.1:
                chosen = set()
            if chosen != previous:
                break
        off_screen = rng.random() < (0.5 if not chosen else 0.2)
        for name in [*chosen, *([rng.choice(absent)] if off_screen else [])]:
            timeline[name][start:stop] = True
        previous = chosen
    return timeline


def _place(rng: np.random.Generator, split: str, num_frames: int, categories: list) -> list[SceneObject]:
    """Give objects sizes and smooth paths inside the picture; of many draws, keep the one that overlaps least."""
    n, tries = len(categories), 40
    diameters = rng.uniform(0.25, 0.49 if n < 4 else 0.4, n)
    time = np.linspace(-0.5, 0.5, num_frames)[:, None]
    radii = (diameters / 2)[:, None, None]
    middle = radii + (1 - 2 * radii) * rng.uniform(0, 1, (tries, n, 1, 2))
    velocity = rng.uniform(-0.25, 0.25, (tries, n, 1, 2))
    bend = rng.uniform(-0.12, 0.12, (tries, n, 1, 2))
    centres = middle + velocity * time + bend * (np.cos(np.pi * time) - 0.5)
    centres = np.clip(centres, 0.9 * radii, 1 - 0.9 * radii)
    distance = np.linalg.norm(centres[:, :, None] - centres[:, None], axis=-1)
    # Closest approach allowed, in sums of radii: some scenes overlap a little.
    wanted = (radii[:, None, :, 0] + radii[None, :, :, 0]) * rng.choice([0.7, 0.95], p=[0.4, 0.6])
    overlap = np.clip(wanted - distance, 0, None).max(-1).sum((1, 2)) - np.clip(wanted, 0, None).max(-1).trace()
    centres = centres[np.argmin(overlap)]
    objects = []
    for name, diameter, path in zip(categories, diameters, centres, strict=True):
        turn, tilt = OBJECTS[name].rotation, rng.uniform(-25, 25)
        grow = rng.uniform(-0.08, 0.08)
        objects.append(
            SceneObject(str(name), int(rng.integers(OBJECT_POOL[split])), float(diameter), path,
                        rng.uniform(-turn, turn) + tilt * time[:, 0], 1 + 2 * grow * time[:, 0]))
    return objects


def render_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Paint a background of two muted colours: gradient, soft noise, grain and pale clutter.

    Returns:
        np.ndarray: (size, size, 3) float32 in [0, 255].
    """
    value, contrast = rng.uniform(70, 180), rng.uniform(10, 35)
    colours = value + rng.uniform(-contrast, contrast, (2, 3)).astype(np.float32)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(angle) * axis[None] + np.sin(angle) * axis[:, None] + 0.5
    for cells, strength in ((4, 0.5), (12, 0.25), (48, 0.12)):
        noise = rng.standard_normal((cells, cells)).astype(np.float32) * np.float32(rng.uniform(0, strength))
        ramp += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    picture = colours[0] + ramp[..., None] * (colours[1] - colours[0])
    for _ in range(rng.integers(0, 9)):  # clutter
        layer = np.zeros((size, size), np.uint8)
        centre, radius = rng.uniform(0, size, 2), rng.uniform(0.04, 0.22) * size
        corners = rng.integers(3, 12)
        theta = np.sort(rng.uniform(0, 2 * np.pi, corners))
        points = centre + radius * np.stack([np.cos(theta), np.sin(theta)], 1) * rng.uniform(0.6, 1, (corners, 1))
        cv2.fillPoly(layer, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
        picture += layer[..., None] * (rng.uniform(-0.08, 0.08, 3).astype(np.float32))
    return np.clip(picture + rng.uniform(0, 4) * rng.standard_normal((size, size, 1)).astype(np.float32), 0, 255)


def render_frames(scene: Scene, seed: int, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the frames of a scene.

    Returns:
        tuple: frames (T, size, size, 3) uint8 RGB, and owners (T, size, size) uint8: 1 + index of the object that is
        seen at a pixel, 0 for the background.
    """
    num_frames = len(scene.objects[0].centres)
    margin = round(size * 0.05)
    backdrop = render_background(rng, size + 2 * margin)
    pan = margin + margin * np.linspace(-1, 1, num_frames)[:, None] * rng.uniform(-1, 1, 2)
    frames = np.stack([backdrop[y:y + size, x:x + size] for x, y in np.round(pan).astype(int)])
    owners = np.zeros(frames.shape[:3], np.uint8)
    for index, item in enumerate(scene.objects):
        instance = _instance(seed, _OBJECT_STREAM, scene.split, item.category, item.instance)
        sprite = draw_object(item.category, instance, item.diameter * size)
        for frame, owner, centre, angle, scale in zip(frames, owners, item.centres * size, item.angles, item.scales,
                                                      strict=True):
            _draw(frame, owner, index + 1, sprite, centre, angle, scale / OVERSAMPLING)
    return np.clip(frames + 0.5, 0, 255).astype(np.uint8), owners


def _draw(frame: np.ndarray, owner: np.ndarray, number: int, sprite: np.ndarray, centre: np.ndarray, angle: float,
          scale: float) -> None:
    """Draw a sprite with a soft shadow into a frame, in place."""
    size = len(frame)
    reach = int(np.ceil(len(sprite) * scale * 0.5 * 1.42 + 8))
    x0, y0 = np.maximum(np.floor(centre).astype(int) - reach, 0)
    x1, y1 = np.minimum(np.floor(centre).astype(int) + reach + 1, size)
    matrix = cv2.getRotationMatrix2D(((len(sprite) - 1) / 2, ) * 2, angle, scale)
    matrix[:, 2] += centre - (x0, y0) - (len(sprite) - 1) / 2
    cut = cv2.warpAffine(sprite, matrix, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)
    alpha = cut[..., 3]
    shadow = cv2.blur(cv2.blur(alpha, (9, 9)), (9, 9))
    shifted = np.zeros_like(shadow)
    shifted[5:, 3:] = shadow[:-5, :-3]
    region = frame[y0:y1, x0:x1]
    region *= 1 - shifted[..., None] * np.float32(0.4 / 255)
    region += (cut[..., :3] - region) * (alpha[..., None] * np.float32(1 / 255))
    owner[y0:y1, x0:x1][alpha > 127] = number


def render_sound(scene: Scene, seed: int, rng: np.random.Generator, seconds: int) -> np.ndarray:
    """Mix the sounds of a scene over a faint background noise.

    Returns:
        np.ndarray: (seconds * 16000,) float32 in [-1, 1].
    """
    mix = 10**(rng.uniform(-62, -52) / 20) * rng.standard_normal(seconds * SAMPLE_RATE).astype(np.float32)
    for source in scene.sounds:
        instance = _instance(seed, _SOUND_STREAM, scene.split, source.category, source.instance)
        signal = synthesize_sound(source.category, seconds, instance, rng)
        mix += np.float32(10**(source.level / 20)) * signal * gate(source.sounding)
    return (mix / max(1, np.abs(mix).max() / 0.98)).astype(np.float32)


def render_scene(scene: Scene, name: str, seed: int, rng: np.random.Generator, size: int) -> SyntheticClip:
    """Draw and sound a scene.

    Args:
        scene (Scene): what to render.
        name (str): name of the clip.
        seed (int): seed of the data set; fixes the instance pools.
        rng (np.random.Generator): stream of the clip.
        size (int): side of the frames in pixels.
    """
    frames, owners = render_frames(scene, seed, rng, size)
    num_frames = len(frames)
    flags = {source.category: source.sounding for source in scene.sounds}
    classes = np.zeros((num_frames, len(scene.objects) + 1), np.uint8)
    for index, item in enumerate(scene.objects):
        sounding = flags.get(item.category, np.zeros(num_frames, bool))
        classes[:, index + 1] = np.where(sounding, 1 + CATEGORIES.index(item.category), 0)
    masks = np.take_along_axis(classes, owners.reshape(num_frames, -1), 1).reshape(owners.shape)
    waveform = render_sound(scene, seed, rng, num_frames)
    sounding = [source.category for source in scene.sounds if source.visible]
    return SyntheticClip(name, scene.split, frames, masks, waveform, sounding, describe_scene(scene))


def describe_scene(scene: Scene) -> dict:
    """What the manifest keeps of a scene: instances, and the seconds in which each source sounds."""
    sounds = [dict(asdict(source), sounding=source.sounding.astype(int).tolist(), level=round(source.level, 2))
              for source in scene.sounds]
    return dict(objects=[dict(category=o.category, instance=o.instance) for o in scene.objects], sounds=sounds)
