"""Backgrounds for cut-outs: procedural landscapes, waters and rooms, and crops of photos."""
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from scipy import fft

from mmavs.utils.images import read_image

#: Kinds of procedural backgrounds.
KINDS = ('landscape', 'water', 'room', 'foliage')
# Photos are shrunk once to this shorter side, which allows crops of three quarters of it without enlarging.
_PHOTO_SIDE = 480
# Smallest side of the crop of a photo as a fraction of its shorter side.
_SMALLEST_CROP = 0.5
_GROUNDS = dict(
    grass=((74, 98, 40), (122, 138, 66)),
    meadow=((105, 112, 52), (160, 150, 88)),
    sand=((170, 142, 104), (214, 188, 150)),
    earth=((96, 74, 56), (142, 116, 90)),
    snow=((196, 202, 212), (236, 240, 246)),
    asphalt=((84, 84, 86), (124, 124, 124)),
    gravel=((110, 106, 100), (170, 164, 154)))
_FLOORS = dict(
    planks=((96, 64, 40), (160, 116, 76)), tiles=((150, 144, 134), (206, 200, 190)),
    carpet=((96, 70, 70), (140, 120, 116)), concrete=((120, 118, 114), (160, 158, 152)))


@dataclass(frozen=True)
class Backdrop:
    """A background and its geometry.

    Attributes:
        image: (size, size, 3) float32 RGB in [0, 1].
        horizon: Row of the horizon as a fraction of the height; the ground is below it.
        kind: One of ``KINDS``, or 'photo'.
        source: Name of the photo; empty for procedural ones.
    """

    image: np.ndarray
    horizon: float
    kind: str
    source: str = ''


def render_backdrop(rng: np.random.Generator, size: int, kind: str) -> Backdrop:
    """Render a procedural background.

    Args:
        rng: Random stream.
        size: Side in pixels.
        kind: One of ``KINDS``.
    """
    render = dict(landscape=_landscape, water=_water, room=_room, foliage=_foliage)[kind]
    image, horizon = render(rng, size)
    return Backdrop(np.clip(image, 0, 1), horizon, kind)


def crop_photo(rng: np.random.Generator, size: int, path: Path) -> Backdrop:
    """Crop a random square of a photo, sometimes mirrored and out of focus.

    Args:
        rng: Random stream.
        size: Side in pixels.
        path: The photo.
    """
    photo = _load_photo(path)
    height, width = photo.shape[:2]
    side = int(min(height, width) * rng.uniform(_SMALLEST_CROP, 1))
    # The lower half of a photo is where things stand.
    y, x = int((height - side) * rng.beta(2, 1)), int(rng.integers(width - side + 1))
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    image = cv2.resize(photo[y:y + side, x:x + side], (size, size), interpolation=interpolation)
    if rng.random() < 0.5:
        image = image[:, ::-1]
    image = np.clip(image.astype(np.float32) / 255, 0, 1)
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.5) * size / 224)
    return Backdrop(np.ascontiguousarray(image), float(rng.uniform(0.3, 0.55)), 'photo', path.name)


@lru_cache(maxsize=64)
def _load_photo(path: Path) -> np.ndarray:
    """Read a photo as RGB uint8, its shorter side at most ``_PHOTO_SIDE``."""
    photo = read_image(path, 'background', 'RGB')
    scale = _PHOTO_SIDE / min(photo.shape[:2])
    return cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else photo


def fractal_noise(rng: np.random.Generator, size: int, slope: float = 1.2, stretch: float = 1.0) -> np.ndarray:
    """Periodic noise whose amplitude falls with the frequency f as f^-slope, as in natural images (about 1).

    Args:
        rng: Random stream.
        size: Side in pixels.
        slope: Exponent; larger is smoother.
        stretch: Factor on the horizontal size of structures.

    Returns:
        (size, size) float32 of mean 0 and standard deviation 1.
    """
    # The spectrum of white noise, with normal real and imaginary parts, weighted by frequency.
    spectrum = rng.standard_normal((size, size // 2 + 1, 2), np.float32).view(np.complex64)[..., 0]
    noise = fft.irfft2(spectrum * _falloff(size, round(slope, 2), round(stretch, 1)), (size, size))
    return noise / noise.std()


@lru_cache(maxsize=512)
def _falloff(size: int, slope: float, stretch: float) -> np.ndarray:
    fy, fx = np.fft.fftfreq(size)[:, None] * size, np.arange(size // 2 + 1)[None] * stretch
    frequency = np.hypot(fx, fy)
    frequency[0, 0] = np.inf
    return (frequency**-slope).astype(np.float32)


def _mix(low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Interpolate two colors (3,), or images, by a weight (h, w) that is clipped to [0, 1]."""
    weight = np.clip(weight, 0, 1)[..., None]
    return (low + (high - low) * weight).astype(np.float32)


def _color(rng: np.random.Generator, rgb: tuple[int, int, int], spread: float = 14) -> np.ndarray:
    """A color near one of 0 to 255: a common and a smaller separate deviation of the channels."""
    return ((np.array(rgb) + rng.normal(0, spread) + rng.normal(0, spread / 3, 3)) / 255).astype(np.float32)


def _sky(rng: np.random.Generator, size: int) -> np.ndarray:
    """A sky: blue, gray or of a low sun, with clouds."""
    top, bottom = [((78, 126, 190), (186, 208, 228)), ((150, 158, 168), (206, 208, 210)),
                   ((104, 122, 164), (238, 190, 140))][rng.choice(3, p=(0.55, 0.3, 0.15))]
    top, bottom = _color(rng, top), _color(rng, bottom)
    sky = _mix(top, bottom, np.repeat(np.linspace(0, 1.6, size, dtype=np.float32)[:, None], size, 1))
    cover = rng.uniform(-0.2, 1.6)
    clouds = fractal_noise(rng, size, rng.uniform(1.3, 1.7), rng.uniform(1.8, 3.5))
    return _mix(sky, _color(rng, (236, 236, 240), 6), (clouds - cover) * rng.uniform(0.3, 0.8))


def _ridge(rng: np.random.Generator, size: int, roughness: float) -> np.ndarray:
    """Heights (size,) of the top of hills or trees, of mean 0 and standard deviation 1."""
    frequency = np.arange(1, size // 2)
    phases = rng.uniform(0, 2 * np.pi, len(frequency))
    x = np.arange(size) / size * rng.uniform(0.4, 1)
    heights = (frequency**-roughness * np.sin(2 * np.pi * frequency * x[:, None] + phases)).sum(1)
    return (heights - heights.mean()) / (heights.std() + 1e-6)


def _paint_below(image: np.ndarray, top: np.ndarray, colors: tuple[np.ndarray, np.ndarray],
                 texture: np.ndarray) -> None:
    """Paint everything below the rows ``top`` (w,) with two colors mixed by a texture (h, w), with a soft edge."""
    rows = np.arange(len(image), dtype=np.float32)[:, None]
    layer = _mix(*colors, 0.5 + 0.3 * texture)
    image += (layer - image) * np.clip(rows - top + 0.5, 0, 1)[..., None].astype(np.float32)


def _plane(rng: np.random.Generator, size: int, horizon: float, texture: np.ndarray, scale: float) -> np.ndarray:
    """Map a periodic texture (n, n[, 3]) to the rows below the horizon as a receding plane; (rows, size[, 3])."""
    first = int(horizon * size)
    depth = 1 / (np.arange(1, size - first + 1, dtype=np.float32) / (size * (1 - horizon)) + 0.06)
    across = (np.arange(size, dtype=np.float32) - size * rng.uniform(0.3, 0.7)) / size
    shift = rng.uniform(0, len(texture), 2)
    u = (across[None] * depth[:, None] * scale * len(texture) + shift[0]).astype(np.float32)
    v = np.repeat((depth * scale * 1.6 * len(texture) + shift[1])[:, None], size, 1).astype(np.float32)
    plane = cv2.remap(texture, u % len(texture), v % len(texture), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    # Far structures are finer than a pixel: fade to the mean.
    fade = np.clip(2.2 / (depth * scale * 3) - 0.1, 0.1, 1).reshape(-1, *[1] * (texture.ndim - 1))
    return texture.mean((0, 1)) + (plane - texture.mean((0, 1))) * fade.astype(np.float32)


def _ground(rng: np.random.Generator, size: int, horizon: float) -> np.ndarray:
    """Natural ground below the horizon, (rows, size, 3)."""
    name = list(_GROUNDS)[rng.integers(len(_GROUNDS))]
    low, high = (_color(rng, rgb, 10) for rgb in _GROUNDS[name])
    smooth = dict(snow=1.3, sand=1.0, asphalt=0.7).get(name, 0.75)
    stretch = 0.6 if name in ('grass', 'meadow') else 1.0  # blades are taller than wide
    fine = _plane(rng, size, horizon, fractal_noise(rng, 256, smooth, stretch), rng.uniform(0.25, 0.5))
    coarse = _plane(rng, size, horizon, fractal_noise(rng, 128, 1.5), rng.uniform(0.15, 0.3))
    contrast = 0.1 if name == 'asphalt' else rng.uniform(0.18, 0.3)
    return _mix(low, high, 0.5 + contrast * fine + 0.2 * coarse)


def _landscape(rng: np.random.Generator, size: int) -> tuple[np.ndarray, float]:
    """Sky, hills, perhaps trees, and ground."""
    horizon = float(rng.uniform(0.22, 0.5))
    image = _sky(rng, size)
    haze = image[int(horizon * size)].mean(0)
    for layer in range(rng.integers(0, 4)):
        distance = rng.uniform(0.75, 0.9) - 0.25 * layer
        colors = tuple(_color(rng, rgb) * (1 - distance) + haze * distance for rgb in ((46, 60, 40), (96, 104, 72)))
        top = size * (horizon - rng.uniform(0.02, 0.14 - 0.03 * layer) - 0.03 * _ridge(rng, size, 1.4))
        _paint_below(image, top, colors, fractal_noise(rng, size, 1.0))
    if rng.random() < 0.6:  # a line of trees
        colors = tuple(_color(rng, rgb) * 0.8 + haze * 0.2 for rgb in ((28, 40, 24), (74, 88, 46)))
        top = size * (horizon - rng.uniform(0.04, 0.2) - rng.uniform(0.01, 0.03) * _ridge(rng, size, 0.8))
        _paint_below(image, top, colors, 1.3 * fractal_noise(rng, size, 0.8))
    first = int(horizon * size)
    image[first:] = _ground(rng, size, horizon)
    rows = np.clip((np.arange(size) - first) / (0.35 * size), 0, 1)[:, None]
    distance = rng.uniform(0.1, 0.45) * (1 - rows) * (np.arange(size)[:, None] >= first)
    image = _mix(image, haze, np.repeat(distance, size, 1).astype(np.float32))
    return _defocus(rng, image, horizon), horizon


def _defocus(rng: np.random.Generator, image: np.ndarray, horizon: float) -> np.ndarray:
    """Blur what is far, as a lens focused on the objects does."""
    sigma = rng.choice([0, rng.uniform(0.8, 3)], p=(0.4, 0.6)) * len(image) / 224
    if sigma < 0.3:
        return image
    blurred = cv2.GaussianBlur(image, (0, 0), sigma)
    rows = np.linspace(0, 1, len(image), dtype=np.float32)[:, None]
    return _mix(blurred, image, np.repeat((rows - horizon) / 0.3, image.shape[1], 1))


def _water(rng: np.random.Generator, size: int) -> tuple[np.ndarray, float]:
    """Sky, perhaps a far coast, and water that reflects the sky."""
    horizon = float(rng.uniform(0.15, 0.42))
    image = _sky(rng, size)
    first = int(horizon * size)
    haze = image[first].mean(0)
    if rng.random() < 0.5:
        colors = tuple(_color(rng, rgb) * 0.4 + haze * 0.6 for rgb in ((50, 64, 60), (104, 110, 90)))
        _paint_below(image, size * (horizon - 0.03 - 0.02 * _ridge(rng, size, 1.3)), colors,
                     fractal_noise(rng, size, 1.0))
    deep = _color(rng, [(26, 62, 92), (44, 84, 88), (62, 78, 70)][rng.integers(3)])
    waves = _plane(rng, size, horizon, fractal_noise(rng, 256, rng.uniform(0.9, 1.3), 3.0), rng.uniform(0.2, 0.5))
    rows = np.linspace(1, 0, size - first, dtype=np.float32)[:, None]
    image[first:] = _mix(deep, 0.4 * deep + 0.6 * haze, 0.15 + 0.5 * rows**2 + rng.uniform(0.12, 0.25) * waves)
    return image, horizon


def _room(rng: np.random.Generator, size: int) -> tuple[np.ndarray, float]:
    """A wall of plaster, paper, brick or boards, lit from one side, and a floor."""
    horizon = float(rng.uniform(0.45, 0.72))
    first = int(horizon * size)
    base = _color(rng, [(206, 200, 186), (172, 184, 190), (188, 164, 138), (150, 160, 140), (120, 110, 110)][
        rng.integers(5)])
    kind = rng.choice(['plaster', 'paper', 'brick', 'boards'], p=(0.45, 0.2, 0.2, 0.15))
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    pattern = 0.02 * fractal_noise(rng, size, rng.uniform(0.4, 1.2))
    if kind == 'paper':
        period = rng.uniform(0.05, 0.14)
        pattern += rng.uniform(0.02, 0.05) * np.sign(np.sin(2 * np.pi * x / period) + rng.uniform(-0.5, 0.5))
    elif kind == 'brick':
        height = rng.uniform(0.045, 0.08)
        row = np.floor(y / height)
        joints = np.minimum(y / height % 1, (x / (2.6 * height) + 0.5 * (row % 2)) % 1 * 2.6)
        tone = np.random.default_rng(int(rng.integers(1 << 30))).normal(0, 0.05, (64, 64)).astype(np.float32)
        column = np.floor(x / (2.6 * height) + 0.5 * (row % 2))
        pattern += np.where(joints < 0.14, 0.12, tone[row.astype(int) % 64, column.astype(int) % 64])
        base = _color(rng, [(146, 84, 66), (168, 130, 104), (190, 186, 178)][rng.integers(3)])
    elif kind == 'boards':
        width = rng.uniform(0.08, 0.16)
        grain = cv2.resize(fractal_noise(rng, 128, 0.9)[:, :32], (size, size))
        pattern += np.where(x / width % 1 < 0.05, -0.14, 0.03 * grain)
        base = _color(rng, [(140, 100, 66), (186, 160, 124), (214, 212, 206)][rng.integers(3)])
    image = base + pattern[..., None]
    floor = list(_FLOORS)[rng.integers(len(_FLOORS))]
    low, high = (_color(rng, rgb) for rgb in _FLOORS[floor])
    texture = 0.5 + 0.14 * fractal_noise(rng, 256, 0.9, 4.0 if floor == 'planks' else 1.0)
    if floor in ('planks', 'tiles'):
        cells = 4 if floor == 'tiles' else 8
        position = np.arange(256) / 256 * cells
        joint = (position % 1 < 0.05).astype(np.float32)
        tones = rng.normal(0, 0.13, (cells, cells))[position.astype(int)][:, position.astype(int)]
        if floor == 'planks':
            tones = np.repeat(tones[:, :1], 256, 1)
        lines = np.maximum(joint[:, None], joint[None]) if floor == 'tiles' else np.repeat(joint[:, None], 256, 1)
        texture = texture + tones - 0.5 * lines
    plane = _plane(rng, size, horizon, np.ascontiguousarray(texture.astype(np.float32).T), rng.uniform(0.3, 0.6))
    image[first:] = _mix(low, high, plane)
    skirting = int(rng.uniform(0.01, 0.04) * size)
    image[first - skirting:first] = _color(rng, [(222, 220, 214), (90, 64, 44)][rng.integers(2)])
    image[first:first + max(1, size // 100)] *= 0.6
    # Light falls off from a window or a lamp.
    distance = np.hypot(x - rng.uniform(-0.2, 1.2), y - rng.uniform(-0.2, 0.5))
    image *= (1.15 - rng.uniform(0.2, 0.55) * distance)[..., None]
    if rng.random() < 0.5:
        image = _defocus(rng, image, horizon)
    return image.astype(np.float32), horizon


def _foliage(rng: np.random.Generator, size: int) -> tuple[np.ndarray, float]:
    """Leaves or woods out of focus behind a strip of ground, with discs of light."""
    horizon = float(rng.uniform(0.5, 0.75))
    dark, light = [((22, 34, 18), (128, 150, 74)), ((40, 32, 22), (170, 132, 76)),
                   ((30, 40, 44), (150, 166, 160))][rng.choice(3, p=(0.6, 0.25, 0.15))]
    tone = 0.42 + 0.2 * fractal_noise(rng, size, rng.uniform(1.1, 1.6), rng.uniform(0.8, 1.8))
    image = _mix(_color(rng, dark), _color(rng, light), tone)
    for _ in range(rng.integers(0, 30)):
        center = tuple(int(v) for v in rng.uniform(0, size, 2) * (1, horizon))
        spot = np.zeros((size, size), np.float32)
        cv2.circle(spot, center, int(rng.uniform(0.015, 0.06) * size), float(rng.uniform(0.1, 0.35)), -1, cv2.LINE_AA)
        image += (_color(rng, (236, 236, 190)) - image) * spot[..., None]
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(1, 4) * size / 224)
    first = int(horizon * size)
    ground = image.copy()
    ground[first:] = _ground(rng, size, horizon)
    rows = (np.arange(size, dtype=np.float32)[:, None] - first) / (0.08 * size)
    return _mix(image, ground, np.repeat(rows, size, 1)), horizon
