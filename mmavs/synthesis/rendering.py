"""Render frames, masks and audio of procedural scenes."""
import cv2
import numpy as np

from mmavs.audio.log_mel import SAMPLE_RATE

from .clip import SyntheticClip
from .objects import OVERSAMPLING, draw_object
from .scenes import CATEGORIES, Scene, describe_scene, object_instance, sound_instance
from .sounds import below_full_scale, gate, synthesize_sound

#: Pixels by which a shadow extends beyond its object: its offset and two blurs.
SHADOW_REACH = 10


def render_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Paint a background of two muted colors: gradient, soft noise, grain and pale clutter.

    Returns:
        (size, size, 3) float32 in [0, 255].
    """
    value, contrast = rng.uniform(70, 180), rng.uniform(10, 35)
    colors = value + rng.uniform(-contrast, contrast, (2, 3)).astype(np.float32)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(angle) * axis[None] + np.sin(angle) * axis[:, None] + 0.5
    for cells, strength in ((4, 0.5), (12, 0.25), (48, 0.12)):
        noise = rng.standard_normal((cells, cells)).astype(np.float32) * np.float32(rng.uniform(0, strength))
        ramp += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    image = colors[0] + ramp[..., None] * (colors[1] - colors[0])
    clutter = np.full((size, size, 3), 128, np.uint8)
    for _ in range(rng.integers(0, 9)):
        center, radius, corners = rng.uniform(0, size, 2), rng.uniform(0.04, 0.22) * size, rng.integers(3, 12)
        theta = np.sort(rng.uniform(0, 2 * np.pi, corners))
        points = center + radius * np.stack([np.cos(theta), np.sin(theta)], 1) * rng.uniform(0.6, 1, (corners, 1))
        cv2.fillPoly(clutter, [np.round(points * 16).astype(np.int32)], rng.uniform(108, 149, 3), cv2.LINE_AA, shift=4)
    image += clutter
    image -= 128
    image += np.float32(rng.uniform(0, 4)) * rng.standard_normal((size, size, 1), np.float32)
    return np.clip(image, 0, 255, out=image)


def render_frames(scene: Scene, seed: int, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the frames of a scene.

    Returns:
        Frames (T, size, size, 3) uint8 RGB, and owners (T, size, size) uint8: 1 + index of the object that is
        visible at a pixel, 0 for the background.
    """
    num_frames = len(scene.objects[0].centers)
    margin = round(size * 0.05)
    backdrop = render_background(rng, size + 2 * margin)
    pan = margin + margin * np.linspace(-1, 1, num_frames)[:, None] * rng.uniform(-1, 1, 2)
    frames = np.stack([backdrop[y:y + size, x:x + size] for x, y in np.round(pan).astype(int)])
    owners = np.zeros(frames.shape[:3], np.uint8)
    for index, item in enumerate(scene.objects):
        instance = object_instance(seed, scene.split, item.category, item.instance)
        sprite = draw_object(item.category, instance, item.diameter * size)
        for frame, owner, center, angle, scale in zip(frames, owners, item.centers * size, item.angles, item.scales,
                                                      strict=True):
            _draw(frame, owner, index + 1, sprite, center, angle, scale / OVERSAMPLING)
    return np.clip(frames + 0.5, 0, 255).astype(np.uint8), owners


def _draw(frame: np.ndarray, owner: np.ndarray, number: int, sprite: np.ndarray, center: np.ndarray, angle: float,
          scale: float) -> None:
    """Draw a sprite with a soft shadow into a frame, in place."""
    size = len(frame)
    # The sprite is empty outside its inscribed disc.
    reach = int(np.ceil(len(sprite) * scale / 2)) + SHADOW_REACH
    x0, y0 = np.maximum(np.floor(center).astype(int) - reach, 0)
    x1, y1 = np.minimum(np.floor(center).astype(int) + reach + 1, size)
    matrix = cv2.getRotationMatrix2D(((len(sprite) - 1) / 2, ) * 2, angle, scale)
    matrix[:, 2] += center - (x0, y0) - (len(sprite) - 1) / 2
    cut = cv2.warpAffine(sprite, matrix, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)
    alpha = cut[..., 3]
    shadow = np.zeros_like(alpha)
    shadow[4:, 2:] = alpha[:-4, :-2]
    shadow = cv2.blur(cv2.blur(shadow, (7, 7)), (7, 7))
    region = frame[y0:y1, x0:x1]
    region *= 1 - shadow[..., None] * np.float32(0.4 / 255)
    region += (cut[..., :3] - region) * (alpha[..., None] * np.float32(1 / 255))
    owner[y0:y1, x0:x1][alpha > 127] = number


def render_audio(scene: Scene, seed: int, rng: np.random.Generator, seconds: int) -> np.ndarray:
    """Mix the sources of a scene with faint background noise.

    Returns:
        (seconds * 16000,) float32 in [-1, 1].
    """
    mix = 10**(rng.uniform(-75, -52) / 20) * rng.standard_normal(seconds * SAMPLE_RATE).astype(np.float32)
    for source in scene.sources:
        instance = sound_instance(seed, scene.split, source.category, source.instance)
        signal = synthesize_sound(source.category, seconds, instance, rng, source.pitch)
        mix += np.float32(10**(source.level / 20)) * signal * gate(source.sounding)
    return below_full_scale(mix)


def render_scene(scene: Scene, name: str, seed: int, rng: np.random.Generator, size: int) -> SyntheticClip:
    """Render frames, masks and audio of a scene.

    Args:
        scene: The scene.
        name: Name of the clip.
        seed: Seed of the dataset; fixes the instance pools.
        rng: Random stream of the clip.
        size: Side of the frames in pixels.
    """
    frames, owners = render_frames(scene, seed, rng, size)
    num_frames = len(frames)
    classes = np.zeros((num_frames, len(scene.objects) + 1), np.uint8)
    for index, item in enumerate(scene.objects):
        flags = [source.sounding for source in scene.sources if source.comes_from(index, item)]
        sounding = np.any(flags, axis=0) if flags else np.zeros(num_frames, bool)
        classes[:, index + 1] = np.where(sounding, 1 + CATEGORIES.index(item.category), 0)
    masks = np.take_along_axis(classes, owners.reshape(num_frames, -1), 1).reshape(owners.shape)
    waveform = render_audio(scene, seed, rng, num_frames)
    targets = list(dict.fromkeys(source.category for source in scene.sources if source.visible))
    return SyntheticClip(name, scene.split, frames, masks, waveform, targets, describe_scene(scene),
                         sounding=[source.category for source in scene.sources],
                         visible=[item.category for item in scene.objects])
