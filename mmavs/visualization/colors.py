"""Colors of classes in drawings."""
from collections.abc import Sequence
from itertools import product

import numpy as np

Color = tuple[int, int, int]
BACKGROUND: Color = (0, 0, 0)
# Two colors of a palette that are closer than this (distance in Oklab) cannot be told apart at the edge of a mask.
MIN_DISTANCE = 0.05
# Colors of the classes 1 to 254, see find_distinct_colors.
DISTINCT_COLORS = '''
ff3c5a 1e3cff 00b400 5ab4ff d200ff ffb400 875a00 87ff00 ff96ff 875aa5 00f0d2 009696 c3874b b41e4b 8700e1 a578ff
1e7800 ff3cc3 0078d2 96c369 ffa5a5 c300a5 c378a5 00c3b4 78963c d2e187 00e15a c34b00 695af0 c3b4ff ff6900 ff78b4
7887d2 e169ff e10078 78e1ff ffc3ff a54be1 0096ff 2dff96 b44b87 c3a500 ff1eff c3d200 f0965a 962da5 4b5ab4 00960f
e1002d f07878 69782d 00a5d2 964b4b 0f785a 4bb469 d25ac3 d25a69 d296d2 ffc387 691eff 87e196 a57800 0069ff 78c300
a596f0 e11ed2 a569c3 f0e11e a5f069 b400d2 f04b96 2dd287 3c87b4 d2c369 b40f78 a50fff 693cd2 00d2f0 2d965a ff69e1
e15a2d 6978ff b4694b 005ad2 0069a5 69d2c3 c30000 96a500 c378e1 87e100 e11ea5 d296ff c35af0 8769e1 b44bb4 00f000
96f0c3 ff96d2 873cff 6969c3 ff0000 7896ff e187a5 87c3ff 874bc3 ffd25a 3ca587 b44b5a a5963c ff0078 964b78 e18700
e1784b 9600c3 5a8700 3ca53c d2a55a a55a1e c33cd2 e178c3 965aff b46987 d24b87 4b4be1 69c396 96d24b 00c35a 4bffc3
00f0ff e16996 3cb4c3 d22d5a e1c300 00d200 c36900 008778 ff4b2d ff5aff f087e1 3c87e1 e1a5f0 78a5e1 b43c2d 4b69e1
0f873c ff8796 ff5ab4 d27878 f04be1 87a55a a53c96 c35aa5 ff5a87 e13cff c3f000 00f0a5 ff9600 1eff5a b4d287 a587d2
3ca5f0 00e1e1 b43cff ff00a5 69f069 f0b469 a53cc3 ffa578 69b42d f09687 00e1b4 b4b45a 695aa5 966900 f00f5a 5a96d2
4b69a5 a55a78 9669a5 b4c33c d24b3c c32d78 e1a500 a578b4 69e178 d22d00 b45ad2 00c3ff 69c35a a5b400 1e78a5 4b3cff
a5f096 c387c3 4bb4e1 c3785a a55a4b 4bb496 ff00d2 3c78ff d27800 f096b4 00c387 877800 ffb4e1 b4a5f0 f05a5a 962de1
4b5aff c3e15a ff78ff 78d296 00a5b4 874be1 87ff69 c3962d 9687f0 78f0f0 78e1c3 8769c3 3c875a 695ad2 6987f0 4bc3d2
d287e1 968700 f0b4ff 8700ff a53c5a 4b78c3 78b478 87a5ff 87b44b c387ff c33c96 0069c3 0096b4 69d2ff a50f96 96f02d
f0c35a d200e1 3c783c 786900 e169e1 ff785a 2da569 5a78e1 69d24b 1ec31e 5a9600 965ad2 f03c3c 78873c
'''.split()


def drawing_palette(palette: Sequence[Sequence[int]] | None, num_classes: int) -> list[Color]:
    """Colors to draw 255 labels with, background first.

    A dataset's palette is kept if it has a color for each class and all of them differ. The PASCAL-VOC color map, in
    which AVSBench-semantic stores its labels, does not pass with 22 or 71 classes: it has dark colors, and the closest
    two of 71 are 0.009 apart. Such palettes are replaced, in drawings only, by :data:`DISTINCT_COLORS`.

    Args:
        palette: Color [R, G, B] of each class of the dataset, background first, or None.
        num_classes: Number of classes of the dataset.

    Returns:
        255 colors; those of labels beyond the classes of the dataset are distinct as well.
    """
    distinct = [BACKGROUND, *(tuple(bytes.fromhex(color)) for color in DISTINCT_COLORS)]
    palette = [tuple(int(value) for value in color) for color in palette or ()]
    if num_classes < 2 or len(palette) < num_classes or color_distances(palette[:num_classes]).min() < MIN_DISTANCE:
        return distinct
    return palette[:num_classes] + [color for color in distinct if color not in palette][:255 - num_classes]


def color_distances(palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Distances in Oklab between all pairs of different entries of a palette, (n * (n - 1) / 2,)."""
    values = oklab(palette)
    first, second = np.triu_indices(len(values), 1)
    return np.linalg.norm(values[first] - values[second], axis=1)


def oklab(colors: Sequence[Sequence[int]] | np.ndarray) -> np.ndarray:
    """Convert sRGB colors (n, 3) in [0, 255] to Oklab (n, 3): lightness, green to red, blue to yellow.

    Euclidean distances in Oklab approximate perceived differences. Source: Ottosson, A perceptual color space for image
    processing, 2020.
    """
    encoded = np.asarray(colors, np.float64) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055)**2.4)
    cones = linear @ np.array([[0.4122214708, 0.2119034982, 0.0883024619],
                               [0.5363325363, 0.6806995451, 0.2817188376],
                               [0.0514459929, 0.1073969566, 0.6299787005]])
    return np.cbrt(cones) @ np.array([[0.2104542553, 1.9779984951, 0.0259040371],
                                      [0.7936177850, -2.4285922050, 0.7827717662],
                                      [-0.0040720468, 0.4505937099, -0.8086757660]])


def find_distinct_colors(count: int) -> list[str]:
    """Find colors that differ as much as possible, the first ones most (greedy method of Glasbey et al., 2007).

    Each color is the one of a grid of sRGB that is farthest, in Oklab, from its nearest predecessor. Black and white
    count as predecessors. Dark, pale and gray colors are left out: they would not show on frames.

    Args:
        count: Number of colors.

    Returns:
        Colors as 'rrggbb'.
    """
    grid = np.array(list(product(range(0, 256, 15), repeat=3)))
    values = oklab(grid)
    lightness, chroma = values[:, 0], np.hypot(values[:, 1], values[:, 2])
    usable = (lightness >= 0.5) & (lightness <= 0.9) & (chroma >= 0.1)
    grid, values = grid[usable], values[usable]
    taken = [BACKGROUND, (255, 255, 255), (255, 60, 90)]
    nearest = np.min([np.linalg.norm(values - value, axis=1) for value in oklab(taken)], axis=0)
    while len(taken) < count + 2:
        # Rounded, so that the last digits of a platform do not decide between equals.
        farthest = np.round(nearest, 9).argmax()
        taken.append(tuple(grid[farthest].tolist()))
        nearest = np.minimum(nearest, np.linalg.norm(values - values[farthest], axis=1))
    return [bytes(color).hex() for color in taken[2:]]
