"""Procedural objects: eight categories, each a family of outlines with a family of textures."""
import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

#: Pixels of a sprite per pixel of the frame, for anti-aliasing.
OVERSAMPLING = 2
#: Half width of a sprite in units of the object's radius, with a margin for the outline.
_EXTENT = 1.08


class Sprite:
    """Canvas of one object in unit coordinates: the object fills the disc x² + y² <= 1, y points down.

    Args:
        diameter: Diameter of that disc in pixels of the frame.

    Attributes:
        x, y: (S, S) float32 coordinates of the pixel centers.
        color: (S, S, 3) float32 RGB in [0, 1].
        coverage: (S, S) uint8, 255 inside the object.
    """

    def __init__(self, diameter: float) -> None:
        size = int(np.ceil(diameter * OVERSAMPLING * _EXTENT))
        axis = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1) * _EXTENT
        self.x, self.y = np.meshgrid(axis, axis)
        self.color = np.zeros((size, size, 3), np.float32)
        self.coverage = np.zeros((size, size), np.uint8)

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        """Convert unit coordinates (n, 2) to fixed-point pixel coordinates with 4 fractional bits."""
        size = len(self.coverage)
        return np.round(((np.asarray(points) / _EXTENT + 1) / 2 * size - 0.5) * 16).astype(np.int32)

    def region(self, points: np.ndarray) -> np.ndarray:
        """Coverage (S, S) uint8 of the polygon (n, 2)."""
        mask = np.zeros_like(self.coverage)
        cv2.fillPoly(mask, [self._pixels(points)], 255, cv2.LINE_AA, shift=4)
        return mask

    def lines(self, polylines: list, width: float) -> np.ndarray:
        """Coverage (S, S) uint8 of polylines of a width in unit coordinates."""
        mask = np.zeros_like(self.coverage)
        pixels = max(1, round(width * len(mask) / (2 * _EXTENT)))
        cv2.polylines(mask, [self._pixels(p) for p in polylines], False, 255, pixels, cv2.LINE_AA, shift=4)
        return mask

    def paint(self, region: np.ndarray, color: np.ndarray, grow: bool = True) -> None:
        """Blend a color into a region.

        Args:
            region: Coverage (S, S) uint8.
            color: RGB (3,) or (S, S, 3).
            grow: Whether to add the region to the object; otherwise only pixels of the object change.
        """
        alpha = region[..., None] * np.float32(1 / 255)
        self.color += alpha * (color - self.color)
        if grow:
            np.maximum(self.coverage, region, out=self.coverage)

    def finish(self) -> np.ndarray:
        """Shade the object as a soft relief lit from the upper left, and draw its outline.

        Returns:
            (S, S, 4) uint8 RGBA.
        """
        size = len(self.coverage)
        depth = cv2.distanceTransform((self.coverage > 127).astype(np.uint8), cv2.DIST_L2, 3) / size
        height = cv2.GaussianBlur(1 - np.exp(-depth * 14), (0, 0), size / 90)
        light = -(cv2.Sobel(height, -1, 1, 0, ksize=3) + cv2.Sobel(height, -1, 0, 1, ksize=3)) * (size / 110)
        shaded = self.color * (1 - 0.35 * np.clip(light, 0, 1))[..., None]
        shaded += 0.3 * np.clip(-light, 0, 1)[..., None] * (1 - shaded)
        outline = np.clip(1.3 - depth * size / (1.6 * OVERSAMPLING), 0, 1)
        shaded *= (1 - 0.6 * outline)[..., None]
        rgba = np.empty((size, size, 4), np.uint8)
        rgba[..., :3] = np.clip(shaded * 255 + 0.5, 0, 255)
        rgba[..., 3] = self.coverage
        return rgba


def _ellipse(cx: float, cy: float, rx: float, ry: float | None = None, start=0.0, stop=2 * np.pi) -> np.ndarray:
    angle = np.linspace(start, stop, 64)
    return np.stack([cx + rx * np.cos(angle), cy + (rx if ry is None else ry) * np.sin(angle)], 1)


class _Colors:
    """Colors of an instance around the hue of its category (hues of neighboring categories overlap)."""

    def __init__(self, rng: np.random.Generator, hue: float) -> None:
        self.hue = (hue + rng.uniform(-38, 38) / 360) % 1
        self.saturation = rng.uniform(0.5, 0.95)
        self.value = rng.uniform(0.62, 0.95)
        self.base = self(0)
        self.dark = self(rng.uniform(-0.06, 0.06), value=0.45)
        self.light = self(rng.uniform(-0.1, 0.1), saturation=0.28, value=1.25)
        self.contrast = self(0.5 + rng.uniform(-0.12, 0.12))

    def __call__(self, shift: float, saturation: float = 1.0, value: float = 1.0) -> np.ndarray:
        rgb = colorsys.hsv_to_rgb((self.hue + shift) % 1, min(self.saturation * saturation, 1),
                                  min(self.value * value, 1))
        return np.array(rgb, np.float32)


def _bell(s: Sprite, rng: np.random.Generator, c: _Colors) -> None:
    """Bell with a clapper: a flared profile under horizontal bands and a vertical sheen."""
    shoulder, mouth, flare = rng.uniform(0.36, 0.5), rng.uniform(0.68, 0.84), rng.uniform(2, 4)
    bands = rng.uniform(-0.45, 0.5, rng.integers(2, 4))
    sheen, clapper = rng.uniform(-0.3, 0.3), rng.uniform(0.14, 0.2)
    t = np.linspace(0, 1, 40)
    width = np.where(t < 0.3, shoulder * np.sqrt(np.clip(1 - (1 - t / 0.3)**2, 0, 1)),
                     shoulder + (mouth - shoulder) * (np.clip(t - 0.3, 0, 1) / 0.7)**flare)
    y = -0.78 + 1.42 * t
    s.paint(s.region(_ellipse(0, -0.82, 0.15)), c.dark)
    s.paint(s.region(_ellipse(rng.uniform(-0.12, 0.12), 0.72, clapper)), c.dark)
    body = s.region(np.concatenate([np.stack([-width, y], 1), np.stack([width, y], 1)[::-1]]))
    metal = c.base * (0.72 + 0.5 * np.exp(-((s.x - sheen) / 0.22)**2))[..., None]
    for band in bands:
        metal = np.where((np.abs(s.y - band - 0.05 * s.x**2) < 0.045)[..., None], c.contrast, metal)
    metal = np.where((s.y > 0.52)[..., None], c.light * 0.95, metal)
    s.paint(body, metal)


def _drum(s: Sprite, rng: np.random.Generator, c: _Colors) -> None:
    """Drum: a cylinder with a pale skin and zigzag lacing between two rims."""
    width, half = rng.uniform(0.74, 0.88), rng.uniform(0.4, 0.52)
    tilt, laces = rng.uniform(0.2, 0.3), int(rng.integers(4, 8))
    side = np.concatenate([_ellipse(0, half, width, tilt, 0, np.pi), _ellipse(0, -half, width, tilt, np.pi, 2 * np.pi)])
    s.paint(s.region(side), c.base * (0.62 + 0.5 * np.sqrt(np.clip(1 - (s.x / width)**2, 0, 1)))[..., None])
    position = np.linspace(-np.pi / 2, np.pi / 2, 2 * laces + 1)
    x, bow = width * np.sin(position), tilt * np.cos(position)
    zigzag = np.stack([x, np.where(np.arange(2 * laces + 1) % 2, half * 0.8, -half * 0.72) + bow], 1)
    s.paint(s.lines([zigzag], 0.07), c.light, grow=False)
    for y in (-half, half):
        s.paint(s.lines([_ellipse(0, y * 0.94, width, tilt, 0, np.pi)], 0.1), c.contrast, grow=False)
    s.paint(s.region(_ellipse(0, -half, width, tilt)), c.light)
    s.paint(s.lines([_ellipse(0, -half, width * 0.96, tilt * 0.94)], 0.05), c.contrast, grow=False)


def _cymbal(s: Sprite, rng: np.random.Generator, c: _Colors) -> None:
    """Cymbal: a disc of concentric grooves around a dome, with a bow-tie gloss."""
    squash, rings, gloss = rng.uniform(0.78, 1), rng.uniform(5, 9), rng.uniform(0, np.pi)
    dome = rng.uniform(0.18, 0.28)
    radius = np.hypot(s.x, s.y / squash)
    grooves = 0.78 + 0.24 * np.sin(radius * rings * 2 * np.pi)
    shine = np.clip(np.cos(2 * (np.arctan2(s.y, s.x) - gloss)), 0, 1)**6
    s.paint(s.region(_ellipse(0, 0, 0.98, 0.98 * squash)), c.base * (grooves + 0.45 * shine)[..., None])
    s.paint(s.region(_ellipse(0, 0, dome, dome * squash)), c.light * (1 - 0.5 * radius / dome)[..., None])
    s.paint(s.region(_ellipse(0, 0, 0.06)), c.dark)


def _bird(s: Sprite, rng: np.random.Generator, c: _Colors) -> None:
    """Bird: round body, head with beak and eye, tail and wing, speckled plumage."""
    fat, tail, speckle = rng.uniform(0.46, 0.58), rng.uniform(0.22, 0.4), rng.uniform(5.5, 8)
    head = rng.uniform(0.27, 0.33)
    side = 1 if rng.random() < 0.5 else -1
    s.paint(s.region([(side * 0.72, -0.56), (side * 1.02, -0.36), (side * 0.74, -0.3)]),
            np.array([1.0, 0.72, 0.12], np.float32))
    s.paint(s.region([(-side * 0.35, -0.05), (-side * 1.0, -tail), (-side * 0.93, 0.05), (-side * 0.98, tail),
                      (-side * 0.3, 0.35)]), c.dark)
    spots = (np.sin(s.x * speckle * np.pi + s.y * 2) * np.sin(s.y * speckle * np.pi - s.x * 2) > 0.35)
    plumage = np.where(spots[..., None], c.light, c.base)
    s.paint(s.region(_ellipse(0, 0.12, 0.66, fat)), plumage)
    s.paint(s.region(_ellipse(side * 0.46, -0.42, head)), c.base)
    wing = np.array([(0.24, 0.02), (0.16, 0.28), (-0.12, 0.4), (-0.46, 0.38), (-0.72, 0.22), (-0.4, 0.14), (0, -0.06)])
    s.paint(s.region(wing * (side, 1)), c.dark)
    s.paint(s.region(_ellipse(side * 0.52, -0.48, 0.1)), np.ones(3, np.float32))
    s.paint(s.region(_ellipse(side * 0.55, -0.48, 0.055)), np.full(3, 0.05, np.float32))


def _gear(s: Sprite, rng: np.random.Generator, c: _Colors) -> None:
    """Cogwheel: trapezoid teeth, an open hub, hatched metal."""
    teeth, depth, hub = int(rng.integers(8, 13)), rng.uniform(0.16, 0.24), rng.uniform(0.24, 0.34)
    angle, hatch = rng.uniform(0, np.pi), rng.uniform(9, 14)
    theta = np.linspace(0, 2 * np.pi, 24 * teeth, endpoint=False)
    radius = 0.99 - depth / 2 + depth / 2 * np.clip(2.2 * np.sin(teeth * theta), -1, 1)
    lines = np.sin((s.x * np.cos(angle) + s.y * np.sin(angle)) * hatch * np.pi)
    s.paint(s.region(np.stack([radius * np.cos(theta), radius * np.sin(theta)], 1)),
            c(0, saturation=0.55) * (0.82 + 0.2 * np.sign(lines))[..., None])
    s.paint(s.lines([_ellipse(0, 0, 0.99 - depth * 1.5)], 0.06), c.dark, grow=False)
    s.paint(s.lines([_ellipse(0, 0, hub + 0.09)], 0.12), c.light, grow=False)
    s.coverage[np.hypot(s.x, s.y) < hub] = 0


def _horn(s: Sprite, rng: np.random.Generator, c: _Colors) -> None:
    """Horn: a cone with stripes across and an open mouth."""
    mouth, tip, depth = rng.uniform(0.55, 0.7), rng.uniform(0.08, 0.16), rng.uniform(0.14, 0.22)
    stripes, phase = rng.uniform(2.2, 3.4), rng.uniform(0, 1)
    s.paint(s.region([(-0.98, -tip), (-0.98, tip), (0.62, mouth), (0.62, -mouth)]),
            np.where(((s.x * stripes + phase) % 1 < 0.5)[..., None], c.base, np.float32(0.96)))
    s.paint(s.region(_ellipse(0.62, 0, depth, mouth * 1.08)), c.base * 0.9)
    s.paint(s.region(_ellipse(0.64, 0, depth * 0.68, mouth * 0.84)), c.dark * 0.55)


def _clock(s: Sprite, rng: np.random.Generator, c: _Colors) -> None:
    """Clock: a rounded square case, a pale dial with ticks and two hands."""
    corner, dial = rng.uniform(4, 8), rng.uniform(0.54, 0.6)
    hands = rng.uniform(0, 2 * np.pi, 2)
    theta = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    radius = 0.74 / (np.abs(np.cos(theta))**corner + np.abs(np.sin(theta))**corner)**(1 / corner)
    s.paint(s.region(np.stack([radius * np.cos(theta), radius * np.sin(theta)], 1)), c.base)
    s.paint(s.region(_ellipse(0, 0, dial + 0.06)), c.dark)
    s.paint(s.region(_ellipse(0, 0, dial)), c(0, saturation=0.12, value=1.4))
    ticks = np.arange(12) * np.pi / 6
    rays = np.stack([np.cos(ticks), np.sin(ticks)], 1)
    s.paint(s.lines([np.stack([r * dial * 0.76, r * dial * 0.92]) for r in rays], 0.06), c.dark, grow=False)
    for angle, length in zip(hands, (0.42, 0.28), strict=True):
        tip = np.array([np.cos(angle), np.sin(angle)]) * length
        s.paint(s.lines([np.stack([-0.2 * tip, tip])], 0.09), np.full(3, 0.08, np.float32), grow=False)
    s.paint(s.region(_ellipse(0, 0, 0.07)), c.contrast)


def _hive(s: Sprite, rng: np.random.Generator, c: _Colors) -> None:
    """Hive: a hexagonal comb of cells."""
    cells, wall, stretch = rng.uniform(2.6, 3.8), rng.uniform(0.09, 0.14), rng.uniform(0.88, 1)
    corner = np.arange(6) * np.pi / 3
    row = np.float32(np.sqrt(3))

    def nearest(offset: float) -> tuple[np.ndarray, np.ndarray]:
        u = (s.x * cells + offset + 0.5) % 1 - 0.5
        v = ((s.y * cells / row + offset + 0.5) % 1 - 0.5) * row
        return u, v

    (u0, v0), (u1, v1) = nearest(0), nearest(0.5)
    closer = (u0**2 + v0**2 < u1**2 + v1**2)
    u, v = np.abs(np.where(closer, u0, u1)), np.abs(np.where(closer, v0, v1))
    edge = 0.5 - np.maximum(u, u / 2 + v * row / 2)  # Distance to the wall of the cell.
    cell = c.dark + (c.base - c.dark) * np.clip(edge * 3.2, 0, 1)[..., None]
    comb = np.where((edge < wall)[..., None], c.light, cell)
    s.paint(s.region(np.stack([0.98 * np.cos(corner), 0.98 * stretch * np.sin(corner)], 1)), comb)


@dataclass(frozen=True)
class ObjectFamily:
    """Appearance of a category: hue in [0, 1], largest rotation in degrees, drawing function."""

    hue: float
    rotation: float
    draw: Callable[[Sprite, np.random.Generator, _Colors], None]


#: Category name -> family. The order fixes class indices (AVSS: 1 + position).
OBJECTS = dict(
    bell=ObjectFamily(0.125, 25, _bell),
    drum=ObjectFamily(0.0, 20, _drum),
    cymbal=ObjectFamily(0.25, 180, _cymbal),
    bird=ObjectFamily(0.55, 20, _bird),
    gear=ObjectFamily(0.7, 180, _gear),
    horn=ObjectFamily(0.92, 180, _horn),
    clock=ObjectFamily(0.4, 20, _clock),
    hive=ObjectFamily(0.82, 180, _hive),
)


def draw_object(category: str, instance: np.random.Generator, diameter: float) -> np.ndarray:
    """Draw one object upright.

    Args:
        category: A key of ``OBJECTS``.
        instance: Random stream of the instance's parameters; the same state gives the same object at any diameter.
        diameter: Diameter in pixels of the frame.

    Returns:
        (S, S, 4) uint8 RGBA, S = about 2.2 diameters: ``OVERSAMPLING`` times the size in the frame.
    """
    family = OBJECTS[category]
    sprite = Sprite(diameter)
    colors = _Colors(instance, family.hue)
    family.draw(sprite, instance, colors)
    return sprite.finish()
