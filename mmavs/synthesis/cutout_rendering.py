"""Place cut-outs in a scene and render them with light, shadow and occlusion."""
from dataclasses import dataclass

import cv2
import numpy as np

from .backdrops import Backdrop
from .cutouts import CutOut, load_sprite

#: Longest side of the largest object relative to the frame, by the number of objects, and limits of all objects.
LARGEST, SMALLEST_SIDE, LARGEST_SIDE = ((0.5, 0.85), (0.42, 0.7), (0.38, 0.6), (0.34, 0.54)), 0.22, 0.85
#: Exponent of the size in meters: 1 would show a mouse beside an elephant with one pixel.
SIZE_EXPONENT = 0.3
#: Fraction of an object that is visible in every frame, if one of ``_DRAWS`` placements allows it.
MIN_VISIBLE, _DRAWS = 0.5, 12
# Largest tilt in degrees by place, and shift during a clip relative to the frame.
_TILT = dict(ground=5, held=30, air=14, water=10)
_SHIFT = dict(ground=0.12, held=0.05, air=0.25, water=0.2)
# Placements are compared on masks of this side.
_DRAFT_SIDE = 56


@dataclass
class PlacedCutOut:
    """An object with its path; positions and sizes relative to the frame's side, angles in degrees.

    ``anchors`` are the positions of the middle of its lower edge, or of its center for objects in the air.
    """

    cutout: CutOut
    mirrored: bool
    side: float  # longest side
    anchors: np.ndarray  # (T, 2) x, y
    angles: np.ndarray  # (T,)
    scales: np.ndarray  # (T,) relative to side

    @property
    def stands(self) -> bool:
        """Whether it is on the ground, or in the water."""
        return self.cutout.place != 'air'

    def matrix(self, frame: int, shape: tuple[int, ...], size: int) -> np.ndarray:
        """Affine map (2, 3) from pixels of a sprite of this shape to those of a frame."""
        height, width = shape[:2]
        anchor = (width - 1) / 2, height - 1 if self.stands else (height - 1) / 2
        matrix = cv2.getRotationMatrix2D(anchor, self.angles[frame],
                                         self.side * size * self.scales[frame] / max(height, width))
        matrix[:, 2] += self.anchors[frame] * size - anchor
        return matrix


def place_cutouts(rng: np.random.Generator, cutouts: list[CutOut], horizon: float, num_frames: int,
                  size: int) -> list[PlacedCutOut]:
    """Choose sizes and paths, so that objects may cover each other but all are seen.

    Args:
        rng: Random stream.
        cutouts: The objects.
        horizon: Row of the horizon relative to the height.
        num_frames: T.
        size: Side of the frames in pixels.

    Returns:
        The objects from back to front.
    """
    meters = np.array([item.size for item in cutouts])
    largest = rng.uniform(*LARGEST[len(cutouts) - 1])
    sides = largest * (meters / meters.max())**SIZE_EXPONENT
    mirrored = rng.random(len(cutouts)) < 0.5
    best, best_visible = [], -1.0
    for _ in range(_DRAWS):
        placed = [_place(rng, *item, horizon, num_frames) for item in zip(cutouts, sides, mirrored)]
        # Nearer objects stand lower; those in the air may be anywhere.
        depth = [item.anchors[0, 1] if item.stands else rng.uniform(0.4, 1) for item in placed]
        placed = [placed[i] for i in np.argsort(depth)]
        visible = min(_visible_fraction(placed, frame) for frame in (0, num_frames - 1))
        if visible > best_visible:
            best, best_visible = placed, visible
        if visible > MIN_VISIBLE:
            break
    return best


def _place(rng: np.random.Generator, cutout: CutOut, side: float, mirrored: bool, horizon: float,
           num_frames: int) -> PlacedCutOut:
    height, width = load_sprite(cutout.image).shape[:2]
    time = np.linspace(-0.5, 0.5, num_frames)[:, None]
    tilt = rng.uniform(-1, 1) * _TILT[cutout.place]
    angles = tilt + rng.uniform(-3, 3) * time[:, 0]
    scales = 1 + rng.uniform(-0.08, 0.08) * time[:, 0]
    shift = rng.uniform(-1, 1, 2) * _SHIFT[cutout.place] * (1, 0.15 if cutout.place != 'air' else 0.5)
    if cutout.place == 'air':
        y = rng.uniform(0.15, 0.55)
    else:
        depth = rng.random()
        top = min(0.9, max(horizon + 0.15, 0.58))
        y = top + (0.97 - top) * depth
        side *= 0.8 + 0.3 * depth
    side = float(np.clip(side, SMALLEST_SIDE, LARGEST_SIDE))
    half_width = 0.5 * side * width / max(height, width)
    if cutout.place == 'air':
        y = max(y, 0.5 * side * height / max(height, width))
    else:
        y = max(y, 0.95 * side * height / max(height, width))
    x = rng.uniform(min(0.5, 0.8 * half_width), max(0.5, 1 - 0.8 * half_width))
    return PlacedCutOut(cutout, bool(mirrored), side, np.array([x, y]) + shift * time, angles, scales)


def _visible_fraction(placed: list[PlacedCutOut], frame: int) -> float:
    """Visible fraction of the object that is covered most."""
    owners = np.zeros((_DRAFT_SIDE, _DRAFT_SIDE), np.uint8)
    areas = []
    for number, item in enumerate(placed, 1):
        sprite = _oriented(item)
        matrix = item.matrix(frame, sprite.shape, _DRAFT_SIDE)
        alpha = cv2.warpAffine(np.ascontiguousarray(sprite[..., 3]), matrix, owners.shape)
        owners[alpha > 0.5] = number
        areas.append(np.count_nonzero(sprite[..., 3] > 0.5) * abs(np.linalg.det(matrix[:, :2])))
    counts = np.bincount(owners.ravel(), minlength=len(placed) + 1)[1:]
    return float((counts / np.maximum(areas, 1)).min())


def _oriented(item: PlacedCutOut) -> np.ndarray:
    sprite = load_sprite(item.cutout.image)
    return sprite[:, ::-1] if item.mirrored else sprite


def render_cutouts(rng: np.random.Generator, placed: list[PlacedCutOut], backdrop: Backdrop, num_frames: int,
                   size: int) -> tuple[np.ndarray, np.ndarray]:
    """Render the frames of a scene: a slow pan over the background, shadows, objects, then the camera.

    Args:
        rng: Random stream.
        placed: Objects from back to front.
        backdrop: Background, larger than the frame by the margin over which the camera pans.
        num_frames: T.
        size: Side of the frames in pixels.

    Returns:
        Frames (T, size, size, 3) uint8 RGB, and owners (T, size, size) uint8: number of the object, from 1, that is
        visible at a pixel, 0 for the background.
    """
    margin = (len(backdrop.image) - size) // 2
    pan = margin * (1 + np.linspace(-1, 1, num_frames)[:, None] * rng.uniform(-1, 1, 2) * (1, 0.5))
    light = Light.sample(rng, backdrop)
    sprites = [_lit_sprite(rng, item, backdrop, light, size) for item in placed]
    camera = Camera.sample(rng, size)
    frames = np.empty((num_frames, size, size, 3), np.uint8)
    owners = np.zeros((num_frames, size, size), np.uint8)
    for t in range(num_frames):
        x, y = np.round(pan[t]).astype(int)
        frame = backdrop.image[y:y + size, x:x + size].copy()
        camera_shift = (pan[t] - margin) / 2  # near objects move more slowly across the frame than the camera pans
        matrices = [item.matrix(t, sprite.shape, size) for item, sprite in zip(placed, sprites)]
        for matrix in matrices:
            matrix[:, 2] -= camera_shift
        for item, sprite, matrix in zip(placed, sprites, matrices):
            if item.stands:
                light.cast_shadow(frame, sprite, matrix, item.anchors[t, 1] * size - camera_shift[1])
        for number, (sprite, matrix) in enumerate(zip(sprites, matrices), 1):
            drawn = cv2.warpAffine(sprite, matrix, (size, size))
            frame *= 1 - drawn[..., 3:]
            frame += drawn[..., :3]
            owners[t][drawn[..., 3] > 0.5] = number
        frames[t] = camera.expose(frame, rng)
    return frames, owners


def _lit_sprite(rng: np.random.Generator, item: PlacedCutOut, backdrop: Backdrop, light: 'Light',
                size: int) -> np.ndarray:
    """The sprite of an object at about its size in the frame, lit as the background, in contact with the ground."""
    sprite = _oriented(item)
    scale = 1.15 * item.side * size / max(sprite.shape[:2])
    if scale < 1:
        sprite = cv2.resize(sprite, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    sprite = light.shade(sprite)
    height, width = sprite.shape[:2]
    if item.stands and backdrop.kind == 'water':
        depth = rng.uniform(0.05, 0.25 if item.cutout.place == 'water' else 0.15)
        waves = height * (1 - depth) + 0.015 * height * np.sin(np.arange(width) * rng.uniform(0.1, 0.3))
        sprite *= np.where(np.arange(height)[:, None] > waves, rng.uniform(0.1, 0.35), 1)[..., None].astype(np.float32)
    elif item.cutout.place == 'ground' and backdrop.kind != 'room' and rng.random() < 0.6:
        # Blades or grains of the ground before the feet.
        blades = height * rng.uniform(0.01, 0.05) * rng.random(width)
        sprite *= np.clip(height - blades - np.arange(height)[:, None], 0, 1)[..., None].astype(np.float32)
    return sprite


@dataclass(frozen=True)
class Light:
    """The light of a scene: its direction, color and the darkness of shadows."""

    side: float  # horizontal direction: -1 from the left, 1 from the right
    tint: np.ndarray  # (3,) color of the light, mean 1
    brightness: float  # of the background
    match: float  # how far objects are matched to the background, 0 to 1
    contrast: float
    strength: float  # darkness of the cast shadow
    squash: float  # length of the cast shadow relative to the object
    softness: float  # blur relative to the frame

    @classmethod
    def sample(cls, rng: np.random.Generator, backdrop: Backdrop) -> 'Light':
        """Light that fits the color and the brightness of a background."""
        color = backdrop.image.mean((0, 1)) + 0.05
        return cls(side=rng.uniform(-1, 1), tint=(color / color.mean()).astype(np.float32),
                   brightness=float(color.mean()), match=rng.uniform(0.3, 0.6), contrast=rng.uniform(0.1, 0.45),
                   strength=rng.uniform(0.15, 0.45), squash=rng.uniform(0.1, 0.45), softness=rng.uniform(0.008, 0.025))

    def shade(self, sprite: np.ndarray) -> np.ndarray:
        """Light a sprite: one side brighter than the other, the top than the bottom; color and brightness matched."""
        height, width = sprite.shape[:2]
        across = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None] * np.float32(self.side)
        down = np.linspace(0.5, -0.5, height, dtype=np.float32)[:, None]
        own = sprite[..., :3].sum() / (3 * sprite[..., 3].sum() + 1e-6) + 0.05
        gain = np.clip((self.brightness / own)**(0.5 * self.match), 0.65, 1.4)
        lit = sprite.copy()
        lit[..., :3] *= (gain * self.tint**(0.4 * self.match) * (1 + self.contrast * (across + down))[..., None])
        np.minimum(lit[..., :3], lit[..., 3:], out=lit[..., :3])
        return lit

    def cast_shadow(self, frame: np.ndarray, sprite: np.ndarray, matrix: np.ndarray, base: float) -> None:
        """Darken the ground, in place, by the shadow that falls from ``base``, the row on which the object stands."""
        size = len(frame)
        alpha = np.ascontiguousarray(sprite[..., 3])
        dark = np.zeros((size, size), np.float32)
        for squash, slant, strength, softness in (
                (self.squash, 0.8 * self.side, self.strength, self.softness), (0.07, 0.1 * self.side, 0.4, 0.008)):
            flatten = np.array([[1, slant, -slant * base], [0, squash, (1 - squash) * base], [0, 0, 1]])
            cast = cv2.warpAffine(alpha, flatten[:2] @ np.vstack([matrix, (0, 0, 1)]), (size, size))
            blur = 2 * round(2 * softness * size) + 1
            cast = cv2.blur(cv2.blur(cast, (blur, blur)), (blur, blur))
            dark = np.maximum(dark, np.float32(strength) * cast)
        frame *= (1 - dark)[..., None]


@dataclass(frozen=True)
class Camera:
    """White balance, exposure, vignetting, focus and noise of a clip."""

    gain: np.ndarray  # (size, size, 3)
    gamma: float
    blur: float  # standard deviation in pixels
    noise: float  # standard deviation, of 255

    @classmethod
    def sample(cls, rng: np.random.Generator, size: int) -> 'Camera':
        """Sample the properties of a camera."""
        axis = np.linspace(-1, 1, size, dtype=np.float32)
        vignette = 1 - rng.uniform(0, 0.25) * (axis[None]**2 + axis[:, None]**2) / 2
        gain = rng.uniform(0.85, 1.15) * np.exp(rng.normal(0, 0.04, 3))
        return cls((vignette[..., None] * gain).astype(np.float32), rng.uniform(0.85, 1.2),
                   rng.uniform(0, 0.8) * size / 224, rng.uniform(0.5, 5))

    def expose(self, frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Turn radiance (size, size, 3) in [0, 1] into a frame, uint8."""
        if self.blur > 0.3:
            frame = cv2.GaussianBlur(frame, (0, 0), self.blur)
        frame = cv2.pow(np.maximum(frame * self.gain, 0), self.gamma) * 255
        grain = rng.standard_normal((len(frame), len(frame), 1), np.float32)
        return np.clip(frame + np.float32(self.noise) * grain + 0.5, 0, 255).astype(np.uint8)
